"""Rules of operations that act on every value alone: activations, sums, products."""

from collections.abc import Callable

import torch
from torch.fx import Node

from nn_graphs.graphs.builder.operations import Activate, Add, Multiply, Scale, Shift, Take
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


def same(tracer: Tracer, node: Node) -> int | None:
    """Operations that change nothing."""
    source = node.args[0]
    if not tracer.is_value(source) and node.target in COPIES:
        return None
    return tracer.number(source, node)


def nothing(tracer: Tracer, node: Node) -> None:
    return None


def _check_widths(tracer: Tracer, node: Node, left: Node, right: Node, *, verb: str) -> None:
    """Two values must have the same channels, on the same axis from behind."""
    mine, theirs = tracer.num_channels(left), tracer.num_channels(right)
    if mine != theirs:
        raise tracer.unknown(node, f"it {verb} {theirs} channels to {mine}.")
    if tracer.axis(left) != tracer.axis(right):
        axes = f"axes {tracer.axis(left)} and {tracer.axis(right)}"
        raise tracer.unknown(node, f"it {verb} values whose channels lie on the {axes}.")


def _from_behind(axis: int, source: Node) -> int:
    return axis if axis < 0 else axis - source.meta["val"].ndim


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
