"""Rules of activations and gated halves, and of operations that change nothing."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import Node

from nn_graphs.graphs.builder.operations import (
    Activate,
    Multiply,
    Take,
)
from nn_graphs.graphs.tracing.tracer import Rule, Tracer, arguments
from nn_graphs.networks.activations import Activation

aten = torch.ops.aten


def activation(name: str) -> Rule:
    def rule(tracer: Tracer, node: Node) -> int:
        return tracer.emit(Activate(tracer.number(node.args[0], node), Activation(name)))

    return rule


def leaky_relu(tracer: Tracer, node: Node) -> int:
    activation = Activation("leaky_relu", float(arguments(node)["negative_slope"]))
    return tracer.emit(Activate(tracer.number(node.args[0], node), activation))


def gelu(tracer: Tracer, node: Node) -> int:
    is_exact = arguments(node)["approximate"] == "none"
    return activation("gelu" if is_exact else "gelu_tanh")(tracer, node)


def glu(tracer: Tracer, node: Node) -> int:
    """The first half of the channels, times the sigmoid of the second."""
    source, *rest = node.args
    axis = rest[0] if rest else node.kwargs.get("dim", -1)
    number = tracer.on_axis(source, _from_behind(axis, source), node)
    width = tracer.width(number) // 2
    gate = tracer.emit(Activate(tracer.emit(Take(number, width, width)), Activation("sigmoid")))
    return tracer.emit(Multiply(tracer.emit(Take(number, 0, width)), gate))


def _from_behind(axis: int, source: Node) -> int:
    return axis if axis < 0 else axis - source.meta["val"].ndim


def same(tracer: Tracer, node: Node) -> int | None:
    """Operations that change nothing."""
    source = node.args[0]
    moved = None if tracer.is_value(source) else tracer.arranged(source) or tracer.parameter(source)
    return tracer.number(source, node) if moved is None else tracer.put(node, moved)


def cast(tracer: Tracer, node: Node) -> int | None:
    """From one precision to another, which is nothing to do; from a condition, 0 and 1."""
    if isinstance(tracer.known(node.args[0]), Tensor):
        tracer.put_constant(node)
        return None
    before, after = (each.meta["val"].dtype for each in (node.args[0], node))
    is_kept = before.is_floating_point or before is torch.bool
    if before is not after and not (is_kept and after.is_floating_point):
        raise tracer.unknown(node, f"{node.target} casts {before} to {after}, other values.")
    return same(tracer, node)


def created(tracer: Tracer, node: Node) -> None:
    """A constant of the shape of a value."""
    tracer.put_constant(node)


def dropout(tracer: Tracer, node: Node) -> int | None:
    given = arguments(node)
    if given["train"] and given["p"]:
        raise tracer.unknown(node, f"{node.target} drops values at random, in evaluation mode too.")
    return same(tracer, node)


def nothing(tracer: Tracer, node: Node) -> None:
    return None


CREATED = (
    *(aten.zeros_like.default, aten.ones_like.default, aten.full_like.default),
    *(aten.new_zeros.default, aten.new_ones.default, aten.new_full.default),
)
ACTIVATIONS: dict[Callable, Rule] = {
    aten.sin.default: activation("sine"),
    aten.relu.default: activation("relu"),
    aten.silu.default: activation("silu"),
    aten.tanh.default: activation("tanh"),
    aten.sigmoid.default: activation("sigmoid"),
    aten.leaky_relu.default: leaky_relu,
    aten.gelu.default: gelu,
    aten.relu6.default: activation("relu6"),
    aten.selu.default: activation("selu"),
    aten.hardswish.default: activation("hardswish"),
    aten.hardsigmoid.default: activation("hardsigmoid"),
    aten.mish.default: activation("mish"),
}
GATES: dict[Callable, Rule] = {aten.glu.default: glu}
IDENTITIES: dict[Callable, Rule] = {
    aten.dropout.default: dropout,
    aten.feature_dropout.default: dropout,
    aten.alpha_dropout.default: dropout,
    aten.feature_alpha_dropout.default: dropout,
    aten.alias.default: same,
    aten.clone.default: same,
    aten.contiguous.default: same,
    aten.detach.default: same,
    aten.to.dtype: cast,
    aten.to.device: cast,
    aten.to.dtype_layout: cast,
    aten._to_copy.default: cast,
    aten.type_as.default: cast,
    aten.sym_size.int: nothing,
    **dict.fromkeys(CREATED, created),
    aten._assert_tensor_metadata.default: nothing,
}
