"""ProductGNN: messages are the values of neurons times the weights that lie between.

`m_i = sum_j w_ij A x_j / sqrt(fan-in)`, along the edges and against them with maps of their own,
as in matrix-product graph metanetworks: what a layer of the studied network does to its inputs,
done to vectors. On a stack that is one matrix product per block of edges, and no edge ever has a
vector of its own, so that a layer costs a small part of one of NG-GNN. Differences from these:
layers are residual with a norm per neuron in front, and weights are in units of their layer's
deviation.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.dropout import Dropout
from nn_graphs.encoders.edge_readout import EdgeReadout
from nn_graphs.encoders.encoder_registry import registered
from nn_graphs.encoders.features import (
    Counts,
    EncodedGraphs,
    GraphFeatures,
    Graphs,
    InputSettings,
    Reads,
)
from nn_graphs.encoders.norms import NormName, make_norm
from nn_graphs.encoders.probe_generators import ProbeForm
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.topology import EdgeValues, Topology
from nn_graphs.ranges import Count, PositiveInt, Probability, in_ranges


@registered("product_gnn")
@in_ranges
class ProductGNN(nn.Module):
    """An encoder of neural graphs by products of weights and vectors of neurons.

    Args:
        templates: the architectures of the training networks; their sizes are used.
        statistics: what weights and biases are measured in; None: units of 1.
        dim: size of the vectors of neurons and edges.
        hidden_dim: of the update networks.
        num_layers: message passing layers.
        dropout: in the update networks.
        num_probes: probe features; 0: none.
        probes: how their inputs are learned, see `InputSettings`.
        has_activation_embedding: tell neurons their activation function.
        norm: before each layer, see `nn_graphs.encoders.norms`.

    Raises:
        NNGraphsError: an unknown norm.
    """

    def __init__(
        self,
        templates: Sequence[GraphTemplate] | GraphDims,
        statistics: WeightStatistics | None = None,
        *,
        dim: PositiveInt = 64,
        hidden_dim: PositiveInt = 128,
        num_layers: PositiveInt = 4,
        dropout: Probability = 0.0,
        num_probes: Count = 0,
        probes: ProbeForm = "free",
        has_activation_embedding: bool = False,
        norm: NormName = "layer",
    ):
        super().__init__()
        self.node_dim = self.edge_dim = dim
        self.features = GraphFeatures(
            GraphDims.of(templates),
            None if statistics is None else statistics.around_zero(),  # no weight, no message
            node_dim=dim,
            edge_dim=None,
            fourier_sigma=None,
            num_probes=num_probes,
            has_activation_embedding=has_activation_embedding,
            inputs=InputSettings(probes=probes),
        )
        num_values = self.features.dims.num_edge_values
        self.layers = nn.ModuleList(
            ProductLayer(dim, hidden_dim, num_values=num_values, dropout=dropout, norm=norm)
            for _ in range(num_layers)
        )
        self.norm = make_norm(norm, dim)
        self.edge_readout = EdgeReadout(num_values, dim)

    def forward(self, graphs: Graphs, *, reads: Reads = "edges") -> EncodedGraphs:
        graphs = self.features.dims.centred(graphs)
        topology, nodes = graphs.topology.bidirectional, self.features.nodes(graphs)
        weights = self.features.normalised_weights(graphs)
        factors = self._factors(graphs, topology, weights, nodes)
        for layer in self.layers:
            nodes = layer(topology, nodes, factors)
        nodes = self.norm(topology, nodes)
        if reads != "edges":
            return EncodedGraphs(graphs, nodes)
        return EncodedGraphs(graphs, nodes, self.edge_readout(graphs.topology, weights, nodes))

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts:
        """Numbers in what is passed from layer to layer: vectors of neurons, factors of edges."""
        return num_nodes * self.node_dim + 4 * num_edges * self.features.dims.num_edge_values

    def _factors(
        self,
        graphs: Graphs,
        topology: Topology,
        weights: Float[Tensor, "*B num_edges values"],
        nodes: Float[Tensor, "*B num_nodes dim"],
    ) -> EdgeValues:
        """What messages are multiplied by: weights over the root of how many arrive."""
        fan_in = graphs.topology.in_degree
        counts = torch.stack([fan_in, topology.in_degree - fan_in], -1).clamp_min(1)
        along, against = counts.to(nodes.dtype).rsqrt().unbind(-1)
        source, target = graphs.structure.edge_index
        own, mirrored = weights * along[target], weights * against[source]
        return topology.join(own, mirrored, fill=weights.new_zeros(weights.shape[-1]))


class ProductLayer(nn.Module):
    """`x + W_2 SiLU(W_1 [norm x, messages along, messages against])`."""

    def __init__(
        self, dim: int, hidden_dim: int, *, num_values: int, dropout: float, norm: NormName
    ):
        super().__init__()
        self.num_values = num_values
        self.norm = make_norm(norm, dim)
        self.message = nn.Linear(dim, 2 * num_values * dim, bias=False)
        self.update, self.out = nn.Linear(3 * dim, hidden_dim), nn.Linear(hidden_dim, dim)
        self.dropout = Dropout(dropout)
        with torch.no_grad():
            self.out.weight.mul_(0.5)  # begin near the identity
            self.out.bias.zero_()

    def forward(
        self, topology: Topology, nodes: Float[Tensor, "*B num_nodes dim"], factors: EdgeValues
    ) -> Float[Tensor, "*B num_nodes dim"]:
        normed = self.norm(topology, nodes)
        messages = topology.reduce_products(factors, self.message(normed))
        messages = messages.unflatten(-1, (2, self.num_values, -1)).sum(-2).flatten(-2)
        hidden = F.silu(self.update(torch.cat([normed, messages], -1)))
        return nodes + self.out(self.dropout(hidden))
