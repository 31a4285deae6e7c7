"""The pairs of neurons of graphs, numbered, so that those without an edge can be drawn.

Pair `i < j` of a graph has the number `j (j - 1) / 2 + i`; graphs follow each other. Pairs without
an edge are counted too: the r-th of them is found by a search among the numbers of the others. So
one that has an edge is never drawn, and nothing is drawn twice to avoid it, however few are left.
"""

from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.graphs.graph_template import NeuralGraphStack


class NodePairs:
    """Pairs of neurons of graphs, those with an edge (in any direction) and those without.

    Args:
        edge_index: ends of the edges, as numbers of neurons over all graphs.
        graph_id: the graph of each neuron; neurons of a graph stand together, graphs in order.
        num_graphs: how many there are.

    Attributes:
        num_nodes: `[num_graphs]`.
        joined: numbers of the pairs with an edge, in order, each once.
        num_joined, num_apart: `[num_graphs]`, pairs with and without an edge.
        first_apart: `[num_graphs]`, how many pairs of earlier graphs are without an edge.
    """

    def __init__(
        self,
        edge_index: Int[Tensor, "2 num_edges"],
        graph_id: Int[Tensor, "num_nodes"],
        *,
        num_graphs: int,
    ):
        self.num_nodes = torch.bincount(graph_id, minlength=num_graphs)
        self._first_node = self.num_nodes.cumsum(0) - self.num_nodes
        num_pairs = self.num_nodes * (self.num_nodes - 1) // 2
        self._end_pair = num_pairs.cumsum(0)
        self._first_pair = self._end_pair - num_pairs
        graph = graph_id[edge_index[0]]
        ends = edge_index - self._first_node[graph]
        low, high = ends.amin(0), ends.amax(0)
        is_pair = low < high
        numbers = self._first_pair[graph] + high * (high - 1) // 2 + low
        self.joined = numbers[is_pair].unique()
        self.num_joined = torch.bincount(self.graph(self.joined), minlength=num_graphs)
        self.num_apart = num_pairs - self.num_joined
        self.first_apart = self.num_apart.cumsum(0) - self.num_apart
        self._apart_before = self.joined - torch.arange(len(self.joined), device=graph_id.device)

    @cached_property
    def shares(self) -> tuple[Float[Tensor, "pairs"], Float[Tensor, "pairs"]]:
        """Of one graph, what each entry of the matrix `[num_nodes, num_nodes]` counts in means.

        In the mean over pairs with an edge, and in that over pairs without: each pair is two
        entries; a neuron with itself is no pair.
        """
        size = int(self.num_nodes)
        is_joined = torch.zeros(size, size, dtype=torch.bool, device=self.joined.device)
        first, second = self.ends(self.joined)
        is_joined[first, second] = is_joined[second, first] = True
        is_apart = ~is_joined
        is_apart.diagonal()[:] = False
        joined, apart = (each.double() / each.sum().clamp_min(1) for each in (is_joined, is_apart))
        return joined.flatten(), apart.flatten()

    def graph(self, numbers: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """The graph of each pair."""
        return torch.bucketize(numbers, self._end_pair, right=True)

    def apart(self, ranks: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """The numbers of the pairs that have so many pairs without an edge before them."""
        return ranks + torch.bucketize(ranks, self._apart_before, right=True)

    def ends(
        self, numbers: Int[Tensor, "*shape"]
    ) -> tuple[Int[Tensor, "*shape"], Int[Tensor, "*shape"]]:
        """The two neurons of each pair, as numbers over all graphs."""
        graph = self.graph(numbers)
        within = numbers - self._first_pair[graph]
        high = ((1 + (1 + 8 * within.double()).sqrt()) / 2).long()
        high = high - (high * (high - 1) // 2 > within).long()  # where the root was rounded up
        high = high + (high * (high + 1) // 2 <= within).long()
        first = self._first_node[graph]
        return first + within - high * (high - 1) // 2, first + high


_OF_TEMPLATES: WeakKeyDictionary = WeakKeyDictionary()  # by template and device


def pairs_of_stack(graphs: NeuralGraphStack) -> NodePairs:
    """The pairs of one graph of a stack, found once for its template."""
    structure = graphs.structure
    of_devices = _OF_TEMPLATES.setdefault(graphs.template, {})
    device = structure.layer_id.device
    if device not in of_devices:
        alone = torch.zeros_like(structure.layer_id)
        of_devices[device] = NodePairs(structure.edge_index, alone, num_graphs=1)
    return of_devices[device]
