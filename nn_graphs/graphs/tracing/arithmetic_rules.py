"""Rules of sums and products, with numbers, values, constants and parameters; masks."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import Node

from nn_graphs.graphs.builder.operations import (
    Add,
    AddBias,
    Combine,
    Modulate,
    Multiply,
    Pass,
    Scale,
    ScaleChannels,
    Shift,
)
from nn_graphs.graphs.parts.steps import Unfollowed
from nn_graphs.graphs.tracing.arrangement import (
    Arranged,
    ArrangedParameter,
    distinct,
    neighbours_on_axis,
    ordered_unique,
    reduced,
    varying_axes,
)
from nn_graphs.graphs.tracing.tracer import Rule, Tracer

aten = torch.ops.aten
SYMMETRIC = (aten.add.Tensor, aten.mul.Tensor)


def signed_sum(sign: float) -> Rule:
    """`a + sign * alpha * b`, where b may be a number."""

    def rule(tracer: Tracer, node: Node) -> int:
        left, right = node.args
        factor = sign * float(node.kwargs.get("alpha", 1))
        if not tracer.is_value(right):
            constant = factor * tracer.scalar(right, node)
            return tracer.emit(Shift(tracer.number(left, node), constant))
        if tracer.is_value(left):
            _check_widths(tracer, node, left, right, verb="adds")
        number = tracer.number(right, node)
        addend = number if factor == 1 else tracer.emit(Scale(number, factor))
        if not tracer.is_value(left):
            return tracer.emit(Shift(addend, tracer.scalar(left, node)))
        return tracer.emit(Add(tracer.number(left, node), addend))

    return rule


def reversed_difference(tracer: Tracer, node: Node) -> int:
    """`b - a` for a number b."""
    source, constant = node.args
    negative = tracer.emit(Scale(tracer.number(source, node), -1.0))
    return tracer.emit(Shift(negative, tracer.scalar(constant, node)))


def product(tracer: Tracer, node: Node) -> int:
    value, factor = sorted(node.args, key=tracer.is_value, reverse=True)
    if tracer.is_value(factor):
        _check_widths(tracer, node, value, factor, verb="multiplies")
        return tracer.emit(Multiply(tracer.number(value, node), tracer.number(factor, node)))
    return tracer.emit(Scale(tracer.number(value, node), tracer.scalar(factor, node)))


def square(tracer: Tracer, node: Node) -> int:
    source, exponent = node.args
    if exponent != 2:
        raise tracer.unknown(node, f"it takes the power {exponent}, not 2.")
    number = tracer.number(source, node)
    return tracer.emit(Multiply(number, number))


def quotient(tracer: Tracer, node: Node) -> int:
    value, divisor = node.args
    if tracer.is_value(divisor):
        raise tracer.unknown(node, "it divides by a value of the network.")
    return tracer.emit(Scale(tracer.number(value, node), 1 / tracer.scalar(divisor, node)))


def negative(tracer: Tracer, node: Node) -> int:
    return tracer.emit(Scale(tracer.number(node.args[0], node), -1.0))


def _check_widths(tracer: Tracer, node: Node, left: Node, right: Node, *, verb: str) -> None:
    """Two values must have the same channels, on the same axis from behind."""
    mine, theirs = tracer.num_channels(left), tracer.num_channels(right)
    if mine != theirs:
        raise tracer.unknown(node, f"it {verb} {theirs} channels to {mine}.")
    if tracer.axis(left) != tracer.axis(right):
        axes = f"axes {tracer.axis(left)} and {tracer.axis(right)}"
        raise tracer.unknown(node, f"it {verb} values whose channels lie on the {axes}.")


ARITHMETIC: dict[Callable, Rule] = {
    aten.add.Tensor: signed_sum(1.0),
    aten.sub.Tensor: signed_sum(-1.0),
    aten.rsub.Scalar: reversed_difference,
    aten.mul.Tensor: product,
    aten.mul.Scalar: product,
    aten.pow.Tensor_Scalar: square,
    aten.div.Tensor: quotient,
    aten.neg.default: negative,
}


def with_constants(tracer: Tracer, node: Node, value: Arranged, constant) -> Arranged:
    """A sum or product with a constant tensor, or with data that is the same for all channels."""
    shape = tuple(node.meta["val"].shape)
    if node.target is aten.scaled_dot_product_attention.default:
        shape = value.shape
    channels = value.channels.expand(shape)
    axes = varying_axes(channels)
    tensor = tracer.known(constant)
    if tensor is None and tracer.is_data(constant):
        own = constant.meta["val"].shape
        padded = (1,) * (len(shape) - len(own)) + tuple(own)
        if any(padded[axis] != 1 for axis in axes):
            raise tracer.unknown(node, f"{node.target} takes data that differ between channels.")
        tensor = torch.zeros(())
    if tensor is None:
        raise tracer.unknown(node, f"{node.target} takes {constant}, which is no constant.")
    tensor = torch.as_tensor(tensor).expand(shape)
    if not {*varying_axes(tensor)} & {*axes}:
        step = Unfollowed(str(node.target), is_linear=False)
        number = tracer.emit(Pass(value.number, step, tracer.axis_of(value)))
        return Arranged(number, channels)
    others = [axis for axis in range(len(shape)) if axis not in axes]
    patterns = tensor.permute(*axes, *others).reshape(math.prod(shape[a] for a in axes), -1)
    _, pattern = ordered_unique(patterns)
    small = reduced(channels, axes)
    rows, which = ordered_unique(torch.stack([small.flatten(), pattern], dim=1))
    number = tracer.written.gathered(value.number, tuple(rows[:, 0].tolist()))
    number = tracer.emit(Modulate(number, tuple(rows[:, 1].tolist())))
    return Arranged(number, which.view(small.shape).expand(shape))


def _with_parameter(
    tracer: Tracer, node: Node, value: Node, parameter: ArrangedParameter, *, is_product: bool
) -> int | None:
    """A sum or product with a parameter: one number a channel, or a row for every place."""
    shape = tuple(node.meta["val"].shape)
    found = tracer.arrangement(value, node)
    elements = parameter.elements.expand(shape)
    if not varying_axes(elements) and parameter.slot.size == 1:
        found = f"{node.target} takes {parameter.slot.name}, one trained number for all channels."
        raise tracer.unknown(node, found)
    if not tracer.is_value(value):
        found = tracer.in_order(found, node)
    channels = found.channels.expand(shape)
    width, first = int(channels.max()) + 1, int(elements.min())
    if torch.equal(elements - first, channels):
        slot = parameter.slot.part(first, (width,))
        made = ScaleChannels(found.number, slot) if is_product else AddBias(found.number, slot)
        return tracer.put_same(node, value, Arranged(tracer.emit(made), channels))
    if neighbours_on_axis(channels) is None:
        raise tracer.unknown(node, f"{node.target} takes {parameter.slot.name} for several heads.")
    table = tracer.table(elements, channels, parameter, node)
    made = Multiply(found.number, table) if is_product else Add(found.number, table)
    return tracer.put_same(node, value, Arranged(tracer.emit(made), channels))


def element_by_element(rule: Rule, *, is_product: bool) -> Rule:
    """A rule of a sum or a product of two, for constants, parameters and arranged values too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        left, right = node.args[:2]
        sides = (left, right), (right, left)
        is_sum_of_both = node.kwargs.get("alpha", 1) == 1 and node.target in SYMMETRIC
        for value, other in sides if is_sum_of_both else ():
            parameter = tracer.parameter(other)
            if parameter is not None and tracer.is_node_value(value):
                return _with_parameter(tracer, node, value, parameter, is_product=is_product)
        is_quotient = node.target is aten.div.Tensor
        for value, other in sides[:1] if is_quotient else sides:
            constant = tracer.known(other)
            is_tensor = isinstance(constant, Tensor) and constant.numel() > 1
            if is_tensor or tracer.is_data(other):
                found = with_constants(tracer, node, tracer.arrangement(value, node), other)
                return tracer.put_same(node, value, found)
        are_values = all(map(tracer.is_node_value, (left, right))) and not is_quotient
        if are_values and any(map(tracer.arranged, (left, right))):
            return _of_arranged(tracer, node, is_product=is_product)
        if tracer.arranged(left):
            with tracer.taken_as(left, tracer.arrangement(left, node).number):
                number = rule(tracer, node)
            return tracer.put(node, Arranged(number, tracer.arrangement(left, node).channels))
        return rule(tracer, node)

    return either


def _of_arranged(tracer: Tracer, node: Node, *, is_product: bool) -> int | None:
    """The sum or product of two values, element by element."""
    shape = tuple(node.meta["val"].shape)
    left, right = (tracer.arrangement(side, node) for side in node.args[:2])
    mine, theirs = left.channels.expand(shape), right.channels.expand(shape)
    if is_product:
        return tracer.put(node, paired(tracer, left, right, mine, theirs))
    if node.target is not aten.add.Tensor or node.kwargs.get("alpha", 1) != 1:
        right = Arranged(tracer.emit(Scale(right.number, -1.0)), theirs)
    pairs, which = distinct(mine, theirs)
    numbers = [
        tracer.written.gathered(own.number, tuple(pair[side] for pair in pairs))
        for side, own in enumerate((left, right))
    ]
    return tracer.put(node, Arranged(tracer.emit(Add(*numbers)), which))


def masked(tracer: Tracer, node: Node) -> int | None:
    """`masked_fill` with a number: the same places of all channels are overwritten."""
    source, mask = node.args[:2]
    found = with_constants(tracer, node, tracer.arrangement(source, node), mask)
    return tracer.put_same(node, source, found)


def chosen(tracer: Tracer, node: Node) -> int | None:
    """`where(mask, value, constant)`, in either order."""
    mask, *sides = node.args
    values = [side for side in sides if tracer.is_node_value(side)]
    if len(values) != 1 or tracer.is_node_value(mask):
        raise tracer.unknown(node, "it chooses between values.")
    found = with_constants(tracer, node, tracer.arrangement(values[0], node), mask)
    return tracer.put_same(node, values[0], found)


def paired(
    tracer: Tracer, left: Arranged, right: Arranged, mine: Tensor, theirs: Tensor
) -> Arranged:
    """One new channel for each pair of channels that meet in an element."""
    pairs, which = distinct(mine, theirs)
    channels, others = (tuple((pair[side],) for pair in pairs) for side in (0, 1))
    number = tracer.emit(Combine(left.number, right.number, channels, others, is_match=False))
    return Arranged(number, which)


MASKS: dict[Callable, Rule] = {
    aten.masked_fill.Scalar: masked,
    aten.where.self: chosen,
    aten.where.ScalarOther: chosen,
    aten.where.ScalarSelf: chosen,
}
