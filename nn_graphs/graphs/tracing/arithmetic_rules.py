"""Rules of sums and products, with numbers, values, constants and parameters; masks."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import Node

from nn_graphs.graphs.builder.operations import (
    Activate,
    Add,
    AddBias,
    Choose,
    Combine,
    Modulate,
    Multiply,
    Pass,
    Scale,
    ScaleChannels,
    Share,
    Shift,
)
from nn_graphs.graphs.parts.steps import Step, Unfollowed
from nn_graphs.graphs.tracing.arrangement import (
    Arranged,
    ArrangedParameter,
    distinct,
    neighbours_on_axis,
    ordered_unique,
    reduced,
    varying_axes,
)
from nn_graphs.graphs.tracing.broadcasting import Made, are_plain, met, parameter_meets
from nn_graphs.graphs.tracing.tracer import Rule, Tracer
from nn_graphs.networks.activations import Activation

aten = torch.ops.aten
SYMMETRIC = (aten.add.Tensor, aten.mul.Tensor)


def total(tracer: Tracer, node: Node) -> Made:
    """`left + right`, or minus, `alpha` times."""
    factor = float(node.kwargs.get("alpha", 1)) * (-1 if node.target in DIFFERENCES else 1)

    def make(left: int, right: int) -> int:
        addend = right if factor == 1 else tracer.emit(Scale(right, factor))
        return tracer.emit(Add(left, addend))

    return make


def product(tracer: Tracer, node: Node) -> Made:
    return lambda left, right: tracer.emit(Multiply(left, right))


def quotient(tracer: Tracer, node: Node) -> Made:
    def make(left: int, right: int) -> int:
        return tracer.emit(Multiply(left, _reciprocal(tracer, right)))

    return make


def _reciprocal(tracer: Tracer, number: int) -> int:
    own = Step("aten.reciprocal.default", is_homogeneous=False)
    return tracer.emit(Pass(number, own, tracer.written.axes[number]))


def larger(tracer: Tracer, node: Node) -> Made:
    """`max(a, b) = b + relu(a - b)`, `min(a, b) = a - relu(a - b)`."""

    def make(left: int, right: int) -> int:
        difference = tracer.emit(Add(left, tracer.emit(Scale(right, -1.0))))
        more = tracer.emit(Activate(difference, Activation("relu")))
        if node.target is aten.maximum.default:
            return tracer.emit(Add(right, more))
        return tracer.emit(Add(left, tracer.emit(Scale(more, -1.0))))

    return make


def compared(tracer: Tracer, node: Node) -> Made:
    """Two values, by the sign of their difference."""
    name = str(node.target).removesuffix(".Tensor") + ".Scalar"

    def make(left: int, right: int) -> int:
        difference = tracer.emit(Add(left, tracer.emit(Scale(right, -1.0))))
        own = Step(name, (0,), is_homogeneous=False, is_odd=False)
        return tracer.emit(Pass(difference, own, tracer.written.axes[left]))

    return make


def _with_number(tracer: Tracer, node: Node, value: Node, constant: float) -> int | None:
    """A sum or product with a number."""
    number = tracer.number_of(value, node)
    is_left = value is node.args[0]
    factor = float(node.kwargs.get("alpha", 1)) if len(node.args) < 3 else float(node.args[2])
    if node.target in PRODUCTS:
        number = tracer.emit(Scale(number, constant))
    elif node.target in QUOTIENTS and is_left:
        number = tracer.emit(Scale(number, 1 / constant))
    elif node.target in QUOTIENTS:
        number = tracer.emit(Scale(_reciprocal(tracer, number), constant))
    elif node.target in BOUNDS:
        own = Step(BOUNDS[node.target], (constant,), {}, not constant, is_odd=False)
        number = tracer.emit(Pass(number, own, tracer.written.axes[number]))
    elif node.target in SUMS or node.target in DIFFERENCES or node.target is aten.rsub.Scalar:
        sign = 1.0 if node.target in SUMS else -1.0
        if node.target is aten.rsub.Scalar:  # constant - alpha * value
            scale, shift = -factor, constant
        elif is_left:
            scale, shift = 1.0, sign * factor * constant
        else:
            scale, shift = sign * factor, constant
        number = number if scale == 1 else tracer.emit(Scale(number, scale))
        number = tracer.emit(Shift(number, shift))
    else:
        raise tracer.unknown(node, f"{node.target} takes the number {constant}.")
    return tracer.put_like(node, value, number)


def negative(tracer: Tracer, node: Node) -> int:
    return tracer.emit(Scale(tracer.number(node.args[0], node), -1.0))


SUMS = (aten.add.Tensor, aten.add.Scalar)
DIFFERENCES = (aten.sub.Tensor, aten.sub.Scalar)
PRODUCTS = (aten.mul.Tensor, aten.mul.Scalar)
QUOTIENTS = (aten.div.Tensor, aten.div.Scalar)
MEETING: dict[Callable, Callable[[Tracer, Node], Made]] = {
    aten.add.Tensor: total,
    aten.sub.Tensor: total,
    aten.mul.Tensor: product,
    aten.div.Tensor: quotient,
    aten.maximum.default: larger,
    aten.minimum.default: larger,
    **dict.fromkeys(
        (
            *(aten.gt.Tensor, aten.ge.Tensor, aten.lt.Tensor, aten.le.Tensor),
            *(aten.eq.Tensor, aten.ne.Tensor),
        ),
        compared,
    ),
}
BOUNDS = {
    aten.maximum.default: "aten.clamp_min.default",
    aten.minimum.default: "aten.clamp_max.default",
}
WITH_NUMBERS = (*SUMS, *DIFFERENCES, *PRODUCTS, *QUOTIENTS, aten.rsub.Scalar)


def with_constants(tracer: Tracer, node: Node, value: Arranged, constant) -> Arranged:
    """A sum or product with a constant tensor, or with data that is the same for all channels."""
    shape = tuple(node.meta["val"].shape)
    if node.target is aten.scaled_dot_product_attention.default:
        shape = value.shape
    channels = value.channels.expand(shape)
    axes = varying_axes(channels)
    tensor = tracer.known(constant)
    if tensor is None and tracer.is_data(constant):
        is_alike = not {*varying_axes(tracer.elements(constant).expand(shape))} & {*axes}
        sizes = [size if axis in axes else 1 for axis, size in enumerate(shape)]
        tensor = torch.zeros(()) if is_alike else torch.arange(math.prod(sizes)).view(sizes)
    if tensor is None:
        raise tracer.unknown(node, f"{node.target} takes {constant}, which is no constant.")
    tensor = torch.as_tensor(tensor).expand(shape)
    if not {*varying_axes(tensor)} & {*axes}:
        step = Unfollowed(str(node.target), is_linear=False)
        number = tracer.emit(Pass(value.number, step, tracer.axis_of(value)))
        return Arranged(number, channels)
    others = [axis for axis in range(len(shape)) if axis not in axes]
    tensor = reduced(tensor, sorted({*axes, *varying_axes(tensor)}))
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
    if not tracer.is_value(value):
        found = tracer.in_order(found, node)
    found = with_parameter(tracer, node, found, parameter, shape, is_product=is_product)
    return tracer.put_same(node, value, found)


def with_parameter(
    tracer: Tracer,
    node: Node,
    found: Arranged,
    parameter: ArrangedParameter,
    shape: tuple[int, ...],
    *,
    is_product: bool = False,
) -> Arranged:
    """A sum or product, of this shape, with a parameter; channels are counted in order."""
    elements, channels = parameter.elements.expand(shape), found.channels.expand(shape)
    width, first = int(channels.max()) + 1, int(elements.min())
    if torch.equal(elements - first, channels):
        slot = parameter.slot.part(first, (width,))
        made = ScaleChannels(found.number, slot) if is_product else AddBias(found.number, slot)
        return Arranged(tracer.emit(made), channels)
    place = neighbours_on_axis(channels)
    if place is None:
        return _shared_by_heads(tracer, node, found, parameter, shape, is_product=is_product)
    table = tracer.table(elements, place[0], parameter, node)
    made = Multiply(found.number, table) if is_product else Add(found.number, table)
    return Arranged(tracer.emit(made), channels)


def _shared_by_heads(
    tracer: Tracer,
    node: Node,
    found: Arranged,
    parameter: ArrangedParameter,
    shape: tuple[int, ...],
    *,
    is_product: bool,
) -> Arranged:
    """A parameter of one number a channel, where the channels of several heads meet the same."""
    elements, channels = parameter.elements.expand(shape), found.channels.expand(shape)
    pairs, which = distinct(channels, elements)
    if [channel for channel, _ in pairs] != list(range(int(channels.max()) + 1)):
        raise tracer.unknown(node, f"{node.target} takes {parameter.slot.name} for several heads.")
    first, width = int(elements.min()), int(elements.max() - elements.min()) + 1
    own = ArrangedParameter(parameter.slot.part(first, (width,)))
    table = tracer.table(own.elements, -1, own, node)
    places = tuple(element - first for _, element in pairs)
    number = tracer.emit(Share(found.number, table, places, is_product))
    return Arranged(number, which)


def element_by_element(tracer: Tracer, node: Node) -> int | None:
    """A rule of two that meet: values, constants, parameters, arranged in any way."""
    left, right = node.args[:2]
    sides = (left, right), (right, left)
    if node.target in SYMMETRIC and node.kwargs.get("alpha", 1) == 1:
        for value, other in sides:
            parameter = tracer.parameter(other)
            if parameter is None or not tracer.is_node_value(value):
                continue
            if parameter_meets(tracer, node, value, other):
                is_product = node.target is aten.mul.Tensor
                return _with_parameter(tracer, node, value, parameter, is_product=is_product)
    if (parameter := _masked_parameter(tracer, node)) is not None:
        return tracer.put(node, parameter)
    for value, other in sides:
        constant = tracer.known(other)
        is_tensor = isinstance(constant, Tensor) and constant.numel() > 1
        if is_tensor or tracer.is_data(other):
            return _with_tensor(tracer, node, value, other)
        if constant is not None:
            return _with_number(tracer, node, value, tracer.scalar(other, node))
    if node.target in WITH_NUMBERS and node.target not in MEETING:
        raise tracer.unknown(node, "it takes two values.")
    if are_plain(tracer, left, right) and not _are_crossed(tracer, left, right):
        return met(tracer, node, (left, right), MEETING[node.target](tracer, node))
    return _of_arranged(tracer, node)


def _masked_parameter(tracer: Tracer, node: Node) -> ArrangedParameter | None:
    """A parameter times a mask of zeros and ones, that which lets some of its values exist.

    Masks are booleans, or numbers as those of `torch.nn.utils.prune`.
    """
    if node.target is not aten.mul.Tensor:
        return None
    for value, other in (node.args[:2], node.args[1::-1]):
        mask = _as_mask(tracer.known(other))
        if mask is not None:
            return tracer.masked(value, mask, node)
    return None


def _as_mask(constant: object) -> Tensor | None:
    """A constant of more than one zero or one as booleans; None where it is something else."""
    if not isinstance(constant, Tensor):
        return None
    if constant.dtype == torch.bool:
        return constant
    is_one = constant == 1
    is_mask = constant.numel() > 1 and bool((is_one | (constant == 0)).all())
    return is_one if is_mask else None


def _chosen_parameter(tracer: Tracer, node: Node) -> ArrangedParameter | None:
    """`where(mask, parameter, 0)`: the same, as our own masks of pruning write it."""
    mask, value, other = node.args
    known = tracer.known(mask)
    if not isinstance(known, Tensor) or tracer.is_node_value(value):
        return None
    zero = tracer.known(other) if isinstance(other, Node) else other
    is_zero = zero is not None and bool(torch.as_tensor(zero == 0).all())
    return tracer.masked(value, known, node) if is_zero else None


def _with_tensor(tracer: Tracer, node: Node, value: Node, other: Node) -> int | None:
    """A sum or product with a constant tensor, or with data."""
    is_divided = node.target in QUOTIENTS and other is node.args[0]
    if is_divided or node.target not in WITH_NUMBERS:
        raise tracer.unknown(node, f"{node.target} takes a tensor of constants.")
    if tracer.parameter(value) is not None and not tracer.is_value(value):
        number = tracer.number(value, node)  # a parameter becomes a value
        with tracer.taken_as(value, number):
            found = with_constants(tracer, node, tracer.arrangement(value, node), other)
        return tracer.put(node, found)
    found = with_constants(tracer, node, tracer.arrangement(value, node), other)
    return tracer.put_same(node, value, found)


def _of_arranged(tracer: Tracer, node: Node) -> int | None:
    """What two values make, element by element; a product tells nothing of what is shared."""
    shape = tuple(node.meta["val"].shape)
    left, right = (tracer.arrangement(side, node) for side in node.args[:2])
    mine, theirs = left.channels.expand(shape), right.channels.expand(shape)
    if node.target in QUOTIENTS:
        right = right.with_number(_reciprocal(tracer, right.number))
    if node.target in PRODUCTS or node.target in QUOTIENTS:
        return tracer.put(node, paired(tracer, left, right, mine, theirs))
    pairs, which = distinct(mine, theirs)
    numbers = [
        tracer.written.gathered(own.number, tuple(pair[side] for pair in pairs))
        for side, own in enumerate((left, right))
    ]
    number = MEETING[node.target](tracer, node)(*numbers)
    return tracer.put(node, Arranged(number, which))


def _are_crossed(tracer: Tracer, left: Node, right: Node) -> bool:
    """Whether each channel of one value meets all channels of the other."""
    if not all(tracer.is_value(side) and tracer.single(side) is None for side in (left, right)):
        return False
    mine, theirs = tracer.axis(left), tracer.axis(right)
    return mine != theirs and _size(left, theirs) == _size(right, mine) == 1


def _size(value: Node, axis: int) -> int:
    """How far a value goes on an axis, counted from behind."""
    shape = value.meta["val"].shape
    return shape[axis] if len(shape) >= -axis else 1


def masked(tracer: Tracer, node: Node) -> int | None:
    """`masked_fill` with a number: the same places of all channels are overwritten."""
    source, mask, number = node.args[:3]
    if tracer.is_node_value(mask):
        return _alternatives(tracer, node, mask, number, source)
    tracer.scalar(number, node)
    found = with_constants(tracer, node, tracer.arrangement(source, node), mask)
    return tracer.put_same(node, source, found)


def chosen(tracer: Tracer, node: Node) -> int | None:
    """`where(mask, value, constant)`, in either order, or between values by a condition."""
    mask, *sides = node.args
    if tracer.is_node_value(mask):
        return _alternatives(tracer, node, mask, *sides)
    if (parameter := _chosen_parameter(tracer, node)) is not None:
        return tracer.put(node, parameter)
    values = [side for side in sides if tracer.is_node_value(side)]
    if len(values) != 1:
        raise tracer.unknown(node, "it chooses between values by a mask.")
    found = tracer.arrangement(values[0], node)
    for constant in (mask, *(side for side in sides if side is not values[0])):
        found = with_constants(tracer, node, found, constant)
    return tracer.put_same(node, values[0], found)


def _alternatives(tracer: Tracer, node: Node, condition: Node, value, other) -> int | None:
    """One value where a condition on neurons holds, another where it does not."""
    sides = (value, other)
    numbers = [None if _is_value(tracer, s) else tracer.scalar(s, node) for s in sides]
    values = [s for s in sides if _is_value(tracer, s)]
    if not are_plain(tracer, condition, *values):
        raise tracer.unknown(node, "it chooses between channels that no single axis holds.")

    def make(condition: int, *given: int) -> int:
        waiting = list(given)
        taken = []
        for number in numbers:
            if number is None:
                taken.append(waiting.pop(0))
            else:
                taken.append(tracer.emit(Shift(tracer.emit(Scale(condition, 0.0)), number)))
        return tracer.emit(Choose((condition, *taken)))

    return met(tracer, node, (condition, *values), make)


def _is_value(tracer: Tracer, argument) -> bool:
    return tracer.is_node_value(argument) or tracer.parameter(argument) is not None


def paired(
    tracer: Tracer, left: Arranged, right: Arranged, mine: Tensor, theirs: Tensor
) -> Arranged:
    """One new channel for each pair of channels that meet in an element."""
    pairs, which = distinct(mine, theirs)
    channels, others = (tuple((pair[side],) for pair in pairs) for side in (0, 1))
    number = tracer.emit(Combine(left.number, right.number, channels, others, is_match=False))
    return Arranged(number, which)


ARITHMETIC: dict[Callable, Rule] = dict.fromkeys((*MEETING, *WITH_NUMBERS), element_by_element)
NEGATIVES: dict[Callable, Rule] = {aten.neg.default: negative}
MASKS: dict[Callable, Rule] = {
    aten.masked_fill.Scalar: masked,
    aten.masked_fill.Tensor: masked,
    aten.where.self: chosen,
    aten.where.ScalarOther: chosen,
    aten.where.ScalarSelf: chosen,
}
