"""Rules of activations and gated halves, and of operations that change nothing."""

from collections.abc import Callable

import torch
from torch.fx import Node

from nn_graphs.graphs.builder.operations import (
    Activate,
    Multiply,
    Take,
)
from nn_graphs.graphs.tracing.arrangement import Arranged, ArrangedParameter
from nn_graphs.graphs.tracing.tracer import COPIES, Rule, Tracer
from nn_graphs.networks.activations import Activation

aten = torch.ops.aten


def activation(name: str) -> Rule:
    def rule(tracer: Tracer, node: Node) -> int:
        return tracer.emit(Activate(tracer.number(node.args[0], node), Activation(name)))

    return rule


def leaky_relu(tracer: Tracer, node: Node) -> int:
    source, *rest = node.args
    slope = rest[0] if rest else node.kwargs.get("negative_slope", 0.01)
    activation = Activation("leaky_relu", float(slope))
    return tracer.emit(Activate(tracer.number(source, node), activation))


def elu(tracer: Tracer, node: Node) -> int:
    source, *rest = node.args
    if rest[1:] and set(rest[1:]) != {1}:
        raise tracer.unknown(node, "it scales the input of an ELU.")
    alpha = float(rest[0]) if rest else float(node.kwargs.get("alpha", 1.0))
    return tracer.emit(Activate(tracer.number(source, node), Activation("elu", alpha)))


def hardtanh(tracer: Tracer, node: Node) -> int:
    name = {(): "hardtanh", (-1, 1): "hardtanh", (0, 6): "relu6"}.get(tuple(node.args[1:]))
    if name is None:
        raise tracer.unknown(node, f"it clips to {list(node.args[1:])}.")
    return activation(name)(tracer, node)


def softplus(tracer: Tracer, node: Node) -> int:
    if tuple(node.args[1:]) not in ((), (1,), (1, 20)):
        raise tracer.unknown(node, "it is a softplus with a beta or threshold of its own.")
    return activation("softplus")(tracer, node)


def gelu(tracer: Tracer, node: Node) -> int:
    is_exact = node.kwargs.get("approximate", "none") == "none"
    return activation("gelu" if is_exact else "gelu_tanh")(tracer, node)


def glu(tracer: Tracer, node: Node) -> int:
    """The first half of the channels, times the sigmoid of the second."""
    source, *rest = node.args
    axis = rest[0] if rest else node.kwargs.get("dim", -1)
    tracer.check_axis(source, _from_behind(axis, source), node)
    number, width = tracer.number(source, node), tracer.num_channels(source) // 2
    gate = tracer.emit(Activate(tracer.emit(Take(number, width, width)), Activation("sigmoid")))
    return tracer.emit(Multiply(tracer.emit(Take(number, 0, width)), gate))


def _from_behind(axis: int, source: Node) -> int:
    return axis if axis < 0 else axis - source.meta["val"].ndim


def same(tracer: Tracer, node: Node) -> int | None:
    """Operations that change nothing."""
    source = node.args[0]
    if not tracer.is_value(source) and node.target in COPIES:
        return None
    return tracer.number(source, node)


def nothing(tracer: Tracer, node: Node) -> None:
    return None


def keeping(rule: Rule) -> Rule:
    """A rule of an operation on every element alone, for arranged values too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        found = tracer.arranged(node.args[0])
        if found is None:
            return rule(tracer, node)
        if isinstance(found, ArrangedParameter):
            found = tracer.arrangement(node.args[0], node)
        with tracer.taken_as(node.args[0], found.number):
            number = rule(tracer, node)
        return None if number is None else tracer.put(node, Arranged(number, found.channels))

    return either


ACTIVATIONS: dict[Callable, Rule] = {
    aten.sin.default: activation("sine"),
    aten.relu.default: activation("relu"),
    aten.silu.default: activation("silu"),
    aten.tanh.default: activation("tanh"),
    aten.sigmoid.default: activation("sigmoid"),
    aten.leaky_relu.default: leaky_relu,
    aten.gelu.default: gelu,
    aten.relu6.default: activation("relu6"),
    aten.elu.default: elu,
    aten.selu.default: activation("selu"),
    aten.hardswish.default: activation("hardswish"),
    aten.hardsigmoid.default: activation("hardsigmoid"),
    aten.hardtanh.default: hardtanh,
    aten.mish.default: activation("mish"),
    aten.softplus.default: softplus,
}
GATES: dict[Callable, Rule] = {aten.glu.default: glu}
IDENTITIES: dict[Callable, Rule] = {
    aten.dropout.default: same,
    aten.feature_dropout.default: same,
    aten.alpha_dropout.default: same,
    aten.alias.default: same,
    aten.clone.default: same,
    aten.contiguous.default: same,
    aten.detach.default: same,
    aten.to.dtype: same,
    aten.to.dtype_layout: same,
    aten._to_copy.default: same,
    aten.type_as.default: same,
    aten.sym_size.int: nothing,
    aten._assert_tensor_metadata.default: nothing,
}
