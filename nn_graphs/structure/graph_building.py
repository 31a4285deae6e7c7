"""Labelled directed acyclic graphs, built layer by layer.

Every node gets a layer when it is added, and every edge is checked: none can close a cycle.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from nn_graphs.errors import NNGraphsError
from nn_graphs.structure.layered_graph import LayeredGraph


class LayeredGraphBuilder:
    """Collects nodes and edges of a `LayeredGraph`.

    Example:
        builder = LayeredGraphBuilder()
        first, second = builder.add_nodes(3, layer=0), builder.add_nodes(2, layer=1)
        builder.connect(first, second)
        graph = builder.build()
    """

    def __init__(self):
        self._layers: list[np.ndarray] = []
        self._sources: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []
        self._count = 0

    @property
    def num_nodes(self) -> int:
        return self._count

    def add_nodes(self, number: int, *, layer: int) -> Int[np.ndarray, " number"]:
        """Adds nodes to a layer; there may be layers without any, which are left out at the end.

        Returns:
            Their numbers.

        Raises:
            NNGraphsError: there are none, or the layer is negative.
        """
        if number < 1 or layer < 0:
            raise NNGraphsError(
                f"add {number} nodes to layer {layer}",
                found="there is no such layer, or nothing to add.",
                do="Give one node at least, and count layers from 0.",
            )
        self._layers.append(np.full(number, layer))
        self._count += number
        return np.arange(self._count - number, self._count)

    def add_edges(
        self, sources: Sequence[int] | np.ndarray, targets: Sequence[int] | np.ndarray
    ) -> None:
        """Adds edges between nodes that are there, each to a later layer; all of them or none.

        Raises:
            NNGraphsError: a node is not there, or an edge does not lead to a later layer.
        """
        layers = np.concatenate([np.zeros(0, int), *self._layers])
        LayeredGraph.from_edges(sources, targets, self._count, layers=layers)
        self._sources.append(np.asarray(sources, dtype=int))
        self._targets.append(np.asarray(targets, dtype=int))

    def connect(
        self, sources: Sequence[int] | np.ndarray, targets: Sequence[int] | np.ndarray
    ) -> None:
        """Adds an edge from each of some nodes to each of others.

        Raises:
            NNGraphsError: as `add_edges`.
        """
        pairs = np.repeat(sources, len(targets)), np.tile(targets, len(sources))
        self.add_edges(*pairs)

    def build(self) -> LayeredGraph:
        """The graph.

        Raises:
            NNGraphsError: it has no nodes.
        """
        none = np.zeros(0, int)
        return LayeredGraph.from_edges(
            np.concatenate([none, *self._sources]),
            np.concatenate([none, *self._targets]),
            self._count,
            layers=np.concatenate([none, *self._layers]),
        )
