"""Neural graphs without directions: adjacency matrices of many at once, and connected components.

What encodings of positions are computed from. Two neurons are joined by the number 1, or, weighted,
by the absolute weights between them, of kernels by their norms, added up. Constant edges and those
of norms join neurons like all others. Graphs that are worked on together join the same neurons, by
weights of their own; what follows from the pairs alone is found once, for a template as long as it
lives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph


@dataclass(frozen=True, eq=False)
class JoinedNeurons:
    """Which neurons of a graph are joined.

    Attributes:
        ends: of each edge; parallel edges each by itself.
        layer_id: the layer of each neuron.
    """

    ends: Int[Tensor, "2 E"]
    layer_id: Int[Tensor, "n"]

    @property
    def num_nodes(self) -> int:
        return len(self.layer_id)

    @cached_property
    def components(self) -> Int[Tensor, "n"]:
        """Of each neuron, the first one that it is connected with."""
        return _first_connected(self.ends, self.num_nodes)

    @cached_property
    def sides(self) -> tuple[Int[Tensor, "p"], Int[Tensor, "q"]] | None:
        """The neurons of two sides, no edge within either, `p <= q`; None: there are none such.

        Each neuron is taken twice, and an edge joins the one of either end with the other one of
        the other. A neuron is connected with its double where an odd number of edges leads back.
        """
        size = self.num_nodes
        doubles = self.ends + torch.tensor([[0], [size]], device=self.ends.device)
        crossed = self.ends + torch.tensor([[size], [0]], device=self.ends.device)
        labels = _first_connected(torch.cat([doubles, crossed], dim=1), 2 * size)
        own, of_double = labels.view(2, size)
        if (own == of_double).any():
            return None
        one, other = (side.nonzero()[:, 0] for side in (own < of_double, own > of_double))
        return (one, other) if len(one) <= len(other) else (other, one)


@dataclass(frozen=True)
class UndirectedGraphs:
    """Undirected graphs in which the same neurons are joined.

    Attributes:
        joined: which are.
        weight: `[num_graphs, E]`, not negative, in float64; None: of one graph, where two neurons
            are joined or not.
    """

    joined: JoinedNeurons
    weight: Float[Tensor, "num_graphs E"] | None

    @property
    def num_graphs(self) -> int:
        return 1 if self.weight is None else len(self.weight)

    @property
    def num_nodes(self) -> int:
        return self.joined.num_nodes

    @property
    def device(self) -> torch.device:
        return self.joined.ends.device

    def of(self, chosen: Bool[Tensor, "num_graphs"]) -> "UndirectedGraphs":
        """Some of the graphs."""
        return self if self.weight is None else replace(self, weight=self.weight[chosen])

    def weights(self) -> Float[Tensor, "num_graphs E"]:
        """Of every edge, 1 where weights don't count."""
        if self.weight is not None:
            return self.weight
        return torch.ones(1, self.joined.ends.shape[1], dtype=torch.float64, device=self.device)

    def matrices(self) -> Float[Tensor, "num_graphs num_nodes num_nodes"]:
        """Adjacency matrices, in float64."""
        size = self.num_nodes
        low, high = self.joined.ends
        directed = self._added_up(low, high, (size, size))
        return self._once(directed + directed.mT)

    def matrices_of_sides(self) -> Float[Tensor, "num_graphs p q"]:
        """Of graphs with two sides, what joins the neurons of one to those of the other."""
        sides = self.joined.sides
        place = torch.empty_like(self.joined.layer_id)
        is_first = torch.zeros_like(place, dtype=torch.bool)
        for side in sides:
            place[side] = torch.arange(len(side), device=place.device)
        is_first[sides[0]] = True
        ends = self.joined.ends
        low, high = place[torch.where(is_first[ends[0]], ends, ends.flip(0))]
        return self._once(self._added_up(low, high, (len(sides[0]), len(sides[1]))))

    def components(self) -> Int[Tensor, "num_graphs_or_1 num_nodes"]:
        """Of each neuron, the first one that it is connected with; one row where all are alike."""
        if self.weight is None or bool((self.weight > 0).all()):
            return self.joined.components.unsqueeze(0)
        first = torch.arange(self.num_graphs, device=self.device).unsqueeze(1) * self.num_nodes
        graph, edge = (self.weight > 0).nonzero().T
        ends = self.joined.ends[:, edge] + graph * self.num_nodes
        labels = _first_connected(ends, self.num_graphs * self.num_nodes)
        return labels.view(self.num_graphs, -1) - first

    def _added_up(self, rows: Tensor, columns: Tensor, shape: tuple[int, int]) -> Tensor:
        """Matrices with the weights of edges in these places."""
        weights, places = self.weights(), rows * shape[1] + columns
        flat = weights.new_zeros(len(weights), shape[0] * shape[1])
        return flat.scatter_add_(1, places.expand_as(weights), weights).view(-1, *shape)

    def _once(self, matrices: Tensor) -> Tensor:
        """Parallel edges had been added up."""
        return matrices.clamp_max(1) if self.weight is None else matrices


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
        self._of_all: JoinedNeurons | None = None
        if isinstance(graphs, NeuralGraphStack):
            self._of_all = _of_template(graphs)
            self.num_nodes = [graphs.template.num_nodes] * len(graphs)
        else:
            graph_id = graphs.topology.graph_id
            nodes = torch.bincount(graph_id, minlength=graphs.num_graphs)
            owner = graph_id[self._structure.edge_index[0]]
            edges = torch.bincount(owner, minlength=graphs.num_graphs)
            self.num_nodes, self._num_edges = nodes.tolist(), edges.tolist()
            self._first_node = (nodes.cumsum(0) - nodes).tolist()
            self._first_edge = (edges.cumsum(0) - edges).tolist()
        self._norms = edge_norms(graphs) if is_weighted else None
        if is_weighted:
            _check_finite(self._norms, graphs.num_graphs)

    def structure_of(self, number: int) -> tuple[Int[Tensor, "2 E"], Int[Tensor, "n"]]:
        """The edges of a graph, and the layer of each of its nodes."""
        structure = self._structure
        if self._of_all is not None:
            return structure.edge_index, structure.layer_id
        node, edge = self._first_node[number], self._first_edge[number]
        ends = structure.edge_index.narrow(1, edge, self._num_edges[number]) - node
        return ends, structure.layer_id.narrow(0, node, self.num_nodes[number])

    def chosen(self, numbers: Sequence[int]) -> UndirectedGraphs:
        """Some of the graphs, in which the same neurons are joined."""
        joined = self._of_all or JoinedNeurons(*self.structure_of(numbers[0]))
        weight = None
        if self._norms is not None:
            weight = self._norms_of(numbers)
        return UndirectedGraphs(joined, weight)

    def _norms_of(self, numbers: Sequence[int]) -> Float[Tensor, "graphs E"]:
        if self._of_all is not None:
            return self._norms[list(numbers)].double()
        count = self._num_edges[numbers[0]]
        rows = [self._norms.narrow(0, self._first_edge[number], count) for number in numbers]
        return torch.stack(rows).double()


def edge_norms(graphs: NeuralGraph | NeuralGraphStack) -> Float[Tensor, "*B num_edges"]:
    """The absolute weight of every edge, or the norm of its kernel."""
    values = graphs.edge_features.detach()
    num_edges = graphs.structure.edge_index.shape[1]
    if values.shape[-2] == num_edges:
        return values.abs().squeeze(-1) if values.shape[-1] == 1 else values.norm(dim=-1)
    owner = graphs.template.edge_of_value.to(values.device)  # kernels at their own sizes
    squares = values.squeeze(-1).square()
    sums = squares.new_zeros(len(squares), num_edges)
    return sums.scatter_add_(1, owner.expand_as(squares), squares).sqrt()


_TEMPLATES: WeakKeyDictionary = WeakKeyDictionary()  # what is joined, by template and device


def _of_template(graphs: NeuralGraphStack) -> JoinedNeurons:
    structure = graphs.structure
    of_devices = _TEMPLATES.setdefault(graphs.template, {})
    device = structure.layer_id.device
    if device not in of_devices:
        of_devices[device] = JoinedNeurons(structure.edge_index, structure.layer_id)
    return of_devices[device]


def _first_connected(ends: Int[Tensor, "2 E"], num_nodes: int) -> Int[Tensor, "num_nodes"]:
    """Of each node, the first node that it is connected with."""
    first, second = torch.cat([ends, ends.flip(0)], dim=1)
    labels = torch.arange(num_nodes, device=ends.device)
    while True:
        lower = labels.scatter_reduce(0, first, labels[second], "amin")
        lower = lower[lower]
        if torch.equal(lower, labels):
            return labels
        labels = lower


def _check_finite(norms: Tensor, num_graphs: int) -> None:
    if norms.sum(dtype=torch.float64).isfinite():  # a look at each takes several times as long
        return
    num_wrong = int((~norms.isfinite()).sum())
    if num_wrong:
        raise NNGraphsError(
            f"encode positions in {num_graphs} weighted graphs",
            found=f"{num_wrong} weights are not finite.",
            do="Leave out networks that diverged, or use is_weighted=False.",
        )
