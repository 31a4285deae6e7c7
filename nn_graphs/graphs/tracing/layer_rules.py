"""Rules of operations with parameters: linear maps, convolutions, norms, embeddings."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.fx import Node

from nn_graphs.graphs.builder.operations import (
    AddBias,
    Convolve,
    Linear,
    Multiply,
    Normalize,
    Pass,
    Take,
)
from nn_graphs.graphs.parts.group_rules import Normalization
from nn_graphs.graphs.parts.steps import Convolution, Unfollowed
from nn_graphs.graphs.tracing.arithmetic_rules import with_parameter
from nn_graphs.graphs.tracing.arrangement import (
    ArrangedParameter,
    reduced,
    varying_axes,
)
from nn_graphs.graphs.tracing.computed_weights import (
    WeightDirections,
    WeightSum,
    applied_directions,
    applied_sum,
    weight_norm,
)
from nn_graphs.graphs.tracing.tracer import Rule, Tracer, arguments
from nn_graphs.networks.parameters import ParameterSlot

aten = torch.ops.aten


def linear(tracer: Tracer, node: Node) -> int:
    source, weight, *rest = node.args
    bias = rest[0] if rest else node.kwargs.get("bias")
    number = tracer.on_axis(source, -1, node)
    computed = tracer.arranged(weight)
    if isinstance(computed, WeightSum):
        return applied_sum(tracer, number, computed, tracer.slot(bias, node))
    if isinstance(computed, WeightDirections):
        shift = tracer.slot(bias, node)
        return applied_directions(tracer, computed, shift, lambda own: Linear(number, own, None))
    moved, is_transposed = tracer.arranged(weight), False
    if isinstance(moved, ArrangedParameter) and moved.num_axes == 2:
        slot, is_transposed = moved.matrix() or (tracer.slot(weight, node), False)
    else:
        slot = tracer.slot(weight, node)
    if len(slot.shape) != 2:
        raise tracer.unknown(node, f"its weight {slot.name} is no matrix.")
    shift = tracer.slot(bias, node)
    if shift is not None and shift.shape != (slot.shape[is_transposed],):
        raise tracer.unknown(node, f"its bias {shift.name} has the shape {shift.shape}.")
    return tracer.emit(Linear(number, slot, shift, is_transposed))


def convolution(num_axes: int, *, is_transposed: bool = False) -> Rule:
    def rule(tracer: Tracer, node: Node) -> int:
        given = arguments(node)

        def per_axis(name: str) -> tuple[int, ...] | str:
            sizes = given.get(name, 0)
            if isinstance(sizes, str | int):
                return sizes if isinstance(sizes, str) else (sizes,) * num_axes
            return tuple(sizes) * (num_axes // len(sizes))

        number = tracer.on_axis(given["input"], -1 - num_axes, node)
        bias = tracer.slot(given["bias"], node)
        movement = Convolution(
            stride=per_axis("stride"),
            padding=per_axis("padding"),
            dilation=per_axis("dilation"),
            num_groups=given["groups"],
            is_transposed=is_transposed,
            output_padding=per_axis("output_padding") if is_transposed else (),
        )
        computed = tracer.arranged(given["weight"])
        if isinstance(computed, WeightDirections) and not is_transposed:
            return applied_directions(
                tracer, computed, bias, lambda own: Convolve(number, own, None, movement)
            )
        weight = tracer.slot(given["weight"], node)
        return tracer.emit(Convolve(number, weight, bias, movement))

    return rule


def _norm(
    tracer: Tracer, node: Node, rule: Normalization, *, axis: int, names: dict[str, str]
) -> int:
    """A norm over channels on an axis; `names` of the operation's arguments for its parameters."""
    given = arguments(node)
    source = given["input"]
    number = tracer.on_axis(source, axis, node)
    gain = given.get(names["gain"])
    is_computed = tracer.is_value(gain)  # of parameters, as 1 + weight
    told = {field: name for field, name in names.items() if field != "gain" or not is_computed}
    slots = {"gain": None, "bias": None}
    slots |= {field: tracer.slot(given.get(name), node) for field, name in told.items()}
    for field, slot in slots.items():
        if slot is not None and slot.shape != (tracer.num_channels(source),):
            raise tracer.unknown(node, f"its {field} {slot.name} has the shape {slot.shape}.")
    if not is_computed:
        return tracer.emit(Normalize(number, rule, **slots))
    shift = slots.pop("bias")
    number = tracer.emit(Normalize(number, rule, bias=None, **slots))
    number = tracer.emit(Multiply(number, tracer.on_axis(gain, axis, node)))
    return number if shift is None else tracer.emit(AddBias(number, shift))


AFFINE = {"gain": "weight", "bias": "bias"}
RUNNING = {"mean": "running_mean", "variance": "running_var"}


def _second_axis(node: Node) -> int:
    return min(1 - node.args[0].meta["val"].ndim, -1)


def batch_norm(tracer: Tracer, node: Node, *, uses_batch: bool | None = None) -> int:
    given = arguments(node)
    is_of_batch = given.get("training", False) if uses_batch is None else uses_batch
    names = AFFINE if is_of_batch else AFFINE | RUNNING
    rule = Normalization("batch", given["eps"])
    return _norm(tracer, node, rule, axis=_second_axis(node), names=names)


def instance_norm(tracer: Tracer, node: Node) -> int:
    given = arguments(node)
    names = AFFINE if given["use_input_stats"] else AFFINE | RUNNING
    rule = Normalization("instance", given["eps"])
    return _norm(tracer, node, rule, axis=_second_axis(node), names=names)


def group_norm(tracer: Tracer, node: Node) -> int:
    given = arguments(node)
    rule = Normalization("group", given["eps"], given["num_groups"])
    return _norm(tracer, node, rule, axis=_second_axis(node), names=AFFINE)


def last_axis_norm(tracer: Tracer, node: Node, *, kind: str) -> int | None:
    given = arguments(node)
    if len(given["normalized_shape"]) != 1:
        shape = list(given["normalized_shape"])
        raise tracer.unknown(node, f"it normalises over the shape {shape}, not channels alone.")
    eps = given["eps"]
    if eps is None:
        eps = torch.finfo(given["input"].meta["val"].dtype).eps
    names = AFFINE if kind == "layer" else {"gain": "weight"}
    heads = _rows_of_heads(tracer, node)
    if heads is not None:
        return _norm_of_heads(tracer, node, Normalization(kind, eps, len(heads)))
    return _norm(tracer, node, Normalization(kind, eps), axis=-1, names=names)


def _rows_of_heads(tracer: Tracer, node: Node) -> Tensor | None:
    """The channels of each of several heads, `[heads, width]`; None where the last axis has all."""
    source = node.args[0]
    if not tracer.is_arranged(source):
        return None
    channels = tracer.arrangement(source, node).channels
    axes, last = varying_axes(channels), channels.ndim - 1
    rows = reduced(channels, axes).flatten(0, -2)
    is_apart = last in axes and rows.unique().numel() == rows.numel()
    return rows if is_apart and len(rows) > 1 else None


def _norm_of_heads(tracer: Tracer, node: Node, rule: Normalization) -> int | None:
    """A norm that goes over each head apart, whose gain and bias the heads share."""
    arranged = tracer.in_order(tracer.arrangement(node.args[0], node), node)
    number = tracer.emit(Normalize(arranged.number, rule, None, None))
    normalised, given = arranged.with_number(number), arguments(node)
    for name in ("weight", "bias"):
        parameter = tracer.parameter(given.get(name))
        if parameter is not None:
            is_gain = name == "weight"
            normalised = with_parameter(
                tracer, node, normalised, parameter, arranged.shape, is_product=is_gain
            )
    return tracer.put(node, normalised)


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
    origin = _tokens_behind(tracer, rows)
    if origin is None:
        raise tracer.unknown(node, f"the tokens {rows} are no input.")
    return _look_up(tracer, node, tracer.tokens[origin], found[0], is_moved=origin is not rows)


def _tokens_behind(tracer: Tracer, rows: Node) -> Node | None:
    """The integer input that numbers of rows are made of."""
    waiting, seen = [rows], set()
    while waiting:
        node = waiting.pop(0)
        if node in tracer.tokens:
            return node
        if node not in seen and tracer.is_data(node):
            waiting += node.all_input_nodes
        seen.add(node)
    return None


def _look_up(
    tracer: Tracer, node: Node, tokens: int, table: ParameterSlot, *, is_moved: bool
) -> int:
    """Embeddings of tokens: edges from one-hot neurons."""
    if table.shape[0] < tracer.width(tokens):
        tokens = tracer.emit(Take(tokens, 0, table.shape[0]))
    if is_moved:
        tokens = tracer.emit(Pass(tokens, Unfollowed(str(node.target)), -1))
    return tracer.emit(Linear(tokens, table, None, is_transposed=True))


LAYERS: dict[Callable, Rule] = {
    aten._weight_norm.default: weight_norm,
    aten.linear.default: linear,
    aten.embedding.default: embedding,
    aten.conv1d.default: convolution(1),
    aten.conv2d.default: convolution(2),
    aten.conv3d.default: convolution(3),
    aten.conv1d.padding: convolution(1),
    aten.conv2d.padding: convolution(2),
    aten.conv3d.padding: convolution(3),
    aten.conv_transpose1d.default: convolution(1, is_transposed=True),
    aten.conv_transpose2d.input: convolution(2, is_transposed=True),
    aten.conv_transpose3d.input: convolution(3, is_transposed=True),
    aten.batch_norm.default: batch_norm,
    aten._native_batch_norm_legit_no_training.default: partial(batch_norm, uses_batch=False),
    aten._native_batch_norm_legit.no_stats: partial(batch_norm, uses_batch=True),
    aten.instance_norm.default: instance_norm,
    aten.group_norm.default: group_norm,
    aten.layer_norm.default: partial(last_axis_norm, kind="layer"),
    aten.rms_norm.default: partial(last_axis_norm, kind="rms"),
}
