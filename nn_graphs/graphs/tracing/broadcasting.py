"""Values that meet element by element: their channels on one axis, one channel given to all."""

from collections.abc import Callable

import torch
from torch.fx import Node

from nn_graphs.graphs.builder.operations import Gather, Pass
from nn_graphs.graphs.parts.steps import Step
from nn_graphs.graphs.tracing.tracer import ALIAS, Tracer

Made = Callable[..., int]


def broadcast(tracer: Tracer, node: Node, argument: Node, axis: int, width: int) -> int:
    """A value of one channel as `width` channels on an axis, which all are the same."""
    number, shape = tracer.single(argument), tuple(argument.meta["val"].shape)
    if tracer.parameter(argument) is not None:  # which `on_axis` has given all axes it needs
        shape = (1,) * (-axis - len(shape)) + shape
    for _ in range(-axis - len(shape)):
        number = tracer.emit(Pass(number, Step("aten.unsqueeze.default", (0,)), axis))
        shape = (1, *shape)
    if shape[axis] != 1:
        raise tracer.unknown(node, "it takes places of one value for channels of another.")
    if tracer.written.axes[number] != axis:
        number = tracer.emit(Pass(number, ALIAS, axis))
    return number if width == 1 else tracer.emit(Gather(number, (0,) * width))


def are_plain(tracer: Tracer, *arguments: Node) -> bool:
    """Whether all are values on one axis, of one channel, or parameters."""
    return all(
        tracer.is_value(a) or tracer.single(a) is not None or tracer.parameter(a) is not None
        for a in arguments
    )


def met(tracer: Tracer, node: Node, arguments: tuple[Node, ...], make: Made) -> int | None:
    """What an operation makes of values that meet element by element.

    `make` takes the numbers of the values, all of one width, and gives the number of the result.
    """
    wide = [a for a in arguments if tracer.is_value(a) and tracer.single(a) is None]
    axis = tracer.axis(wide[0]) if wide else -1
    for argument in arguments:
        if tracer.parameter(argument) is not None and not tracer.is_value(argument):
            tracer.on_axis(argument, axis, node)
    wide = wide or [a for a in arguments if tracer.single(a) is None]
    if not wide:
        return _of_singles(tracer, node, arguments, make)
    width = tracer.width(tracer.number(wide[0], node))
    numbers = []
    for argument in arguments:
        if tracer.single(argument) is not None:
            numbers.append(broadcast(tracer, node, argument, axis, width))
            continue
        number = tracer.number(argument, node)
        _check(tracer, node, number, axis, width)
        numbers.append(number)
    return make(*numbers)


def _of_singles(tracer: Tracer, node: Node, arguments: tuple[Node, ...], make: Made) -> int | None:
    number = make(*(tracer.single(argument) for argument in arguments))
    shape = node.meta["val"].shape
    for axis in (tracer.axis(argument) for argument in arguments if tracer.is_value(argument)):
        if len(shape) >= -axis and shape[axis] == 1:
            is_there = tracer.written.axes[number] == axis
            return number if is_there else tracer.emit(Pass(number, ALIAS, axis))
    tracer.put_single(node, number)
    return None


def _check(tracer: Tracer, node: Node, number: int, axis: int, width: int) -> None:
    """Two values must have the same channels, on the same axis from behind."""
    own_width, own_axis = tracer.width(number), tracer.written.axes[number]
    if own_width != width:
        raise tracer.unknown(node, f"{node.target} takes {own_width} channels to {width}.")
    if own_axis != axis:
        axes = f"axes {axis} and {own_axis}"
        raise tracer.unknown(node, f"{node.target} takes values with channels on the {axes}.")


def parameter_meets(tracer: Tracer, node: Node, value: Node, parameter: Node) -> bool:
    """Whether a parameter differs between the channels of a value."""
    shape = torch.broadcast_shapes(value.meta["val"].shape, parameter.meta["val"].shape)
    if not tracer.is_value(value):
        return tracer.parameter(parameter).slot.size > 1
    axis, own = tracer.axis(value), parameter.meta["val"].shape
    return len(own) >= -axis and own[axis] == shape[axis] and shape[axis] > 1
