"""Rules of products of matrices, attention and softmax."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.fx import Node

from nn_graphs.graphs.builder.operations import (
    Add,
    Combine,
    Gather,
    Linear,
    Normalize,
    Pass,
    Scale,
)
from nn_graphs.graphs.parts.group_rules import Normalization
from nn_graphs.graphs.parts.steps import Step, Unfollowed
from nn_graphs.graphs.tracing.arithmetic_rules import paired, with_constants, with_parameter
from nn_graphs.graphs.tracing.arrangement import (
    Arranged,
    ArrangedParameter,
    ordered_unique,
    reduced,
    varying_axes,
)
from nn_graphs.graphs.tracing.tracer import Rule, Tracer, arguments

aten = torch.ops.aten
TURNED = Step("aten.transpose.int", (-1, -2))


def matrix_product(tracer: Tracer, node: Node) -> int | None:
    """A linear map where one side is a parameter, else a product of two values."""
    left, right = node.args[:2]
    parameter = tracer.parameter(right)
    if parameter is not None:
        return _linear(tracer, node, left, parameter, None)
    if tracer.parameter(left) is not None and tracer.is_value(right) and tracer.axis(right) == -2:
        return _linear_on_the_left(tracer, node, tracer.parameter(left), right)
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
    return tracer.put(node, with_constants(tracer, node, product, added))


def _linear(tracer: Tracer, node: Node, source, parameter: ArrangedParameter, bias) -> int:
    number = tracer.on_axis(source, -1, node)
    found = parameter.matrix() if parameter.num_axes == 2 else None
    if found is None:
        raise tracer.unknown(node, f"it takes {parameter.slot.name} otherwise than as a matrix.")
    slot, is_transposed = found
    return tracer.emit(Linear(number, slot, bias, not is_transposed))


def _linear_on_the_left(
    tracer: Tracer, node: Node, parameter: ArrangedParameter, source: Node
) -> int:
    """`W @ x`, for channels on the axis before the last."""
    found = parameter.matrix() if parameter.num_axes == 2 else None
    if found is None:
        raise tracer.unknown(node, f"it takes {parameter.slot.name} otherwise than as a matrix.")
    slot, is_transposed = found
    number = tracer.emit(Pass(tracer.number(source, node), TURNED, -1))
    return tracer.emit(Pass(tracer.emit(Linear(number, slot, None, is_transposed)), TURNED, -2))


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
    if given["dropout_p"]:
        raise tracer.unknown(node, f"{node.target} drops weights at random.")
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
        scores = _with_mask(tracer, node, scores, mask)
    softmax = Unfollowed("aten.softmax.int", is_linear=False)
    weights = Arranged(tracer.emit(Pass(scores.number, softmax, -1)), scores.channels)
    return tracer.put(node, product_of(tracer, node, weights, value))


def _with_mask(tracer: Tracer, node: Node, scores: Arranged, mask: Node) -> Arranged:
    """Scores with what is added to them: constants, data, a parameter, an input of one channel."""
    parameter = tracer.parameter(mask)
    if parameter is not None:
        ordered = tracer.in_order(scores, node)
        return with_parameter(tracer, node, ordered, parameter, scores.shape)
    single = tracer.single(mask)
    if single is None:
        return with_constants(tracer, node, scores, mask)
    single = tracer.emit(Pass(single, Unfollowed(str(node.target)), -1))
    width = tracer.width(scores.number)
    single = single if width == 1 else tracer.emit(Gather(single, (0,) * width))
    return scores.with_number(tracer.emit(Add(scores.number, single)))


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
    number = tracer.on_axis(source, axis % found.channels.ndim - found.channels.ndim, node)
    return tracer.emit(Normalize(number, Normalization(kind, 0.0), None, None))


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
}
