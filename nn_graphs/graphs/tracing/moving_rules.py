"""Rules of operations that move elements: reshapes, permutations, parts, joins.

Where no single axis holds the channels of a value, and for parameters that are moved, what only
moves elements moves the tensor that says which channel each of them is.
"""

import math
from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch.fx import Node

from nn_graphs.graphs.builder.operations import Add, Concatenate, Flatten, Pass, Take
from nn_graphs.graphs.parts.steps import Reshape, Step
from nn_graphs.graphs.tracing.arrangement import Arranged, ArrangedParameter, along_axis
from nn_graphs.graphs.tracing.pooling_rules import shape_of, step
from nn_graphs.graphs.tracing.tracer import Rule, Tracer, arguments

aten = torch.ops.aten
RESHAPES = (aten.view.default, aten._unsafe_view.default)  # of what need not be contiguous here


def reshape(tracer: Tracer, node: Node) -> int | None:
    """Another arrangement of the axes; places may become channels."""
    source = node.args[0]
    number = tracer.number(source, node)
    before, after = list(source.meta["val"].shape), list(shape_of(node))
    if before == after:
        return number
    channels = tracer.axis(source) + len(before)
    front = math.prod(before[:channels])
    first = min(channels, 1)  # the axis of the points stays in front
    axes = [n for n in range(first, len(after)) if math.prod(after[:n]) == front]
    for axis in axes:
        repeat, rest = divmod(after[axis], max(before[channels], 1))
        if rest or not repeat:
            continue
        shape = [-1 if n == 0 and axis != 0 else size for n, size in enumerate(after)]
        form = Reshape(tuple(shape), tracer.axis(source), axis, repeat)
        kind = Pass if repeat == 1 else Flatten
        return tracer.emit(kind(number, form, axis - len(after)))
    return moved(tracer, node)  # channels on several axes


TRANSPOSES = (aten.transpose.int, aten.mT.default, aten.t.default)


def permute(tracer: Tracer, node: Node) -> int | None:
    source, order = node.args[0], node.args[1:]
    number, num_axes = tracer.number(source, node), source.meta["val"].ndim
    places = list(range(num_axes))
    if node.target in TRANSPOSES:
        first, second = (axis % num_axes for axis in order or (-2, -1))
        places[first], places[second] = second, first
    else:
        places = [axis % num_axes for axis in order[0]]
    if places[0] != 0:
        return moved(tracer, node)
    axis = places.index(tracer.axis(source) + num_axes) - num_axes
    return tracer.emit(Pass(number, Step("aten.permute.default", (tuple(places),)), axis))


def part(tracer: Tracer, node: Node) -> int:
    """`x[..., start:end:step]` on one axis."""
    given = arguments(node)
    source, axis = given["self"], given["dim"]
    number, shape = tracer.number(source, node), source.meta["val"].shape
    if shape_of(node) == shape:
        return number
    channels, axis = tracer.axis(source) + len(shape), axis % len(shape)
    start, _, stride = slice(given["start"], given["end"], given["step"]).indices(shape[axis])
    if (axis == channels and stride != 1) or axis == 0 != channels:
        raise tracer.unknown(node, "it takes another slice than neighbouring channels or places.")
    if axis == channels:
        return tracer.emit(Take(number, start, shape_of(node)[axis]))
    return tracer.emit(Pass(number, step(node), tracer.axis(source)))


def select(tracer: Tracer, node: Node) -> int:
    """`x[:, i]`: one place."""
    source, axis, _ = node.args
    number, num_axes = tracer.number(source, node), source.meta["val"].ndim
    channels = tracer.axis(source) + num_axes
    if axis % num_axes in (0, channels):
        raise tracer.unknown(node, f"{node.target} takes one point or channel alone.")
    behind = axis % num_axes > channels
    return tracer.emit(Pass(number, step(node), tracer.axis(source) + behind))


def parts(tracer: Tracer, node: Node) -> None:
    """Neighbouring parts of one axis, each a value of its own."""
    given = arguments(node)
    source, axis = given["self"], given["dim"]
    number, shape = tracer.number(source, node), source.meta["val"].shape
    tracer.check_axis(source, axis % len(shape) - len(shape), node)
    widths = [value.shape[axis] for value in node.meta["val"]]
    starts = [sum(widths[:count]) for count in range(len(widths))]
    tracer.parts[node] = [
        tracer.emit(Take(number, start, width)) for start, width in zip(starts, widths, strict=True)
    ]


def item(tracer: Tracer, node: Node) -> int | None:
    """One of several results."""
    source, index = node.args
    if source in tracer.parts:
        return tracer.parts[source][index]
    if index != 0 and not node.users:
        return None
    if index != 0:
        raise tracer.unknown(node, f"it takes result {index} of {source.target}.")
    return tracer.number(source, node)


def concatenation(tracer: Tracer, node: Node) -> int:
    """Channels behind channels, or places behind places."""
    values, *rest = node.args
    axis = rest[0] if rest else node.kwargs.get("dim", 0)
    numbers = [tracer.number(value, node) for value in values]
    num_axes = values[0].meta["val"].ndim
    axis = axis % num_axes - num_axes
    for value in values:
        tracer.check_axis(value, tracer.axis(values[0]), node)
    if axis == tracer.axis(values[0]):
        return tracer.emit(Concatenate(tuple(numbers)))
    return _joined_places(tracer, node, numbers, [v.meta["val"].shape[axis] for v in values], axis)


def _joined_places(
    tracer: Tracer, node: Node, numbers: list[int], widths: list[int], axis: int
) -> int:
    """Places behind places: the sum of the values, each with zeros in the others' places."""
    if axis == -len(shape_of(node)):
        raise tracer.unknown(node, "it joins points, not channels or places.")
    total, channels = None, tracer.axis(node.args[0][0])
    for count, number in enumerate(numbers):
        margins = (sum(widths[:count]), sum(widths[count + 1 :]))
        padding = (*(0, 0) * (-1 - axis), *margins)
        padded = tracer.emit(
            Pass(number, Step("aten.constant_pad_nd.default", (padding, 0.0)), channels)
        )
        total = padded if total is None else tracer.emit(Add(total, padded))
    return total


SHAPES: dict[Callable, Rule] = {
    aten.view.default: reshape,
    aten.reshape.default: reshape,
    aten.flatten.using_ints: reshape,
    aten.unflatten.int: reshape,
    aten.squeeze.default: reshape,
    aten.squeeze.dim: reshape,
    aten.squeeze.dims: reshape,
    aten.unsqueeze.default: reshape,
    aten._unsafe_view.default: reshape,
    aten.permute.default: permute,
    aten.transpose.int: permute,
    aten.mT.default: permute,
    aten.t.default: permute,
    aten.slice.Tensor: part,
    aten.select.int: select,
    aten.split.Tensor: parts,
    aten.split_with_sizes.default: parts,
    aten.chunk.default: parts,
}
JOINS: dict[Callable, Rule] = {
    aten.cat.default: concatenation,
    aten.stack.default: concatenation,
}


def moved(tracer: Tracer, node: Node) -> int | None:
    """The same operation, on the tensor of channels."""
    source = node.args[0]
    found = tracer.arranged(source) or tracer.parameter(source)
    found = tracer.arrangement(source, node) if found is None else found
    operation = aten.reshape.default if node.target in RESHAPES else node.target
    result = operation(found.ids, *node.args[1:], **node.kwargs)
    if isinstance(result, torch.Tensor):
        return tracer.put(node, found.with_channels(result))
    tracer.parts[node] = [found.with_channels(part) for part in result]
    return None


def moving(rule: Rule) -> Rule:
    """A rule of an operation that only moves elements, for arranged values and parameters too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        source = node.args[0]
        is_plain = tracer.is_value(source)
        return rule(tracer, node) if is_plain else moved(tracer, node)

    return either


def joined(rule: Rule) -> Rule:
    """A rule of `cat` and `stack`, for arranged values and parameters too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        values = node.args[0]
        plain = next((value for value in values if tracer.is_value(value)), None)
        if plain is not None and any(map(tracer.parameter, values)):
            with ExitStack() as stack:
                for value in values:
                    _take_as_rows(stack, tracer, node, value, tracer.axis(plain))
                return rule(tracer, node)
        is_stack = node.target is aten.stack.default
        if not is_stack and not any(tracer.arranged(value) for value in values):
            return rule(tracer, node)
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        arranged = [tracer.arrangement(value, node) for value in values]
        number = tracer.emit(Concatenate(tuple(own.number for own in arranged)))
        starts = [sum(map(tracer.width, (own.number for own in arranged[:n]))) for n in range(99)]
        channels = [own.channels + start for own, start in zip(arranged, starts, strict=False)]
        return tracer.put(node, Arranged(number, node.target(channels, axis)))

    return either


def _take_as_rows(stack: ExitStack, tracer: Tracer, node: Node, value: Node, axis: int) -> None:
    """A parameter that joins values, as a class token does, becomes a value itself."""
    parameter = tracer.parameter(value)
    if parameter is not None:
        shape = tuple(parameter.elements.shape)
        channels = along_axis(shape[axis], axis, shape)
        number = tracer.table(parameter.elements, channels, parameter, node)
        stack.enter_context(tracer.taken_as(value, number))


def item_of_parts(rule: Rule) -> Rule:
    """A rule of `getitem`, for arranged parts too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        source, index = node.args
        part = tracer.parts[source][index] if source in tracer.parts else None
        if isinstance(part, Arranged | ArrangedParameter):
            return tracer.put(node, part)
        return rule(tracer, node)

    return either


MOVES: dict[Callable, Rule] = {
    aten.expand.default: moved,
    aten.repeat.default: moved,
    aten.repeat_interleave.self_int: moved,
    aten.movedim.int: moved,
    aten.flip.default: moved,
    aten.index_select.default: moved,
}
