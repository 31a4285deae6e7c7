"""NG-GNN: principal neighbourhood aggregation with FiLM-modulated messages and edge updates.

Kofinas et al., ICLR 2024, sec. 4 (on PNA, Corso et al., NeurIPS 2020, and FiLM, Brockschmidt,
ICML 2020). Two differences from the public code: which norm stands between the layers is a choice
(theirs is `published`, see `nn_graphs.encoders.norms`), and degrees are counted in the directions
that messages really take.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.dropout import Dropout
from nn_graphs.encoders.encoder_registry import registered
from nn_graphs.encoders.features import Counts, EncodedGraphs, GraphFeatures, Graphs, Reads
from nn_graphs.encoders.mapped import MappedEdges
from nn_graphs.encoders.norms import NormName, make_norm
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.topology import Topology, on_edges

STD_EPS = 1e-5


@registered("ng_gnn")
class NGGNN(nn.Module):
    """The NG-GNN encoder.

    Args:
        templates: the architectures of the training networks; their sizes and degrees are used.
            Sizes alone will do where weights are loaded: the mean degree is one of them.
        statistics: what weights and biases are normalised by; None: nothing.
        dim: size of node and edge vectors.
        num_layers: message passing layers; edges are updated after all but the last.
        dropout: behind every layer but the last.
        fourier_sigma: deviation of the Fourier frequencies; None: plain linear maps.
        is_bidirectional: messages also run against the edges, and edges carry reverse features.
        num_probes: probe features; 0: none.
        has_activation_embedding: tell neurons their activation function.
        has_residuals: add what a layer takes to what it gives, but for the last (not published).
        norm: between layers, see `nn_graphs.encoders.norms`.

    Raises:
        NNGraphsError: an unknown norm.
    """

    def __init__(
        self,
        templates: Sequence[GraphTemplate] | GraphDims,
        statistics: WeightStatistics | None = None,
        *,
        dim: int = 32,
        num_layers: int = 4,
        dropout: float = 0.2,
        fourier_sigma: float | None = 3.0,
        is_bidirectional: bool = True,
        num_probes: int = 0,
        has_activation_embedding: bool = False,
        has_residuals: bool = False,
        norm: NormName = "graph",
    ):
        super().__init__()
        self.node_dim = self.edge_dim = dim
        self.has_residuals = has_residuals
        self.is_bidirectional = is_bidirectional
        self.features = GraphFeatures(
            GraphDims.of(templates),
            statistics,
            node_dim=dim,
            edge_dim=dim,
            fourier_sigma=fourier_sigma,
            has_reverse_features=is_bidirectional,
            weights_on="forward",
            num_probes=num_probes,
            has_activation_embedding=has_activation_embedding,
        )
        mean_log_degree = _mean_log_degree(templates, is_bidirectional=is_bidirectional)
        self.layers = nn.ModuleList(
            PNALayer(dim, mean_log_degree=mean_log_degree) for _ in range(num_layers)
        )
        self.norms = nn.ModuleList(make_norm(norm, dim) for _ in range(num_layers - 1))
        self.edge_updates = nn.ModuleList(EdgeUpdate(dim) for _ in range(num_layers - 1))
        self.dropout = Dropout(dropout)

    def forward(self, graphs: Graphs, *, reads: Reads = "edges") -> EncodedGraphs:
        graphs = self.features.dims.centred(graphs)
        topology = graphs.topology.bidirectional if self.is_bidirectional else graphs.topology
        nodes, edges = self.features(graphs, topology)
        edges = MappedEdges(edges)
        *layers, last = self.layers
        for number, (layer, norm) in enumerate(zip(layers, self.norms, strict=True)):
            change = self.dropout(F.silu(norm(topology, layer(topology, nodes, edges))))
            nodes = nodes + change if self.has_residuals else change
            if number == len(layers) - 1 and reads == "outputs":
                topology = topology.into_outputs()
                edges = edges.into_outputs(topology)
            edges = self.edge_updates[number](topology, nodes, edges)
        nodes = last(topology, nodes, edges)
        own = self.features.own_edges(edges.vectors(), topology) if reads == "edges" else None
        return EncodedGraphs(graphs, nodes, own)

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts:
        """Numbers in what is passed from layer to layer: a vector per directed edge."""
        return (2 if self.is_bidirectional else 1) * num_edges * self.edge_dim


class PNALayer(nn.Module):
    """One layer: modulated messages, mean, min, max and std of them, each also scaled by degree."""

    def __init__(self, dim: int, *, mean_log_degree: float):
        super().__init__()
        self.register_buffer("mean_log_degree", torch.tensor(mean_log_degree, dtype=torch.float64))
        self.message = nn.Linear(2 * dim, dim)
        self.modulation = nn.Linear(dim, 2 * dim)
        self.update = nn.Linear(9 * dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self,
        topology: Topology,
        nodes: Float[Tensor, "*B num_nodes dim"],
        edges: MappedEdges,
    ) -> Float[Tensor, "*B num_nodes dim"]:
        target_weight, source_weight = self.message.weight.chunk(2, dim=1)
        to_target = F.linear(nodes, target_weight, self.message.bias)
        from_source = F.linear(nodes, source_weight)
        ends = on_edges(torch.add, topology.targets(to_target), topology.sources(from_source))
        scale, shift = (
            edges.map(weight, bias)
            for weight, bias in zip(
                self.modulation.weight.chunk(2), self.modulation.bias.chunk(2), strict=True
            )
        )
        messages = on_edges(torch.addcmul, shift, scale, ends)
        statistics = topology.reduce_statistics(messages, eps=STD_EPS)
        degree = topology.in_degree.to(nodes.dtype)
        amplification = (degree + 1).log() / self.mean_log_degree
        amplified = [values * amplification for values in statistics]
        return self.out(self.update(torch.cat([nodes, *statistics, *amplified], dim=-1)))


class EdgeUpdate(nn.Module):
    """`W_1 SiLU(W_e e + W_s x_source + W_t x_target)`."""

    def __init__(self, dim: int):
        super().__init__()
        self.from_edge, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.from_source, self.from_target = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(
        self,
        topology: Topology,
        nodes: Float[Tensor, "*B num_nodes dim"],
        edges: MappedEdges,
    ) -> MappedEdges:
        from_edge, constant = edges.map_apart(self.from_edge.weight, self.from_edge.bias)
        from_source = topology.sources(self.from_source(nodes))
        from_target = topology.targets(self.from_target(nodes) + constant)
        hidden = on_edges(_silu_of_sum, from_edge, from_source, from_target)
        return MappedEdges(hidden, self.out)


def _silu_of_sum(from_edge: Tensor, from_source: Tensor, from_target: Tensor) -> Tensor:
    return F.silu(from_edge + (from_source + from_target))


def _mean_log_degree(
    templates: Sequence[GraphTemplate] | GraphDims, *, is_bidirectional: bool
) -> float:
    """Mean of log(degree + 1) over the neurons of the training architectures; unknown: 1."""
    if isinstance(templates, GraphDims):
        return 1.0
    total = count = 0.0
    for template in templates:
        edge_index = template.structure().edge_index
        ends = edge_index.flatten() if is_bidirectional else edge_index[1]
        degree = torch.bincount(ends, minlength=template.num_nodes)
        total += (degree.double() + 1).log().sum().item()
        count += template.num_nodes
    return max(total / count, math.log(2) * 1e-3)
