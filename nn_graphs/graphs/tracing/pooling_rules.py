"""Rules of operations on the places of channels: pooling, resizing, means, padding."""

from collections.abc import Callable
from functools import partial

import torch
from torch.fx import Node

from nn_graphs.graphs.builder.operations import Pass, Resize
from nn_graphs.graphs.parts.steps import Step, Unfollowed
from nn_graphs.graphs.tracing.arrangement import Arranged, reduced, varying_axes
from nn_graphs.graphs.tracing.tracer import Rule, Tracer, arguments

aten = torch.ops.aten


def step(node: Node, *, is_odd: bool = True, is_homogeneous: bool = True) -> Step:
    """The operation of a node, as a step; its settings are numbers."""
    if len(node.all_input_nodes) > 1:
        raise ValueError("settings that are values")
    return Step(
        str(node.target),
        _frozen(node.args[1:]),
        dict(node.kwargs),
        is_homogeneous=is_homogeneous,
        is_odd=is_odd,
    )


def pooling(num_axes: int, *, is_odd: bool = True) -> Rule:
    """Pooling or resizing of as many axes of places."""

    def rule(tracer: Tracer, node: Node) -> int:
        number = tracer.on_axis(node.args[0], -1 - num_axes, node)
        return tracer.emit(Pass(number, step(node, is_odd=is_odd), -1 - num_axes))

    return rule


def reduction(
    tracer: Tracer, node: Node, *, is_odd: bool = True, is_homogeneous: bool = True
) -> int | None:
    """The mean, sum or maximum over places."""
    source, axes = node.args[0], reduced_axes(node)
    own = step(node, is_odd=is_odd, is_homogeneous=is_homogeneous)
    if not tracer.is_value(source) and tracer.single(source) is not None:
        tracer.put_single(node, tracer.emit(Pass(tracer.single(source), own, -1)))
        return None
    number, channels = tracer.number(source, node), tracer.axis(source)
    if channels + source.meta["val"].ndim in axes:
        raise tracer.unknown(node, f"{node.target} goes over channels, not over places alone.")
    behind = sum(axis > channels + source.meta["val"].ndim for axis in axes)
    is_kept = arguments(node).get("keepdim")
    return tracer.emit(Pass(number, own, channels + (0 if is_kept else behind)))


def reduced_axes(node: Node) -> set[int]:
    """The axes that a mean or maximum goes over, counted from the front."""
    num_axes, axes = node.args[0].meta["val"].ndim, arguments(node).get("dim")
    axes = list(range(num_axes)) if axes in (None, []) else axes
    return {axis % num_axes for axis in ([axes] if isinstance(axes, int) else axes)}


def padding(tracer: Tracer, node: Node) -> int | None:
    given = arguments(node)
    source, widths = given["self"], given["pad"]
    is_constant = given.get("mode", "constant") == "constant"
    is_zero = is_constant and not given["value"]
    is_linear = is_zero or not is_constant
    own = step(node, is_odd=is_linear, is_homogeneous=is_linear)
    if not tracer.is_value(source) and tracer.single(source) is not None:
        tracer.put_single(node, tracer.emit(Pass(tracer.single(source), own, -1)))
        return None
    if tracer.is_arranged(source):
        return _padded_places(tracer, node, tracer.arrangement(source, node))
    number = tracer.number(source, node)
    if shape_of(node) == source.meta["val"].shape:
        return number
    place = 2 * (-1 - tracer.axis(source))
    if not any(widths[place : place + 2]):
        return tracer.emit(Pass(number, own, tracer.axis(source)))
    if not is_zero or widths[place] != 0 or any(widths[:place]) or any(widths[place + 2 :]):
        raise tracer.unknown(node, "it pads otherwise than with zeros behind the channels.")
    return tracer.emit(Resize(number, shape_of(node)[tracer.axis(source)]))


def _padded_places(tracer: Tracer, node: Node, found: Arranged) -> int | None:
    """Padding along axes on which channels do not differ."""
    shape = tuple(shape_of(node))
    padded = {n for n, size in enumerate(found.shape) if size != shape[n]}
    if padded & {*varying_axes(found.channels)}:
        raise tracer.unknown(node, "it pads along an axis of channels.")
    own = Unfollowed(str(node.target), is_linear=False)
    number = tracer.emit(Pass(found.number, own, tracer.axis_of(found)))
    channels = reduced(found.channels, varying_axes(found.channels)).expand(shape)
    return tracer.put(node, Arranged(number, channels))


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
    aten.upsample_bicubic2d.vec: pooling(2),
    aten.upsample_trilinear3d.vec: pooling(3),
    aten.amax.default: max_reduction,
    aten.amin.default: max_reduction,
    aten.max.dim: max_reduction,
    aten.min.dim: max_reduction,
    aten.constant_pad_nd.default: padding,
    aten.pad.default: padding,
}
