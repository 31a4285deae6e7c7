"""Rules of operations on the places of channels: pooling, resizing, reshapes, parts, joins."""

import math
import operator
from collections.abc import Callable
from functools import partial

import torch
from torch.fx import Node

from nn_graphs.graphs.builder.operations import Add, Concatenate, Flatten, Pass, Resize, Take
from nn_graphs.graphs.parts.steps import Reshape, Step
from nn_graphs.graphs.tracing.layers import arguments
from nn_graphs.graphs.tracing.moving import moved
from nn_graphs.graphs.tracing.tracer import Rule, Tracer

aten = torch.ops.aten


def step(node: Node, *, is_odd: bool = True) -> Step:
    """The operation of a node, as a step."""
    return Step(str(node.target), _frozen(node.args[1:]), dict(node.kwargs), is_odd=is_odd)


def pooling(num_axes: int, *, is_odd: bool = True) -> Rule:
    """Pooling or resizing of as many axes of places."""

    def rule(tracer: Tracer, node: Node) -> int:
        number = tracer.number(node.args[0], node)
        tracer.check_axis(node.args[0], -1 - num_axes, node)
        return tracer.emit(Pass(number, step(node, is_odd=is_odd), -1 - num_axes))

    return rule


def reduction(tracer: Tracer, node: Node, *, is_odd: bool = True) -> int:
    """The mean, sum or maximum over places."""
    source, given = node.args[0], arguments(node)
    number, num_axes = tracer.number(source, node), source.meta["val"].ndim
    axes = given.get("dim")
    axes = list(range(num_axes)) if axes in (None, []) else axes
    axes = {axis % num_axes for axis in ([axes] if isinstance(axes, int) else axes)}
    channels = tracer.axis(source) + num_axes
    if 0 in axes or channels in axes:
        raise tracer.unknown(node, f"{node.target} goes over points or channels, not over places.")
    behind = sum(axis > channels for axis in axes)
    axis = tracer.axis(source) + (0 if given.get("keepdim") else behind)
    return tracer.emit(Pass(number, step(node, is_odd=is_odd), axis))


def reshape(tracer: Tracer, node: Node) -> int | None:
    """Another arrangement of the axes; places may become channels."""
    source = node.args[0]
    number = tracer.number(source, node)
    before, after = list(source.meta["val"].shape), list(_shape(node))
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
    if _shape(node) == shape:
        return number
    channels, axis = tracer.axis(source) + len(shape), axis % len(shape)
    start, _, stride = slice(given["start"], given["end"], given["step"]).indices(shape[axis])
    if (axis == channels and stride != 1) or axis == 0 != channels:
        raise tracer.unknown(node, "it takes another slice than neighbouring channels or places.")
    if axis == channels:
        return tracer.emit(Take(number, start, _shape(node)[axis]))
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
    if axis == -len(_shape(node)):
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


def padding(tracer: Tracer, node: Node) -> int:
    source, widths, *rest = node.args
    number, is_zero = tracer.number(source, node), set(rest) <= {"constant", 0, None}
    if _shape(node) == source.meta["val"].shape:
        return number
    place = 2 * (-1 - tracer.axis(source))
    if not any(widths[place : place + 2]):
        is_odd = is_zero or rest[0] != "constant"
        return tracer.emit(Pass(number, step(node, is_odd=is_odd), tracer.axis(source)))
    if not is_zero or widths[place] != 0 or any(widths[:place]) or any(widths[place + 2 :]):
        raise tracer.unknown(node, "it pads otherwise than with zeros behind the channels.")
    return tracer.emit(Resize(number, _shape(node)[tracer.axis(source)]))


def _shape(node: Node) -> torch.Size:
    return node.meta["val"].shape


def _frozen(arguments):
    """Lists as tuples."""
    if isinstance(arguments, list | tuple):
        return tuple(_frozen(argument) for argument in arguments)
    return arguments


max_reduction = partial(reduction, is_odd=False)
PLACES: dict[Callable, Rule] = {
    aten.max_pool1d.default: pooling(1, is_odd=False),
    aten.max_pool2d.default: pooling(2, is_odd=False),
    aten.max_pool3d.default: pooling(3, is_odd=False),
    aten.max_pool2d_with_indices.default: pooling(2, is_odd=False),
    aten.adaptive_max_pool1d.default: pooling(1, is_odd=False),
    aten.adaptive_max_pool2d.default: pooling(2, is_odd=False),
    aten.adaptive_max_pool3d.default: pooling(3, is_odd=False),
    aten.avg_pool1d.default: pooling(1),
    aten.avg_pool2d.default: pooling(2),
    aten.avg_pool3d.default: pooling(3),
    aten.adaptive_avg_pool1d.default: pooling(1),
    aten.adaptive_avg_pool2d.default: pooling(2),
    aten.adaptive_avg_pool3d.default: pooling(3),
    aten.upsample_nearest1d.vec: pooling(1),
    aten.upsample_nearest2d.vec: pooling(2),
    aten.upsample_nearest3d.vec: pooling(3),
    aten.upsample_linear1d.vec: pooling(1),
    aten.upsample_bilinear2d.vec: pooling(2),
    aten.upsample_trilinear3d.vec: pooling(3),
    aten.mean.dim: reduction,
    aten.sum.dim_IntList: reduction,
    aten.amax.default: max_reduction,
    operator.getitem: item,
    aten.constant_pad_nd.default: padding,
    aten.pad.default: padding,
}
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
