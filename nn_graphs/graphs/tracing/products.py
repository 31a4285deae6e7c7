"""Rules of products of values: matrices, attention, softmax; sums with constants and parameters."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.fx import Node

from nn_graphs.graphs.builder.operations import (
    Add,
    AddBias,
    Combine,
    Linear,
    Modulate,
    Multiply,
    Normalize,
    Pass,
    Scale,
    ScaleChannels,
)
from nn_graphs.graphs.parts.rules import Normalization
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
from nn_graphs.graphs.tracing.layers import arguments
from nn_graphs.graphs.tracing.tracer import Rule, Tracer

aten = torch.ops.aten


def matrix_product(tracer: Tracer, node: Node) -> int | None:
    """A linear map where one side is a parameter, else a product of two values."""
    left, right = node.args[:2]
    parameter = tracer.parameter(right)
    if parameter is not None:
        return _linear(tracer, node, left, parameter, None)
    constants = [tracer.known(side) for side in (left, right)]
    if any(isinstance(constant, Tensor) for constant in constants):
        return _mixed_places(tracer, node, left, right)
    return tracer.put(node, product_of(tracer, node, *_sides(tracer, node, left, right)))


def bias_and_product(tracer: Tracer, node: Node) -> int | None:
    """`addmm` with a bias, `baddbmm` with a mask or with nothing to add."""
    given = arguments(node)
    added, *sides = node.args[:3]
    if tracer.parameter(added) is not None and tracer.parameter(sides[1]) is not None:
        if given["beta"] != 1 or given["alpha"] != 1:
            raise tracer.unknown(node, "it scales the matrix or the bias.")
        slot = tracer.slot(added, node)
        return _linear(tracer, node, sides[0], tracer.parameter(sides[1]), slot)
    product = product_of(tracer, node, *_sides(tracer, node, *sides))
    number = product.number
    if given["alpha"] != 1:
        number = tracer.emit(Scale(number, float(given["alpha"])))
    product = Arranged(number, product.channels)
    if given["beta"] == 0:
        return tracer.put(node, product)
    return tracer.put(node, _with_constants(tracer, node, product, added))


def _linear(tracer: Tracer, node: Node, source, parameter: ArrangedParameter, bias) -> int:
    tracer.check_axis(source, -1, node)
    found = parameter.matrix() if parameter.num_axes == 2 else None
    if found is None:
        raise tracer.unknown(node, f"it takes {parameter.slot.name} otherwise than as a matrix.")
    slot, is_transposed = found
    return tracer.emit(Linear(tracer.number(source, node), slot, bias, not is_transposed))


def _sides(tracer: Tracer, node: Node, left: Node, right: Node) -> tuple[Arranged, Arranged]:
    return tracer.arrangement(left, node), tracer.arrangement(right, node)


def product_of(tracer: Tracer, node: Node, left: Arranged, right: Arranged) -> Arranged:
    """`left @ right`: over channels of both (queries and keys), or over places (values)."""
    mine, theirs = left.channels, right.channels
    if min(mine.ndim, theirs.ndim) < 2:
        raise tracer.unknown(node, f"{node.target} takes a vector, not matrices.")
    batch = torch.broadcast_shapes(mine.shape[:-2], theirs.shape[:-2])
    mine, theirs = (ids.expand(*batch, *ids.shape[-2:]) for ids in (mine, theirs))
    last = mine.ndim - 1
    kinds = last in varying_axes(mine), last - 1 in varying_axes(theirs)
    shape = (*batch, mine.shape[-2], theirs.shape[-1])
    if kinds == (True, True) or mine.shape[-1] == 1 != left.channels.numel():
        return _matched(tracer, node, left, right, mine, theirs, shape)
    if kinds != (False, False):
        raise tracer.unknown(node, f"{node.target} sums channels of one value over places.")
    mine, theirs = mine[..., :1].expand(shape), theirs[..., :1, :].expand(shape)
    return paired(tracer, left, right, mine, theirs)


def _matched(
    tracer: Tracer,
    node: Node,
    left: Arranged,
    right: Arranged,
    mine: Tensor,
    theirs: Tensor,
    shape: tuple[int, ...],
) -> Arranged:
    """Sums over channels: one new channel for each head."""
    last = mine.ndim - 1
    if last - 1 in varying_axes(mine) or last in varying_axes(theirs):
        raise tracer.unknown(node, f"{node.target} sums over some of the channels of a value.")
    axes = sorted(({*varying_axes(mine)} | {*varying_axes(theirs.mT)}) - {last, last - 1})
    queries = reduced(mine, [*axes, last])
    keys = reduced(theirs.mT, [*axes, last])
    size = mine.shape[-1]
    rows = torch.cat([queries.reshape(-1, size), keys.reshape(-1, size)], dim=1)
    found, which = ordered_unique(rows)
    found = found.tolist()
    channels = tuple(tuple(row[:size]) for row in found)
    others = tuple(tuple(row[size:]) for row in found)
    number = tracer.emit(Combine(left.number, right.number, channels, others, is_match=True))
    return Arranged(number, which.view(queries.shape[:-1]).unsqueeze(-1).expand(shape))


def paired(
    tracer: Tracer, left: Arranged, right: Arranged, mine: Tensor, theirs: Tensor
) -> Arranged:
    """One new channel for each pair of channels that meet in an element."""
    pairs, which = distinct(mine, theirs)
    channels, others = (tuple((pair[side],) for pair in pairs) for side in (0, 1))
    number = tracer.emit(Combine(left.number, right.number, channels, others, is_match=False))
    return Arranged(number, which)


def _mixed_places(tracer: Tracer, node: Node, left, right) -> int | None:
    """A product with a constant matrix over places."""
    value, is_left = (left, True) if tracer.known(left) is None else (right, False)
    found = tracer.arrangement(value, node)
    axis = found.channels.ndim - (1 if is_left else 2)
    if axis in varying_axes(found.channels):
        raise tracer.unknown(node, f"{node.target} multiplies channels with a constant matrix.")
    number = tracer.emit(Pass(found.number, Unfollowed(str(node.target)), tracer.axis_of(found)))
    shape = tuple(node.meta["val"].shape)
    return tracer.put(node, Arranged(number, found.channels.narrow(axis, 0, 1).expand(shape)))


def attention(tracer: Tracer, node: Node) -> int | None:
    """`scaled_dot_product_attention`: scores, a softmax over places, a weighted mean of values."""
    given = arguments(node)
    query, key, value = (tracer.arrangement(x, node) for x in node.args[:3])
    if given.get("enable_gqa"):
        repeat = query.shape[-3] // key.shape[-3]
        key, value = (
            x.with_channels(x.channels.repeat_interleave(repeat, dim=-3)) for x in (key, value)
        )
    scores = product_of(tracer, node, query, key.with_channels(key.channels.mT))
    scale = given.get("scale") or 1 / math.sqrt(query.shape[-1])
    scores = Arranged(tracer.emit(Scale(scores.number, scale)), scores.channels)
    mask = given.get("attn_mask")
    if mask is not None:
        scores = _with_constants(tracer, node, scores, mask)
    softmax = Unfollowed("aten.softmax.int", is_linear=False)
    weights = Arranged(tracer.emit(Pass(scores.number, softmax, -1)), scores.channels)
    return tracer.put(node, product_of(tracer, node, weights, value))


def softmax(tracer: Tracer, node: Node, *, kind: str) -> int | None:
    """Over channels a norm of its own kind; over places a step that leaves channels alone."""
    source, axis = node.args[:2]
    found = tracer.arrangement(source, node)
    if axis % found.channels.ndim not in varying_axes(found.channels):
        is_plain = tracer.is_value(source)
        own = tracer.axis_of(found)
        step = Step(str(node.target), tuple(node.args[1:]), is_homogeneous=False, is_odd=False)
        step = step if is_plain else Unfollowed(str(node.target), is_linear=False)
        number = tracer.emit(Pass(found.number, step, own))
        return tracer.put_same(node, source, Arranged(number, found.channels))
    tracer.check_axis(source, axis % found.channels.ndim - found.channels.ndim, node)
    return tracer.emit(Normalize(found.number, Normalization(kind, 0.0), None, None))


# Sums and products with what is no value of a neuron.


def _with_constants(tracer: Tracer, node: Node, value: Arranged, constant) -> Arranged:
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
    number = tracer.gathered(value.number, tuple(rows[:, 0].tolist()))
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


def pointwise(rule: Rule, *, is_product: bool) -> Rule:
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
                found = _with_constants(tracer, node, tracer.arrangement(value, node), other)
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
        tracer.gathered(own.number, tuple(pair[side] for pair in pairs))
        for side, own in enumerate((left, right))
    ]
    return tracer.put(node, Arranged(tracer.emit(Add(*numbers)), which))


def masked(tracer: Tracer, node: Node) -> int | None:
    """`masked_fill` with a number: the same places of all channels are overwritten."""
    source, mask = node.args[:2]
    found = _with_constants(tracer, node, tracer.arrangement(source, node), mask)
    return tracer.put_same(node, source, found)


def chosen(tracer: Tracer, node: Node) -> int | None:
    """`where(mask, value, constant)`, in either order."""
    mask, *sides = node.args
    values = [side for side in sides if tracer.is_node_value(side)]
    if len(values) != 1 or tracer.is_node_value(mask):
        raise tracer.unknown(node, "it chooses between values.")
    found = _with_constants(tracer, node, tracer.arrangement(values[0], node), mask)
    return tracer.put_same(node, values[0], found)


def embedding(tracer: Tracer, node: Node) -> int | None:
    """Rows of a table: for tokens edges from one-hot neurons, for constant numbers a parameter."""
    table, rows = node.args[:2]
    parameter = tracer.parameter(table)
    found = parameter.matrix() if parameter is not None else None
    if found is None or found[1]:
        raise tracer.unknown(node, f"the table {table} is no parameter.")
    known = tracer.known(rows)
    if isinstance(known, Tensor):
        return tracer.put(node, parameter.with_channels(parameter.elements[known]))
    origin = rows
    while origin not in tracer.tokens and isinstance(origin, Node) and origin.args:
        origin = origin.args[0]
    if origin not in tracer.tokens:
        raise tracer.unknown(node, f"the tokens {rows} are no input.")
    return tracer.look_up(tracer.tokens[origin], found[0], is_moved=origin is not rows, node=node)


SYMMETRIC = (aten.add.Tensor, aten.mul.Tensor)
PRODUCTS: dict[Callable, Rule] = {
    aten.matmul.default: matrix_product,
    aten.mm.default: matrix_product,
    aten.bmm.default: matrix_product,
    aten.addmm.default: bias_and_product,
    aten.baddbmm.default: bias_and_product,
    aten.scaled_dot_product_attention.default: attention,
    aten.softmax.int: partial(softmax, kind="softmax"),
    aten._softmax.default: partial(softmax, kind="softmax"),
    aten.log_softmax.int: partial(softmax, kind="log_softmax"),
    aten.embedding.default: embedding,
    aten.masked_fill.Scalar: masked,
    aten.where.self: chosen,
    aten.where.ScalarOther: chosen,
    aten.where.ScalarSelf: chosen,
}
