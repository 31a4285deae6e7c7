"""Layered graphs: directed acyclic graphs as arrays of edges, with a layer for every node.

Layers are those of the longest path (`layering`), or given ones, as of a network whose masks have
been pruned; edges always lead to a later layer. Nodes are numbered, no layer is empty, and an edge
is there once. A graph never changes: what changes it makes a new one. `LayeredGraphBuilder` in
`graph_building.py` makes one layer by layer; `layered_files.py` writes and reads files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np
from jaxtyping import Bool, Int
from scipy import sparse

from nn_graphs.errors import NNGraphsError
from nn_graphs.structure.layering import longest_path_layers
from nn_graphs.structure.orientations import acyclic_orientation

ASKED = "make a layered graph"


@dataclass(frozen=True, eq=False)
class LayeredGraph:
    """A directed acyclic graph whose nodes lie in layers.

    Made by `from_edges`, `from_networkx` or `from_adjacency`, which check what they are given.

    Attributes:
        sources, targets: of every edge, sorted by source, then by target.
        layers: of every node; without gaps, and smaller at the source of an edge than at its
            target.
    """

    sources: Int[np.ndarray, " e"]
    targets: Int[np.ndarray, " e"]
    layers: Int[np.ndarray, " n"]

    @classmethod
    def from_edges(
        cls,
        sources: Sequence[int] | np.ndarray,
        targets: Sequence[int] | np.ndarray,
        num_nodes: int | None = None,
        *,
        layers: Sequence[int] | np.ndarray | None = None,
        names: Sequence | None = None,
    ) -> "LayeredGraph":
        """A graph from the two ends of its edges; edges that are there twice become one.

        Args:
            sources, targets: numbers of nodes.
            num_nodes: one more than the largest of them where None.
            layers: of the nodes; gaps between them are closed. Those of the longest path where
                None.
            names: by which an error calls the nodes.

        Raises:
            NNGraphsError: there is no node, a number is no node's, there is a cycle, or an edge
                does not lead to a later one of the given layers.
        """
        sources, targets = _checked_ends(sources, targets, num_nodes)
        if num_nodes is None:
            num_nodes = int(max(sources.max(initial=-1), targets.max(initial=-1))) + 1
        if num_nodes < 1:
            raise NNGraphsError(ASKED, found="it has no nodes.", do="Give one node at least.")
        shape = (num_nodes, num_nodes)
        rows = sparse.csr_array((np.ones(len(sources), bool), (sources, targets)), shape=shape)
        rows.sum_duplicates()  # sorts them too
        sources = np.repeat(np.arange(num_nodes, dtype=np.int32), np.diff(rows.indptr))
        targets = rows.indices.astype(np.int32, copy=False)
        if layers is None:
            found = longest_path_layers(rows, names=names)
        else:
            found = _checked_layers(np.asarray(layers), sources, targets, num_nodes)
        return cls(sources, targets, found.astype(np.int32))

    @classmethod
    def from_networkx(
        cls, graph: nx.Graph, *, order: str | Sequence[int] = "numbers", layer: str | None = None
    ) -> "LayeredGraph":
        """A graph of networkx, its nodes numbered in its own order.

        Args:
            graph: any; the edges of an undirected one are directed by `acyclic_orientation`.
            order: of the nodes, by which they are.
            layer: the attribute of nodes that holds given layers.

        Raises:
            NNGraphsError: as `from_edges`, or a node lacks the attribute.
        """
        names = list(graph)
        number = {name: place for place, name in enumerate(names)}
        ends = np.array([(number[u], number[v]) for u, v in graph.edges()], np.int64)
        sources, targets = ends.reshape(-1, 2).T
        if not graph.is_directed() and names:
            sources, targets = acyclic_orientation(sources, targets, len(names), order=order)
        layers = None if layer is None else _attributes(graph, layer)
        return cls.from_edges(sources, targets, len(names), layers=layers, names=names)

    @classmethod
    def from_adjacency(
        cls,
        adjacency: np.ndarray | sparse.sparray | sparse.spmatrix,
        *,
        is_directed: bool = True,
        order: str | Sequence[int] = "numbers",
    ) -> "LayeredGraph":
        """A graph from a square matrix, row = where an edge begins; what is not 0 is an edge.

        Raises:
            NNGraphsError: as `from_edges`, or the matrix is not square.
        """
        matrix = sparse.coo_array(adjacency)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise NNGraphsError(
                ASKED,
                found=f"the adjacency matrix is {list(matrix.shape)}, not square.",
                do="Give one row and one column a node.",
            )
        sources, targets = (ends[matrix.data != 0] for ends in (matrix.row, matrix.col))
        if not is_directed:
            sources, targets = acyclic_orientation(sources, targets, matrix.shape[0], order=order)
        return cls.from_edges(sources, targets, matrix.shape[0])

    def __repr__(self) -> str:
        sizes = f"{self.num_nodes} nodes, {self.num_edges} edges, {self.num_layers} layers"
        return f"LayeredGraph({sizes})"

    @property
    def num_nodes(self) -> int:
        return len(self.layers)

    @property
    def num_edges(self) -> int:
        return len(self.sources)

    @property
    def num_layers(self) -> int:
        return len(self.layer_sizes)

    @cached_property
    def layer_sizes(self) -> Int[np.ndarray, " layers"]:
        """How many nodes each layer has."""
        return np.bincount(self.layers)

    @cached_property
    def nodes_by_layer(self) -> tuple[Int[np.ndarray, " _"], ...]:
        """The nodes of every layer, ascending."""
        order = np.argsort(self.layers, kind="stable")
        return tuple(np.split(order, np.cumsum(self.layer_sizes)[:-1]))

    @cached_property
    def in_degrees(self) -> Int[np.ndarray, " n"]:
        return np.bincount(self.targets, minlength=self.num_nodes)

    @cached_property
    def out_degrees(self) -> Int[np.ndarray, " n"]:
        return np.bincount(self.sources, minlength=self.num_nodes)

    @cached_property
    def num_connections(self) -> Int[np.ndarray, "layers layers"]:
        """How many edges lead from each layer (row) to each other one (column)."""
        count = self.num_layers
        pairs = self.layers[self.sources].astype(np.int64) * count + self.layers[self.targets]
        return np.bincount(pairs, minlength=count**2).reshape(count, count)

    def is_layer_connected(self, first: int, second: int) -> bool:
        """Whether an edge leads from one layer to the other, whichever is the earlier one.

        Raises:
            NNGraphsError: there is no such layer, or both are the same.
        """
        low, high = sorted((first, second))
        if low == high or low < 0 or high >= self.num_layers:
            raise NNGraphsError(
                f"tell whether the layers {first} and {second} are connected",
                found=f"the graph has the layers 0 to {self.num_layers - 1}, and no edge inside "
                "of one.",
                do="Give two of them.",
            )
        return bool(self.num_connections[low, high])

    def mask(self, sources: Sequence[int], target: int) -> Bool[np.ndarray, "out in"]:
        """Which nodes of several layers, one behind the other, lead to which of a later layer.

        There is one earlier layer at least.
        """
        ends = np.cumsum(self.layer_sizes)
        firsts = ends - self.layer_sizes
        columns = np.concatenate([np.arange(firsts[layer], ends[layer]) for layer in sources])
        low, high = columns.min(), columns.max() + 1
        window = self._edges_into[firsts[target] : ends[target], low:high].toarray()
        return window[:, columns - low]

    @cached_property
    def _edges_into(self) -> sparse.csr_array:
        """A matrix with a row for the target of every edge; nodes layer after layer."""
        order = np.concatenate(self.nodes_by_layer)
        place = np.empty(self.num_nodes, np.int64)
        place[order] = np.arange(self.num_nodes)
        ends = place[self.targets], place[self.sources]
        return sparse.csr_array((np.ones(self.num_edges, bool), ends), shape=(self.num_nodes,) * 2)

    def equals(self, other: "LayeredGraph") -> bool:
        """Whether nodes, layers and edges are the same, numbers included."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("sources", "targets", "layers")
        )

    def append(self, other: "LayeredGraph") -> "LayeredGraph":
        """Both graphs, the first layer of the other being the last layer of this one.

        The other's further nodes are numbered behind those of this graph.

        Raises:
            NNGraphsError: these two layers differ in size, or the other has no second one.
        """
        last, first = self.nodes_by_layer[-1], other.nodes_by_layer[0]
        if len(last) != len(first) or other.num_layers < 2:
            raise NNGraphsError(
                f"append {other!r} to {self!r}",
                found=f"its first layer has {len(first)} nodes, it has {other.num_layers} layers; "
                f"the last layer here has {len(last)} nodes.",
                do="Give a graph of two layers at least that begins with as many nodes.",
            )
        is_new = other.layers > 0
        number = np.empty(other.num_nodes, np.int64)
        number[first] = last
        number[is_new] = self.num_nodes + np.arange(is_new.sum())
        return LayeredGraph.from_edges(
            np.concatenate([self.sources, number[other.sources]]),
            np.concatenate([self.targets, number[other.targets]]),
            self.num_nodes + int(is_new.sum()),
            layers=np.concatenate([self.layers, other.layers[is_new] + self.num_layers - 1]),
        )

    def adjacency(self) -> sparse.csr_array:
        """The boolean adjacency matrix, row = where an edge begins."""
        starts = np.concatenate([[0], np.cumsum(self.out_degrees)])
        ones = np.ones(self.num_edges, bool)
        return sparse.csr_array((ones, self.targets, starts), shape=(self.num_nodes,) * 2)

    def to_networkx(self) -> nx.DiGraph:
        """A graph of networkx; the nodes have their `layer` as attribute."""
        graph = nx.DiGraph()
        graph.add_nodes_from((n, {"layer": layer}) for n, layer in enumerate(self.layers.tolist()))
        graph.add_edges_from(zip(self.sources.tolist(), self.targets.tolist(), strict=True))
        return graph


def _checked_ends(sources, targets, num_nodes: int | None) -> tuple[np.ndarray, np.ndarray]:
    ends = tuple(np.asarray(e) if np.size(e) else np.zeros(0, int) for e in (sources, targets))
    if any(end.ndim != 1 or end.dtype.kind not in "iu" for end in ends) or len(ends[0]) != len(
        ends[1]
    ):
        shapes = " and ".join(f"{end.dtype} {list(end.shape)}" for end in ends)
        raise NNGraphsError(
            ASKED,
            found=f"the ends of its edges are {shapes}.",
            do="Give two lists of numbers, equally long.",
        )
    smallest = min(end.min(initial=0) for end in ends)
    largest = max(end.max(initial=-1) for end in ends)
    if smallest < 0 or (num_nodes is not None and largest >= num_nodes):
        raise NNGraphsError(
            ASKED,
            found=f"an edge ends in node {smallest if smallest < 0 else largest}, which is none.",
            do="Number the nodes from 0 on.",
        )
    return ends


def _checked_layers(
    layers: np.ndarray, sources: np.ndarray, targets: np.ndarray, num_nodes: int
) -> Int[np.ndarray, " n"]:
    """Given layers without gaps between them."""
    if layers.shape != (num_nodes,) or layers.dtype.kind not in "iu":
        raise NNGraphsError(
            ASKED,
            found=f"the layers of its {num_nodes} nodes are {layers.dtype} {list(layers.shape)}.",
            do="Give one number a node.",
        )
    wrong = np.flatnonzero(layers[sources] >= layers[targets])
    if len(wrong):
        source, target = sources[wrong[0]], targets[wrong[0]]
        raise NNGraphsError(
            ASKED,
            found=f"{len(wrong)} edges do not lead to a later layer, the first from node {source} "
            f"in layer {layers[source]} to node {target} in layer {layers[target]}.",
            do="Give other layers, or none for those of the longest path.",
        )
    return np.unique(layers, return_inverse=True)[1]


def _attributes(graph: nx.Graph, name: str) -> np.ndarray:
    values = [graph.nodes[node].get(name) for node in graph]
    if any(not isinstance(value, int | np.integer) for value in values):
        raise NNGraphsError(
            ASKED,
            found=f"not every node has a whole number as its attribute {name!r}.",
            do="Give the name of another attribute, or None for layers of the longest path.",
        )
    return np.array(values, np.int64)
