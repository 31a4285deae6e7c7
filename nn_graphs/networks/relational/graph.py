"""A relational graph: who sends messages to whom, and the masks that this prescribes.

Nodes stand for groups of channels (`partition`), a layer is one round of messages, and a weight
exists where its two channels belong to neighbours or to the same node (You et al., ICML 2020,
section 2). `mask[out, in]` reads row i of the adjacency matrix as the nodes that i hears; only a
directed graph tells this from the other reading.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.relational.partition import group_ranks, group_sizes
from nn_graphs.structure.adjacency import Adjacency, AnyGraph, adjacency_matrix
from nn_graphs.structure.generators import GraphRecipe


class RelationalGraph:
    """A graph that prescribes masks.

    Args:
        graph: an adjacency matrix or a graph of networkx, connected and without self loops.
        is_directed: whether arcs may go one way only.
        make_resized: the same kind of graph with a given number of nodes, for layers that have
            fewer channels than the graph has nodes.

    Raises:
        NNGraphsError: the graph is not square, not of 0 and 1, has self loops, is of several
            pieces, or is directed where an undirected one is expected.
    """

    def __init__(
        self,
        graph: AnyGraph,
        *,
        is_directed: bool = False,
        make_resized: Callable[[int], AnyGraph] | None = None,
    ):
        self.adjacency: Adjacency = adjacency_matrix(graph, is_directed=is_directed)
        self.is_directed = is_directed
        self._make_resized = make_resized
        self._resized: dict[int, RelationalGraph] = {}

    @classmethod
    def from_recipe(cls, recipe: GraphRecipe) -> "RelationalGraph":
        """The graph of a recipe, which comes in all sizes."""
        return cls(recipe.make(), make_resized=lambda num_nodes: recipe.resized(num_nodes).make())

    @property
    def num_nodes(self) -> int:
        return len(self.adjacency)

    def mask(self, in_channels: int, out_channels: int) -> Bool[np.ndarray, "out in"]:
        """Where a layer has weights.

        Raises:
            NNGraphsError: it has fewer channels than the graph has nodes, and the graph comes in
                one size.
        """
        graph = self.for_channels(in_channels, out_channels)
        rows, columns = (
            np.repeat(np.arange(graph.num_nodes), group_sizes(channels, graph.num_nodes))
            for channels in (out_channels, in_channels)
        )
        return graph._messages[rows[:, None], columns]

    def num_connections(self, in_channels: int, out_channels: int) -> int:
        """Ones of the mask, without making it.

        Raises:
            NNGraphsError: see `mask`.
        """
        graph = self.for_channels(in_channels, out_channels)
        rows, more_rows = divmod(out_channels, graph.num_nodes)
        columns, more_columns = divmod(in_channels, graph.num_nodes)
        sums = graph._rank_sums
        return (
            rows * columns * sums[-1][-1]
            + rows * sums[-1][more_columns]
            + columns * sums[more_rows][-1]
            + sums[more_rows][more_columns]
        )

    def for_channels(self, in_channels: int, out_channels: int) -> "RelationalGraph":
        """The graph of a layer: this one, or a smaller one where there are fewer channels.

        Raises:
            NNGraphsError: see `mask`.
        """
        num_nodes = min(self.num_nodes, in_channels, out_channels)
        if num_nodes == self.num_nodes:
            return self
        if self._make_resized is None:
            raise NNGraphsError(
                f"share out {in_channels} and {out_channels} channels of a layer over the "
                f"{self.num_nodes} nodes of a relational graph",
                found="there are more nodes than channels, and the graph comes in one size.",
                do="Use a wider network, fewer nodes, or RelationalGraph.from_recipe, which makes "
                "a smaller graph of the same kind for such a layer.",
            )
        if num_nodes not in self._resized:
            self._resized[num_nodes] = RelationalGraph(
                self._make_resized(num_nodes), is_directed=self.is_directed
            )
        return self._resized[num_nodes]

    @cached_property
    def _messages(self) -> Bool[np.ndarray, "n n"]:
        """Who hears whom: neighbours, and every node itself."""
        return self.adjacency | np.eye(self.num_nodes, dtype=bool)

    @cached_property
    def _rank_sums(self) -> list[list[int]]:
        """`[a][b]`: messages to nodes of the first a ranks from nodes of the first b ranks."""
        order = np.argsort(group_ranks(self.num_nodes))
        sums = np.zeros((self.num_nodes + 1,) * 2, dtype=np.int64)
        sums[1:, 1:] = self._messages[np.ix_(order, order)].cumsum(0).cumsum(1)
        return sums.tolist()
