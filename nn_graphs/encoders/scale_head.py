"""New parameters that follow the signs and scales of neurons, and their permutations.

A bias is a linear map of its neuron's state, which follows the neuron's factor. A weight is a
linear map of itself times a function of both neurons without their factors, so that it follows
the target's factor over the source's.
"""

from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.features import EncodedGraphs, Graphs, Reads
from nn_graphs.encoders.neuron_factors import NeuronFactors
from nn_graphs.encoders.new_parameters import NewParameters
from nn_graphs.encoders.scale_nets import GateNet
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.graphs.topology import EdgeValues, Topology, on_edges


class ScaleParameterHead(nn.Module):
    """New parameters for every network, by the states of an encoder that keeps such.

    Args:
        node_dim: size of the states.
        edge_dim: size of edges' vectors in between.
        dims: sizes of the graphs.
        statistics, is_residual, num_copies: see `NewParameters`.
    """

    reads: Reads = "states"

    def __init__(
        self,
        node_dim: int,
        edge_dim: int,
        *,
        dims: GraphDims,
        statistics: WeightStatistics | None = None,
        is_residual: bool = True,
        num_copies: int = 1,
    ):
        super().__init__()
        self.new = NewParameters(dims, statistics, is_residual=is_residual, num_copies=num_copies)
        self.bias_out = nn.Linear(node_dim, num_copies, bias=False)
        self.fixed_bias_out = nn.Linear(node_dim, num_copies)
        self.gate = GateNet(2 * node_dim, edge_dim, edge_dim)
        self.from_weight = nn.Linear(dims.num_edge_values, edge_dim, bias=False)
        self.weight_out = nn.Linear(edge_dim, num_copies * dims.num_edge_values, bias=False)

    def forward(self, encoded: EncodedGraphs) -> Graphs:
        graphs, states = encoded.graphs, encoded.nodes
        factors = NeuronFactors.of(graphs)
        nodes = self.bias_out(states) + self.fixed_bias_out(states) * factors.is_fixed
        return self.new(graphs, nodes, self._edges(graphs, states, factors))

    def _edges(
        self, graphs: Graphs, states: Float[Tensor, "*B num_nodes dim"], factors: NeuronFactors
    ) -> Float[Tensor, "*B num_edges outputs"]:
        structure, topology = graphs.structure, graphs.topology
        rows = self.new.dims.layer_row(structure)[structure.edge_index[1]]
        weights = graphs.edge_features / self.new.weight_std[rows, None]
        sources, targets = halves_at_ends(self.gate, topology, factors.canonical(states))
        parts = topology.join(weights, None, fill=weights.new_zeros(weights.shape[-1]))
        return topology.split(on_edges(self._of_part, parts, sources, targets))[0]

    def _of_part(self, weights: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
        gate = self.gate.behind_first(sources + targets)
        return self.weight_out(self.from_weight(weights) * gate)


def halves_at_ends(
    net: GateNet, topology: Topology, nodes: Float[Tensor, "*B num_nodes dim"]
) -> tuple[EdgeValues, EdgeValues]:
    """The first linear map of a net of both ends of edges, in two halves that add up.

    Each is taken once a neuron, and not once an edge.
    """
    from_source, from_target = net.first.weight.chunk(2, dim=1)
    return (
        topology.sources(nn.functional.linear(nodes, from_source)),
        topology.targets(nn.functional.linear(nodes, from_target, net.first.bias)),
    )
