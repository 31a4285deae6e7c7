"""What a graph will be, before it is built: its layers of nodes, its bundles of edges, its size."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from nn_graphs.graphs.extraction.edge_bundles import EdgeBundle, EdgePart
from nn_graphs.graphs.extraction.node_layers import NodeLayer
from nn_graphs.graphs.parts.steps import Step
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterLayout

PART_SIZE = 2**17  # edges that are written at a time: what stays in a processor's cache


@dataclass(frozen=True)
class GraphSize:
    """How large a graph is.

    Attributes:
        level: of the graph.
        num_nodes, num_edges: exact, for the threshold that was asked about.
        num_bytes: of the arrays of its edges: two ends, a weight, the weight's place.
    """

    level: str
    num_nodes: int
    num_edges: int
    num_bytes: int

    def __str__(self) -> str:
        size = f"{self.num_nodes:,} nodes and {self.num_edges:,} edges"
        return f"{self.level}: {size}, {self.num_bytes / 2**20:,.1f} MiB"


@dataclass(frozen=True, eq=False)
class GraphPlan:
    """All that an extracted graph is made of.

    Attributes:
        level: "unit", "neuron", "layer" or "module".
        layers: of nodes, in the order in which they are computed.
        bundles: of edges, ordered by the layer that they go to.
        params: the flat parameter vector, `[num_params]`.
        parameters: which parameter lies where in it.
    """

    level: str
    layers: tuple[NodeLayer, ...]
    bundles: tuple[EdgeBundle, ...]
    params: np.ndarray
    parameters: ParameterLayout

    @property
    def num_nodes(self) -> int:
        return self.layers[-1].stop if self.layers else 0

    @property
    def id_dtype(self) -> np.dtype:
        """The smallest of 32 and 64 bits that holds all nodes."""
        return np.dtype(np.int32 if self.num_nodes < 2**31 else np.int64)

    @property
    def bytes_per_edge(self) -> int:
        parameter = 4 if len(self.params) < 2**31 else 8
        return 2 * self.id_dtype.itemsize + parameter + self.params.dtype.itemsize

    def edge_counts(self, threshold: float | int | None) -> list[int]:
        """How many edges of every bundle stay."""
        return [bundle.num_edges(self.params, threshold) for bundle in self.bundles]

    def size(self, threshold: float | int | None) -> GraphSize:
        """The size of the graph, by arithmetic: no edge is made."""
        num_edges = sum(self.edge_counts(threshold))
        return GraphSize(self.level, self.num_nodes, num_edges, num_edges * self.bytes_per_edge)

    def parts(
        self, bundle: EdgeBundle, threshold: float | int | None, max_edges: int = PART_SIZE
    ) -> Iterator[EdgePart]:
        """The edges of a bundle, at most so many at a time."""
        return bundle.parts(self.params, threshold, max_edges)


@dataclass
class PlanDraft:
    """A plan that grows, layer by layer."""

    params: np.ndarray
    layers: list[NodeLayer] = field(default_factory=list)
    bundles: list[EdgeBundle] = field(default_factory=list)
    _names: dict[str, int] = field(default_factory=dict)

    def new_layer(
        self,
        name: str,
        kind: str,
        shape: tuple[int, ...],
        *,
        axis: int = -1,
        activation: Activation = Activation(),  # noqa: B008 (frozen)
        offset: float = 0.0,
        bias: np.ndarray | None = None,
        bias_ids: np.ndarray | None = None,
        function: Step | None = None,
        setting: float = 0.0,
        is_output: bool = False,
    ) -> int:
        """Adds a layer behind the others; its number. Names that are there get a number."""
        count = self._names[name] = self._names.get(name, 0) + 1
        start = self.layers[-1].stop if self.layers else 0
        layer = NodeLayer(
            name=name if count == 1 else f"{name}#{count}",
            kind=kind,
            start=start,
            shape=tuple(int(size) for size in shape),
            axis=axis,
            activation=activation,
            offset=offset,
            bias=bias,
            bias_ids=bias_ids,
            function=function,
            setting=setting,
            is_output=is_output,
        )
        self.layers.append(layer)
        return len(self.layers) - 1

    def ids(self, layer: int) -> np.ndarray:
        """The nodes of a layer in the shape of its value."""
        return self.layers[layer].node_ids()

    def constant_layer(self, name: str, values: np.ndarray) -> int:
        """Nodes of fixed values, which are their biases."""
        values = np.asarray(values, dtype=self.params.dtype)
        return self.new_layer(name, "constant", values.shape, bias=values.reshape(-1))

    def finished(self, level: str, parameters: ParameterLayout) -> GraphPlan:
        return GraphPlan(level, tuple(self.layers), tuple(self.bundles), self.params, parameters)
