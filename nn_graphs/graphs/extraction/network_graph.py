"""An extracted graph: arrays of nodes and edges, and what their numbers stand for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nn_graphs.graphs.extraction.edge_bundles import EdgePart
from nn_graphs.graphs.extraction.graph_plan import PART_SIZE, GraphPlan, GraphSize
from nn_graphs.graphs.extraction.node_layers import NodeLayer
from nn_graphs.networks.activations import ACTIVATION_NAMES
from nn_graphs.networks.parameters import ParameterLayout


@dataclass(frozen=True)
class EdgeRange:
    """Edges `start ... stop - 1`: what is left of one bundle.

    Attributes:
        start, stop: numbers of edges.
        source_layer, target_layer: numbers of the layers that they join.
        argument: which argument of the target's kind they carry.
        parameter: the name of their weight, or None where they are constant.
        first_parameter: the weight's place in the flat parameter vector.
        kernel: the sizes of its kernel.
    """

    start: int
    stop: int
    source_layer: int
    target_layer: int
    argument: int
    parameter: str | None
    first_parameter: int
    kernel: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class NetworkGraph:
    """A network as a directed acyclic graph, its nodes in the order in which they are computed.

    Attributes:
        level: "unit", "neuron", "layer" or "module".
        layers: what is computed together.
        ranges: edges that have one weight and join two layers.
        source, target: `[num_edges]`, nodes; edges are ordered by the layer of their target.
        weight: `[num_edges]`, what an edge multiplies by.
        parameter_id: `[num_edges]`, the weight's place in the flat parameter vector, the same for
            edges that share it; -1: a constant. Of a kernel that is one edge, the first value's.
        parameters: names, shapes and places of all parameters.
    """

    level: str
    layers: tuple[NodeLayer, ...]
    ranges: tuple[EdgeRange, ...]
    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    parameter_id: np.ndarray
    parameters: ParameterLayout

    def __repr__(self) -> str:
        counts = f"{self.num_nodes:,} nodes, {self.num_edges:,} edges"
        return f"NetworkGraph({self.level}: {counts} in {len(self.layers)} layers)"

    @property
    def num_nodes(self) -> int:
        return self.layers[-1].stop if self.layers else 0

    @property
    def num_edges(self) -> int:
        return len(self.source)

    @property
    def size(self) -> GraphSize:
        arrays = self.source, self.target, self.weight, self.parameter_id
        num_bytes = sum(array.nbytes for array in arrays)
        return GraphSize(self.level, self.num_nodes, self.num_edges, num_bytes)

    # Nodes, `[num_nodes]` each.

    def layer_id(self) -> np.ndarray:
        """Which layer each node belongs to."""
        return self._by_layer(range(len(self.layers)), np.int32)

    def kind_id(self) -> np.ndarray:
        """What each node does, a place in `NODE_KINDS`."""
        return self._by_layer([layer.kind_id for layer in self.layers], np.int32)

    def activation_id(self) -> np.ndarray:
        """The activation of each node, a place in `ACTIVATION_NAMES`."""
        ids = [ACTIVATION_NAMES.index(layer.activation.name) for layer in self.layers]
        return self._by_layer(ids, np.int32)

    def activation_parameter(self) -> np.ndarray:
        """The slope or frequency of each node's activation."""
        return self._by_layer([layer.activation.parameter for layer in self.layers], np.float64)

    def offset(self) -> np.ndarray:
        """What is added behind each node's activation."""
        return self._by_layer([layer.offset for layer in self.layers], np.float64)

    def is_output(self) -> np.ndarray:
        """Which nodes the network puts out."""
        return self._by_layer([layer.is_output for layer in self.layers], bool)

    def bias(self) -> np.ndarray:
        """The bias of each node, 0 where it has none."""
        found = np.zeros(self.num_nodes, dtype=self.weight.dtype)
        for layer in self.layers:
            if layer.bias is not None:
                found[layer.start : layer.stop] = layer.spread(layer.bias)
        return found

    def bias_id(self) -> np.ndarray:
        """The place of each node's bias in the flat parameter vector; -1: it has none."""
        found = np.full(self.num_nodes, -1, dtype=self.parameter_id.dtype)
        for layer in self.layers:
            if layer.bias_ids is not None:
                found[layer.start : layer.stop] = layer.spread(layer.bias_ids)
        return found

    def _by_layer(self, values: Sequence, dtype: type) -> np.ndarray:
        counts = [layer.num_nodes for layer in self.layers]
        return np.repeat(np.asarray(values, dtype=dtype), counts)

    # Edges, `[num_edges]` each.

    def kernel_position(self) -> np.ndarray:
        """At which position of its kernel each edge's weight stands; -1: it is of none."""
        found = np.full(self.num_edges, -1, dtype=np.int32)
        for own in self.ranges:
            if own.kernel and self.level == "unit":
                ids = self.parameter_id[own.start : own.stop] - own.first_parameter
                found[own.start : own.stop] = ids % int(np.prod(own.kernel))
        return found

    def argument(self) -> np.ndarray:
        """Which argument of its target's kind each edge carries: the factors of a product, say."""
        counts = [own.stop - own.start for own in self.ranges]
        return np.repeat(np.array([own.argument for own in self.ranges], dtype=np.int32), counts)

    def edges(self, start: int, stop: int) -> EdgePart:
        """The edges `start ... stop - 1`."""
        columns = (self.source, self.target, self.parameter_id, self.weight)
        return EdgePart(*(column[start:stop] for column in columns))


def built(plan: GraphPlan, threshold: float | int | None) -> NetworkGraph:
    """The graph of a plan, without the edges whose weights are at most the threshold."""
    counts = plan.edge_counts(threshold)
    total, ids = sum(counts), plan.id_dtype
    parameter_dtype = np.int32 if len(plan.params) < 2**31 else np.int64
    source, target = _room(total, ids), _room(total, ids)
    parameter, weight = _room(total, parameter_dtype), _room(total, plan.params.dtype)
    at = 0
    for bundle in plan.bundles:
        for part in plan.parts(bundle, threshold, PART_SIZE):
            own = slice(at, at + len(part))
            source[own], target[own] = part.source, part.target
            parameter[own], weight[own] = part.parameter, part.weight
            at = own.stop
    assert at == total
    return NetworkGraph(
        level=plan.level,
        layers=plan.layers,
        ranges=edge_ranges(plan, counts),
        source=source,
        target=target,
        weight=weight,
        parameter_id=parameter,
        parameters=plan.parameters,
    )


def _room(count: int, dtype: np.dtype | type) -> np.ndarray:
    """An array that is written next, of memory that torch has asked for.

    For its own, numpy asks for huge pages. Where a virtual machine has few of them, the first
    write into each is slow, and the slower the more there are: seconds grew as edges to the power
    of 1.23, and 50 million edges took twice the time.
    """
    size = count * np.dtype(dtype).itemsize
    return torch.empty(size, dtype=torch.uint8).numpy().view(dtype)


def edge_ranges(plan: GraphPlan, counts: Sequence[int]) -> tuple[EdgeRange, ...]:
    """Which edges are which bundle's."""
    ranges, start = [], 0
    for bundle, count in zip(plan.bundles, counts, strict=True):
        ranges.append(
            EdgeRange(
                start,
                start + count,
                source_layer=bundle.source_layer,
                target_layer=bundle.target_layer,
                argument=bundle.argument,
                parameter=bundle.parameter,
                first_parameter=bundle.first_parameter,
                kernel=bundle.kernel,
            )
        )
        start += count
    return tuple(ranges)
