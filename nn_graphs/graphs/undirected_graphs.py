"""Neural graphs without directions: adjacency matrices of many at once, and connected components.

What encodings of positions are computed from. Two neurons are joined by the number 1, or, weighted,
by the absolute weights between them, of kernels by their norms, added up. Constant edges and those
of norms join neurons like all others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph


@dataclass(frozen=True)
class UndirectedGraphs:
    """`num_graphs` undirected graphs of `num_nodes` nodes each, as a list of edges.

    Attributes:
        num_graphs, num_nodes: counts.
        ends: `[2, E]`, as numbers of nodes over all graphs; of parallel edges each by itself.
        weight: `[E]`, not negative, in float64; None: two nodes are joined or not.
        layer_id: `[num_graphs, num_nodes]`.
    """

    num_graphs: int
    num_nodes: int
    ends: Int[Tensor, "2 E"]
    weight: Float[Tensor, "E"] | None
    layer_id: Int[Tensor, "num_graphs num_nodes"]

    def both_ways(self) -> tuple[Int[Tensor, "2 twice_E"], Float[Tensor, "twice_E"]]:
        """Every edge in both directions, and its weight."""
        weight = self.weight
        if weight is None:
            weight = torch.ones(self.ends.shape[1], dtype=torch.float64, device=self.ends.device)
        return torch.cat([self.ends, self.ends.flip(0)], dim=1), weight.repeat(2)

    def matrices(self) -> Float[Tensor, "num_graphs num_nodes num_nodes"]:
        """Adjacency matrices, in float64."""
        (first, second), weight = self.both_ways()
        size = self.num_nodes
        flat = weight.new_zeros(self.num_graphs * size * size)
        flat = flat.index_add(0, first * size + second % size, weight)
        if self.weight is None:
            flat = flat.clamp_max(1)
        return flat.view(self.num_graphs, size, size)

    def components(self) -> Int[Tensor, "num_graphs num_nodes"]:
        """Of each node, the first node, over all graphs, that it is connected with."""
        ends, weight = self.both_ways()
        first, second = ends[:, weight > 0]
        labels = torch.arange(self.num_graphs * self.num_nodes, device=ends.device)
        while True:
            lower = labels.scatter_reduce(0, first, labels[second], "amin")
            lower = lower[lower]
            if torch.equal(lower, labels):
                return labels.view(self.num_graphs, self.num_nodes)
            labels = lower


class GraphEdges:
    """The edges of a stack or batch of neural graphs, of which some graphs can be had at a time.

    Args:
        graphs: a stack, a graph or a batch.
        is_weighted: whether weights count.

    Attributes:
        num_nodes: of each graph.
        device: where they are.

    Raises:
        NNGraphsError: weights count, and some are not finite.
    """

    def __init__(self, graphs: NeuralGraph | NeuralGraphStack, *, is_weighted: bool):
        self._structure = graphs.structure
        self.device = graphs.node_features.device
        self._is_stack = isinstance(graphs, NeuralGraphStack)
        if self._is_stack:
            self.num_nodes = [graphs.template.num_nodes] * len(graphs)
        else:
            graph_id = graphs.topology.graph_id
            nodes = torch.bincount(graph_id, minlength=graphs.num_graphs)
            owner = graph_id[self._structure.edge_index[0]]
            edges = torch.bincount(owner, minlength=graphs.num_graphs)
            self.num_nodes, self._num_edges = nodes.tolist(), edges.tolist()
            self._first_node = (nodes.cumsum(0) - nodes).tolist()
            self._first_edge = (edges.cumsum(0) - edges).tolist()
        self._norms = edge_norms(graphs).double() if is_weighted else None
        if is_weighted:
            _check_finite(self._norms, graphs.num_graphs)

    def structure_of(self, number: int) -> tuple[Int[Tensor, "2 E"], Int[Tensor, "n"]]:
        """The edges of a graph, and the layer of each of its nodes."""
        structure = self._structure
        if self._is_stack:
            return structure.edge_index, structure.layer_id
        node, edge = self._first_node[number], self._first_edge[number]
        ends = structure.edge_index.narrow(1, edge, self._num_edges[number]) - node
        return ends, structure.layer_id.narrow(0, node, self.num_nodes[number])

    def chosen(self, numbers: Sequence[int]) -> UndirectedGraphs:
        """Some of the graphs, which have equally many nodes."""
        size = self.num_nodes[numbers[0]]
        parts = [self.structure_of(number) for number in numbers]
        ends = torch.cat([ends + size * place for place, (ends, _) in enumerate(parts)], dim=1)
        weight = None
        if self._norms is not None:
            weight = torch.cat([self._norms_of(number) for number in numbers])
        layers = torch.stack([layers for _, layers in parts])
        return UndirectedGraphs(len(numbers), size, ends, weight, layers)

    def _norms_of(self, number: int) -> Float[Tensor, "E"]:
        if self._is_stack:
            return self._norms[number]
        return self._norms.narrow(0, self._first_edge[number], self._num_edges[number])


def edge_norms(graphs: NeuralGraph | NeuralGraphStack) -> Float[Tensor, "*B num_edges"]:
    """The absolute weight of every edge, or the norm of its kernel."""
    values = graphs.edge_features.detach()
    num_edges = graphs.structure.edge_index.shape[1]
    if values.shape[-2] == num_edges:
        return values.norm(dim=-1)
    owner = graphs.template.edge_of_value.to(values.device)  # kernels at their own sizes
    squares = values.squeeze(-1).square()
    return squares.new_zeros(len(squares), num_edges).index_add(1, owner, squares).sqrt()


def _check_finite(norms: Tensor, num_graphs: int) -> None:
    num_wrong = int((~norms.isfinite()).sum())
    if num_wrong:
        raise NNGraphsError(
            f"encode positions in {num_graphs} weighted graphs",
            found=f"{num_wrong} weights are not finite.",
            do="Leave out networks that diverged, or use is_weighted=False.",
        )
