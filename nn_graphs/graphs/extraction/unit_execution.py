"""Runs a unit graph along its edges: the proof that it holds all that its network computes."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction.edge_files import BLOCK_SIZE, EdgeFile
from nn_graphs.graphs.extraction.network_graph import EdgeRange, NetworkGraph
from nn_graphs.graphs.extraction.node_layers import NodeLayer


def run_graph(graph: NetworkGraph | EdgeFile, *inputs: Tensor) -> list[np.ndarray]:
    """What a network puts out, computed from its unit graph alone, in double precision.

    Args:
        graph: of the level "unit", in memory or in a file.
        inputs: what the module takes, for any number of samples; tokens as integers.

    Returns:
        One array `[samples, ...]` for each output, in the module's order.

    Raises:
        NNGraphsError: the graph is of another level, or the inputs do not fit it.
    """
    values = node_values(graph, *inputs)
    outputs = [layer for layer in graph.layers if layer.is_output]
    return [
        values[layer.start : layer.stop].T.reshape(-1, *layer.shape[1:])
        if layer.shape[:1] == (1,)
        else values[layer.start : layer.stop].T.reshape(-1, *layer.shape)
        for layer in outputs
    ]


def node_values(graph: NetworkGraph | EdgeFile, *inputs: Tensor) -> np.ndarray:
    """The value of every node, `[num_nodes, samples]`; see `run_graph`."""
    if graph.level != "unit":
        raise NNGraphsError(
            "run a graph along its edges",
            found=f"it is of the level {graph.level!r}, which does not tell places.",
            do="Extract it at the level 'unit'.",
        )
    given = _given(graph, inputs)
    values = np.zeros((graph.num_nodes, next(iter(given.values())).shape[1]))
    for number, layer in enumerate(graph.layers):
        own = slice(layer.start, layer.stop)
        if layer.kind == "input":
            values[own] = given[number]
        else:
            values[own] = _computed(graph, number, layer, values)
    return values


def _given(graph: NetworkGraph | EdgeFile, inputs: Sequence[Tensor]) -> dict[int, np.ndarray]:
    """The values of the input layers, `[nodes, samples]`."""
    numbers = [n for n, layer in enumerate(graph.layers) if layer.kind == "input"]
    found = {}
    for number, tensor in zip(numbers, inputs, strict=False):
        layer = graph.layers[number]
        if not tensor.is_floating_point():
            tensor = torch.nn.functional.one_hot(tensor, layer.shape[-1])
        shape, own = tuple(tensor.shape), layer.shape
        if shape == own or (own[:1] == (1,) and shape[1:] == own[1:]):
            count = tensor.numel() // max(layer.num_nodes, 1)
            found[number] = tensor.detach().double().reshape(count, -1).numpy().T
    if len(found) != len(inputs) or len(found) != len(numbers):
        shapes = ", ".join(str(list(graph.layers[n].shape)) for n in numbers)
        raise NNGraphsError(
            f"run a graph whose inputs are {shapes}",
            found=f"the tensors are {', '.join(str(list(each.shape)) for each in inputs)}.",
            do="Pass what the module takes; the first axis may be of any size where it is 1.",
        )
    return found


def _computed(
    graph: NetworkGraph | EdgeFile, number: int, layer: NodeLayer, values: np.ndarray
) -> np.ndarray:
    """The values of one layer, from those of the layers before it."""
    ranges = [own for own in graph.ranges if own.target_layer == number]
    shape = layer.num_nodes, values.shape[1]
    if layer.kind == "constant":
        total = np.zeros(shape)
    elif layer.kind in ("sum", "function", "product", "choice"):
        arguments = [
            _summed(graph, [own for own in ranges if own.argument == n], layer, values)
            for n in range(max((own.argument for own in ranges), default=0) + 1)
        ]
        total = _combined(layer, arguments)
    else:
        total = _aggregated(graph, ranges, layer, values)
    if layer.bias is not None:
        total = total + layer.spread(layer.bias).astype(np.float64)[:, None]
    return layer.activation(torch.from_numpy(total)).numpy() + layer.offset


def _summed(
    graph: NetworkGraph | EdgeFile,
    ranges: Sequence[EdgeRange],
    layer: NodeLayer,
    values: np.ndarray,
) -> np.ndarray:
    """What arrives for one argument."""
    total = np.zeros((layer.num_nodes, values.shape[1]))
    for own in ranges:
        source = graph.layers[own.source_layer]
        for start in range(own.start, own.stop, BLOCK_SIZE):
            edges = graph.edges(start, min(start + BLOCK_SIZE, own.stop))
            ends = edges.target - layer.start, edges.source - source.start
            shape = layer.num_nodes, source.num_nodes
            matrix = sparse.csr_array((edges.weight.astype(np.float64), ends), shape=shape)
            total += matrix @ values[source.start : source.stop]
    return total


def _combined(layer: NodeLayer, arguments: Sequence[np.ndarray]) -> np.ndarray:
    if layer.kind == "product":
        return arguments[0] * arguments[1]
    if layer.kind == "choice":
        return np.where(arguments[0] > 0.5, arguments[1], arguments[2])
    if layer.function is not None:
        return layer.function(torch.from_numpy(arguments[0])).double().numpy()
    return arguments[0]


def _aggregated(
    graph: NetworkGraph | EdgeFile,
    ranges: Sequence[EdgeRange],
    layer: NodeLayer,
    values: np.ndarray,
) -> np.ndarray:
    """Extremes, deviations and norms of what arrives."""
    parts = [graph.edges(own.start, own.stop) for own in ranges]
    source, target, weight = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("source", "target", "weight")
    )
    order = np.argsort(target, kind="stable")
    targets, starts = np.unique(target[order], return_index=True)
    assert len(targets) == layer.num_nodes
    messages = (values[source] * weight[:, None].astype(np.float64))[order]
    counts = np.diff(starts, append=len(order))[:, None]

    def each(reduced: np.ndarray) -> np.ndarray:
        return np.repeat(reduced, counts[:, 0], axis=0)

    def mean(array: np.ndarray) -> np.ndarray:
        return np.add.reduceat(array, starts, axis=0) / counts

    if layer.kind in ("maximum", "minimum"):
        return getattr(np, layer.kind).reduceat(messages, starts, axis=0)
    if layer.kind == "log_sum_exp":
        largest = np.maximum.reduceat(messages, starts, axis=0)
        return largest + np.log(np.add.reduceat(np.exp(messages - each(largest)), starts, axis=0))
    if layer.kind == "vector_norm":
        return _vector_norm(messages, starts, layer.setting)
    if layer.kind == "inverse_root_mean_square":
        return 1 / np.sqrt(mean(messages**2) + layer.setting)
    variance = mean((messages - each(mean(messages))) ** 2)
    if layer.kind == "inverse_deviation":
        return 1 / np.sqrt(variance + layer.setting)
    variance = variance * counts / (counts - layer.setting)
    return np.sqrt(variance) if layer.kind == "deviation" else variance


def _vector_norm(messages: np.ndarray, starts: np.ndarray, order: float) -> np.ndarray:
    if np.isinf(order):
        extreme = np.maximum if order > 0 else np.minimum
        return extreme.reduceat(np.abs(messages), starts, axis=0)
    return np.add.reduceat(np.abs(messages) ** order, starts, axis=0) ** (1 / order)
