"""Rules of means, variances and norms that go over channels: a neuron that all channels reach.

What they make is one channel; where it meets many again, it is given to each of them.
"""

import math
from collections.abc import Callable, Collection
from functools import partial

import torch
from torch import Tensor
from torch.fx import Node

from nn_graphs.graphs.builder.operations import (
    Add,
    Gather,
    Multiply,
    Pass,
    Scale,
    SumHeads,
    Total,
)
from nn_graphs.graphs.parts.steps import Step, Unfollowed
from nn_graphs.graphs.tracing.arrangement import Arranged, reduced, varying_axes
from nn_graphs.graphs.tracing.pooling_rules import reduced_axes, reduction
from nn_graphs.graphs.tracing.tracer import Rule, Tracer, arguments

aten = torch.ops.aten


def mean(tracer: Tracer, node: Node, *, is_sum: bool = False) -> int | None:
    """The mean or sum over channels, places, or both."""
    if tracer.is_arranged(node.args[0]):
        number, channels, size = _of_heads(tracer, node, tracer.arrangement(node.args[0], node))
        number = number if is_sum else tracer.emit(Scale(number, 1 / size))
        return tracer.put(node, Arranged(number, channels))
    if not _goes_over_channels(tracer, node):
        return reduction(tracer, node)
    axes = reduced_axes(node)
    number = tracer.number(node.args[0], node)
    return _without_axes(tracer, node, _kept_mean(tracer, node, number, axes, is_sum=is_sum), axes)


def variance(tracer: Tracer, node: Node, *, is_root: bool = False) -> int | None:
    """The mean of squared differences from the mean, or its root."""
    if not _goes_over_channels(tracer, node):
        return reduction(tracer, node, is_odd=False, is_homogeneous=is_root)
    source, axes, given = node.args[0], reduced_axes(node), arguments(node)
    shape, number = source.meta["val"].shape, tracer.number(source, node)
    correction = given.get("correction", float(given.get("unbiased", 1)))
    correction = 1 if correction is None else float(correction)
    if correction and len(axes) > 1:
        raise tracer.unknown(node, f"{node.target} corrects for the number of places.")
    own = _kept_mean(tracer, node, number, axes)
    width = tracer.width(number)
    if width > 1:
        own = tracer.emit(Gather(own, (0,) * width))
    centred = tracer.emit(Add(number, tracer.emit(Scale(own, -1.0))))
    squares = tracer.emit(Multiply(centred, centred))
    found = _kept_mean(tracer, node, squares, axes)
    if correction:
        size = shape[next(iter(axes))]
        found = tracer.emit(Scale(found, size / (size - correction)))
    found = _root(tracer, found) if is_root else found
    return _without_axes(tracer, node, found, axes)


def norm(tracer: Tracer, node: Node) -> int | None:
    """The root of the sum of squares, or the sum of absolute values."""
    given = arguments(node)
    order = given.get("ord", given.get("p", 2))
    order = 2.0 if order is None else float(order)
    if tracer.is_arranged(node.args[0]) and order == 2:
        found = tracer.arrangement(node.args[0], node)
        squares = found.with_number(tracer.emit(Multiply(found.number, found.number)))
        number, channels, _ = _of_heads(tracer, node, squares)
        return tracer.put(node, Arranged(_root(tracer, number), channels))
    if not _goes_over_channels(tracer, node):
        return reduction(tracer, node, is_odd=False)
    number, axes = tracer.number(node.args[0], node), reduced_axes(node)
    if order == 2:
        powers = tracer.emit(Multiply(number, number))
    elif order == 1:
        own = Step("aten.abs.default", is_odd=False)
        powers = tracer.emit(Pass(number, own, tracer.written.axes[number]))
    else:
        raise tracer.unknown(node, f"{node.target} takes the norm of order {order} over channels.")
    found = _kept_mean(tracer, node, powers, axes, is_sum=True)
    found = _root(tracer, found) if order == 2 else found
    return _without_axes(tracer, node, found, axes)


def _of_heads(tracer: Tracer, node: Node, found: Arranged) -> tuple[int, Tensor, int]:
    """The sum over channels of each head, or over places of each channel.

    Returns:
        The number of the sum, its channels, and how many channels it went over; of places the graph
        tells by name alone, means and sums alike.
    """
    axes, varying = reduced_axes(node), varying_axes(found.channels)
    inside = [axis for axis in varying if axis in axes]
    outside = [axis for axis in varying if axis not in axes]
    places = [axis for axis in range(found.channels.ndim) if axis not in varying]
    small = reduced(found.channels, varying)
    sizes = [small.shape[axis] for axis in outside]
    rows = small.permute(*outside, *inside, *places).reshape(math.prod(sizes), -1)
    if rows.unique().numel() != rows.numel():
        raise tracer.unknown(node, "it goes over channels of heads that overlap.")
    number = tracer.written.gathered(found.number, tuple(rows.flatten().tolist()))
    if axes - {*inside}:
        number = tracer.emit(Pass(number, Unfollowed(str(node.target)), -1))
    if inside:
        number = tracer.emit(SumHeads(number, len(rows)))
    shape = [small.shape[axis] if axis in outside else 1 for axis in range(small.ndim)]
    channels = torch.arange(len(rows)).view(shape)
    if not arguments(node).get("keepdim"):
        channels = channels.squeeze(tuple(axes))
    return number, channels.expand(node.meta["val"].shape), rows.shape[1]


def _goes_over_channels(tracer: Tracer, node: Node) -> bool:
    """Whether channels are among what it goes over; those of a parameter lie on the last axis."""
    source = node.args[0]
    if not tracer.is_value(source) and tracer.parameter(source) is not None:
        tracer.number(source, node)
    elif not tracer.is_value(source):
        return False
    return tracer.axis(source) + source.meta["val"].ndim in reduced_axes(node)


def _kept_mean(
    tracer: Tracer, node: Node, number: int, axes: Collection[int], *, is_sum: bool = False
) -> int:
    """The mean or sum over some axes, which keep the size 1."""
    num_axes, axis = node.args[0].meta["val"].ndim, tracer.written.axes[number]
    places = tuple(sorted(own - num_axes for own in axes if own != axis + num_axes))
    if places:
        name = "aten.sum.dim_IntList" if is_sum else "aten.mean.dim"
        number = tracer.emit(Pass(number, Step(name, (places, True)), axis))
    width = tracer.width(number)
    number = tracer.emit(Total(number))
    return number if is_sum else tracer.emit(Scale(number, 1 / width))


def _root(tracer: Tracer, number: int) -> int:
    own = Step("aten.sqrt.default", is_homogeneous=False, is_odd=False)
    return tracer.emit(Pass(number, own, tracer.written.axes[number]))


def _without_axes(tracer: Tracer, node: Node, number: int, axes: Collection[int]) -> int | None:
    """The value without the axes that it went over, where the operation drops them."""
    if arguments(node).get("keepdim"):
        return number
    num_axes = node.args[0].meta["val"].ndim
    own = Step("aten.squeeze.dims", (tuple(sorted(axis - num_axes for axis in axes)),))
    tracer.put_single(node, tracer.emit(Pass(number, own, -1)))
    return None


STATISTICS: dict[Callable, Rule] = {
    aten.mean.dim: mean,
    aten.mean.default: mean,
    aten.sum.dim_IntList: partial(mean, is_sum=True),
    aten.sum.default: partial(mean, is_sum=True),
    aten.var.correction: variance,
    aten.var.dim: variance,
    aten.std.correction: partial(variance, is_root=True),
    aten.std.dim: partial(variance, is_root=True),
    aten.linalg_vector_norm.default: norm,
    aten.norm.ScalarOpt_dim: norm,
}
