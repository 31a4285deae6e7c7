"""NG-GNN as a model of updates: features of parameters on the neural graph of the network.

Kofinas et al. (ICLR 2024, sec. 5.3): a neuron carries the features of its bias and an edge those of
its weight; after message passing in both directions an MLP reads, for each parameter, the vector of
its neuron or edge and its own features.

Two differences from the code of the paper. The pixels of a kernel are embedded one by one and their
mean is the edge, instead of zero-padding all kernels to 5 x 5 and joining them: one model runs on
kernels of every size. A neuron is told whether it is an input, hidden or an output, and how deep it
is as a share of the depth, so that a model trained at one depth runs at others.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.gnn import EdgeUpdate, PNALayer
from nn_graphs.encoders.mapped import MappedEdges
from nn_graphs.encoders.norms import make_norm
from nn_graphs.graphs.graph_structure import GraphStructure, repeated_structure
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.topology import Topology
from nn_graphs.graphs.topology.edge_list import EdgeListTopology
from nn_graphs.learned_optimizers.optimizee import Optimizee
from nn_graphs.learned_optimizers.update_models import ModuleFunction, UpdateFunction, UpdateModel
from nn_graphs.networks.activations import Activation

MEAN_LOG_DEGREE = 3.5  # by which degrees are counted: about 32 neighbours, on every architecture
NUM_KINDS = 3  # input, hidden, output neurons


@dataclass(frozen=True)
class GraphNetwork(UpdateModel):
    """The settings of NG-GNN; the published ones are `dim=64, num_layers=8`.

    Attributes:
        dim: of the vectors of neurons and edges.
        num_layers: message passing layers.
    """

    dim: int = 16
    num_layers: int = 2

    is_local = False

    def make(self, num_features: int, num_outputs: int) -> UpdateFunction:
        settings = {"dim": self.dim, "num_layers": self.num_layers}
        return ModuleFunction(lambda: GraphNetworkModule(num_features, num_outputs, **settings))


class GraphNetworkModule(nn.Module):
    """The module `(optimizee, features [S, P, F]) -> outputs [S, P, num_outputs]`."""

    def __init__(self, num_features: int, num_outputs: int, *, dim: int, num_layers: int):
        super().__init__()
        self.bias_in, self.weight_in = nn.Linear(num_features, dim), nn.Linear(num_features, dim)
        self.kinds, self.depth = nn.Embedding(NUM_KINDS, dim), nn.Linear(1, dim)
        self.reversed = nn.Parameter(torch.zeros(dim))  # added to edges in the other direction
        self.layers = nn.ModuleList(
            PNALayer(dim, mean_log_degree=MEAN_LOG_DEGREE) for _ in range(num_layers)
        )
        self.norms = nn.ModuleList(make_norm("layer", dim) for _ in range(num_layers))
        self.activation = Activation("silu")
        self.edge_updates = nn.ModuleList(
            EdgeUpdate(dim, self.activation) for _ in range(num_layers)
        )
        self.own, self.out = nn.Linear(num_features, dim), nn.Linear(dim, num_outputs)

    def forward(
        self, optimizee: Optimizee, features: Float[Tensor, "S P features"]
    ) -> Float[Tensor, "S P outputs"]:
        numbers, count = optimizee.numbers(features.device), len(features)
        template = optimizee.template
        structure = template.structure(features.device, features.dtype)
        topology, is_flat = _topology(template, count, structure)
        nodes = self.bias_in(features[:, numbers.of_neuron] * numbers.is_bias.unsqueeze(1))
        nodes = nodes + self._positions(structure, nodes)
        values = self.weight_in(features[:, numbers.of_value] * numbers.is_weight.unsqueeze(1))
        edges = _kernel_means(template, values)
        shape = nodes.shape[:2]
        if is_flat:
            nodes, edges = nodes.flatten(0, 1), edges.flatten(0, 1)
        both = topology.join(edges, edges + self.reversed, fill=edges.new_zeros(edges.shape[-1]))
        nodes, edges = self._passed(topology, nodes, MappedEdges(both))
        if is_flat:
            nodes, edges = nodes.unflatten(0, shape), edges.unflatten(0, (count, -1))
        read = torch.cat([nodes, edges], 1)[:, numbers.row]
        outputs = self.out(self.activation(read + self.own(features)))
        return outputs * numbers.is_shown.unsqueeze(1)

    def _positions(self, structure: GraphStructure, like: Tensor) -> Float[Tensor, "N dim"]:
        depth = structure.layer_id.to(like) / structure.layer_id.max().clamp_min(1)
        return self.kinds(structure.kind_id) + self.depth(depth.unsqueeze(1))

    def _passed(
        self, topology: Topology, nodes: Tensor, edges: MappedEdges
    ) -> tuple[Tensor, Tensor]:
        """Vectors of neurons and edges behind all layers."""
        for layer, norm, update in zip(self.layers, self.norms, self.edge_updates, strict=True):
            change = self.activation(norm(topology, layer(topology, nodes, edges)))
            nodes = nodes + change
            edges = update(topology, nodes, edges)
        return nodes, topology.split(edges.vectors())[0]


def _topology(
    template: GraphTemplate, count: int, structure: GraphStructure
) -> tuple[Topology, bool]:
    """Message passing over blocks of edges where they allow it, else over a list of all edges.

    The second tells whether all graphs' neurons are in one row.
    """
    place = structure.offset.device, structure.offset.dtype
    if template.has_regular_blocks:
        return template.topology(*place).bidirectional, False
    fields = repeated_structure(structure, count, num_nodes=template.num_nodes)
    graphs = torch.arange(count, device=place[0]).repeat_interleave(template.num_nodes)
    return EdgeListTopology(GraphStructure(**fields), graphs, is_bidirectional=True), True


def _kernel_means(
    template: GraphTemplate, values: Float[Tensor, "S num_values dim"]
) -> Float[Tensor, "S num_edges dim"]:
    """Means over the pixels of every edge's kernel."""
    parts = [
        values[:, block.first_value : block.last_value].unflatten(1, (block.num_edges, -1)).mean(2)
        for block in template.blocks
    ]
    return torch.cat(parts, 1)
