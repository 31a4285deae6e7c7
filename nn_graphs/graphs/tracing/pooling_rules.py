"""Rules of operations on the places of channels: pooling, resizing, means, padding."""

from collections.abc import Callable
from functools import partial

import torch
from torch.fx import Node

from nn_graphs.graphs.builder.operations import Pass, Resize
from nn_graphs.graphs.parts.steps import Step
from nn_graphs.graphs.tracing.tracer import Rule, Tracer, arguments

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


def padding(tracer: Tracer, node: Node) -> int:
    source, widths, *rest = node.args
    number, is_zero = tracer.number(source, node), set(rest) <= {"constant", 0, None}
    if shape_of(node) == source.meta["val"].shape:
        return number
    place = 2 * (-1 - tracer.axis(source))
    if not any(widths[place : place + 2]):
        is_odd = is_zero or rest[0] != "constant"
        return tracer.emit(Pass(number, step(node, is_odd=is_odd), tracer.axis(source)))
    if not is_zero or widths[place] != 0 or any(widths[:place]) or any(widths[place + 2 :]):
        raise tracer.unknown(node, "it pads otherwise than with zeros behind the channels.")
    return tracer.emit(Resize(number, shape_of(node)[tracer.axis(source)]))


def shape_of(node: Node) -> torch.Size:
    """Of the value that an operation makes."""
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
    aten.constant_pad_nd.default: padding,
    aten.pad.default: padding,
}
