"""The longest-path layering of a directed acyclic graph, in time linear in nodes and edges.

A node's layer is the number of edges on the longest path that ends in it (paper: Stier & Granitzer,
deepstruct), so that every edge leads to a later layer. Layers are found one after the other: those
whose predecessors all have one. Where a layer has many edges they are followed as arrays, where it
has few, one by one in the same memory, for arrays of one element would cost more than they hold.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from scipy import sparse

from nn_graphs.errors import NNGraphsError

MIN_ARRAY = 48  # edges of a layer from which on arrays are faster
NUM_SHOWN = 8  # nodes of a cycle that an error names


def longest_path_layers(
    adjacency: sparse.csr_array, *, names: Sequence | None = None
) -> Int[np.ndarray, " n"]:
    """The layer of every node; nodes without predecessors, isolated ones too, are in layer 0.

    Args:
        adjacency: square, row = where an edge begins; what is stored is an edge.
        names: by which an error calls the nodes; their numbers where None.

    Raises:
        NNGraphsError: there is a cycle, which the error shows.
    """
    num_nodes = adjacency.shape[0]
    sweep = _Sweep(adjacency.indptr, adjacency.indices, num_nodes)
    layers = sweep.run()
    if sweep.num_done < num_nodes:
        sources = np.repeat(np.arange(num_nodes), np.diff(adjacency.indptr))
        raise _cycle_error(sources, adjacency.indices, sweep.waits > 0, names)
    return layers


class _Sweep:
    """Layers found so far; `waits` counts the edges into each node whose source has none yet."""

    def __init__(self, starts: np.ndarray, successors: np.ndarray, num_nodes: int):
        self.starts, self.successors = starts, successors
        self.waits = np.bincount(successors, minlength=num_nodes)
        self.layers = np.zeros(num_nodes, np.int64)
        self.num_done = 0
        self._marks = np.empty(num_nodes, np.int64)
        arrays = (self.starts, self.successors, self.waits, self.layers)
        self._views = tuple(map(memoryview, arrays))  # plain numbers out of the same memory

    def run(self) -> np.ndarray:
        ready, layer = np.flatnonzero(self.waits == 0), 0
        while len(ready):
            counts = self.starts[ready + 1] - self.starts[ready]
            if counts.sum() < MIN_ARRAY:
                ready, layer = self._follow_one_by_one(ready.tolist(), layer)
                continue
            self.layers[ready] = layer
            self.num_done += len(ready)
            ready, layer = self._follow(ready, counts), layer + 1
        return self.layers

    def _follow(self, ready: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The nodes that wait for no other any more, once `ready` have a layer."""
        ends = np.cumsum(counts)
        places = np.arange(ends[-1]) + np.repeat(self.starts[ready] - ends + counts, counts)
        reached = self.successors[places]
        np.subtract.at(self.waits, reached, 1)
        free = reached[self.waits[reached] == 0]
        order = np.arange(len(free))
        self._marks[free] = order  # the last edge into a node stands for all of them
        return free[self._marks[free] == order]

    def _follow_one_by_one(self, ready: list[int], layer: int) -> tuple[np.ndarray, int]:
        """The same, layer after layer, until one has many edges or none is left."""
        starts, successors, waits, layers = self._views
        num_done = num_edges = 0
        while ready and num_edges < MIN_ARRAY:
            num_done += len(ready)
            num_edges, free = 0, []
            for node in ready:
                layers[node] = layer
                for reached in successors[starts[node] : starts[node + 1]]:
                    waits[reached] = left = waits[reached] - 1
                    if not left:
                        free.append(reached)
                        num_edges += starts[reached + 1] - starts[reached]
            ready, layer = free, layer + 1
        self.num_done += num_done
        return np.array(ready, np.int64), layer


def _cycle_error(
    sources: np.ndarray, targets: np.ndarray, is_left: np.ndarray, names: Sequence | None
) -> NNGraphsError:
    cycle = _find_cycle(sources, targets, is_left)
    shown = cycle if len(cycle) <= NUM_SHOWN else [*cycle[: NUM_SHOWN - 1], None, cycle[-1]]
    called = ("..." if n is None else str(n if names is None else names[n]) for n in shown)
    return NNGraphsError(
        "put a graph into layers",
        found=f"it has a cycle of {len(cycle) - 1} nodes: {' -> '.join(called)}.",
        do="Leave one of these edges out, or direct the graph by `acyclic_orientation`.",
    )


def _find_cycle(sources: np.ndarray, targets: np.ndarray, is_left: np.ndarray) -> list[int]:
    """A cycle, its first node again at the end, among nodes that all have a predecessor there."""
    inside = is_left[sources] & is_left[targets]
    before = np.zeros(len(is_left), np.int64)
    before[targets[inside]] = sources[inside]
    path, place, node = [], {}, int(np.flatnonzero(is_left)[0])
    while node not in place:
        place[node] = len(path)
        path.append(node)
        node = int(before[node])
    return [node, *path[place[node] :][::-1]]
