"""Rules of functions of each element alone: a step on the way along the edges, whatever they are.

Signs and scales pass where the function is known to pass them; permutations always do.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch.fx import Node

from nn_graphs.graphs.builder.operations import (
    Activate,
    Add,
    Multiply,
    Pass,
    Scale,
    ScaleChannels,
)
from nn_graphs.graphs.parts.steps import Step
from nn_graphs.graphs.tracing.arrangement import Arranged
from nn_graphs.graphs.tracing.broadcasting import broadcast
from nn_graphs.graphs.tracing.pooling_rules import step
from nn_graphs.graphs.tracing.tracer import CONDITIONS, Rule, Tracer, arguments
from nn_graphs.networks.activations import Activation

aten = torch.ops.aten


def pointwise(
    tracer: Tracer, node: Node, *, is_odd: bool = False, is_homogeneous: bool = False
) -> int:
    """Any function of each element alone, with numbers for settings."""
    number = tracer.number(node.args[0], node)
    own = step(node, is_odd=is_odd, is_homogeneous=is_homogeneous)
    return tracer.emit(Pass(number, own, tracer.axis(node.args[0])))


def clamp(tracer: Tracer, node: Node) -> int:
    """Odd between a number and its negative; homogeneous where the only bound is 0."""
    given = arguments(node)
    low, high = (given.get(name) for name in _bounds(node))
    is_odd = low is not None and high is not None and low == -high
    is_homogeneous = {low, high} <= {None, 0}
    return pointwise(tracer, node, is_odd=is_odd, is_homogeneous=is_homogeneous)


def _bounds(node: Node) -> tuple[str, str]:
    is_hardtanh = node.target is aten.hardtanh.default
    return ("min_val", "max_val") if is_hardtanh else ("min", "max")


def hardtanh(tracer: Tracer, node: Node) -> int:
    given = arguments(node)
    name = {(-1, 1): "hardtanh", (0, 6): "relu6"}.get((given["min_val"], given["max_val"]))
    if name is None:
        return clamp(tracer, node)
    return tracer.emit(Activate(tracer.number(node.args[0], node), Activation(name)))


def power(tracer: Tracer, node: Node) -> int:
    """A square is a product with itself; odd powers are odd."""
    source, exponent = node.args
    number = tracer.number(source, node)
    if exponent == 1:
        return number
    if exponent == 2:
        return tracer.emit(Multiply(number, number))
    return pointwise(tracer, node, is_odd=float(exponent) % 2 == 1)


def square(tracer: Tracer, node: Node) -> int:
    number = tracer.number(node.args[0], node)
    return tracer.emit(Multiply(number, number))


def softplus(tracer: Tracer, node: Node) -> int:
    given = arguments(node)
    if (given["beta"], given["threshold"]) != (1, 20):
        return pointwise(tracer, node)
    return tracer.emit(Activate(tracer.number(node.args[0], node), Activation("softplus")))


def elu(tracer: Tracer, node: Node) -> int:
    given = arguments(node)
    if (given["scale"], given["input_scale"]) != (1, 1):
        return pointwise(tracer, node)
    activation = Activation("elu", float(given["alpha"]))
    return tracer.emit(Activate(tracer.number(node.args[0], node), activation))


def rrelu(tracer: Tracer, node: Node) -> int:
    given = arguments(node)
    if given["training"]:
        raise tracer.unknown(node, f"{node.target} draws its slopes at random.")
    activation = Activation("leaky_relu", (given["lower"] + given["upper"]) / 2)
    return tracer.emit(Activate(tracer.number(node.args[0], node), activation))


def exponential(tracer: Tracer, node: Node) -> int | None:
    """A positive number to the power of a value."""
    base, value = node.args
    if base <= 0:
        raise tracer.unknown(node, f"{node.target} takes powers of {base}.")
    number = tracer.number_of(value, node)
    number = tracer.emit(Scale(number, math.log(base)))
    own = Step("aten.exp.default", is_homogeneous=False, is_odd=False)
    number = tracer.emit(Pass(number, own, tracer.written.axes[number]))
    return tracer.put_like(node, value, number)


def prelu(tracer: Tracer, node: Node) -> int | None:
    """`max(z, 0) + slope * min(z, 0)` with one slope for every channel, or one for all."""
    value, slope = node.args
    parameter = tracer.parameter(slope)
    if parameter is None:
        raise tracer.unknown(node, f"its slope {slope} is no parameter.")
    if parameter.slot.size > 1:
        number = tracer.on_axis(value, min(1 - value.meta["val"].ndim, -1), node)
        negative = _negative_part(tracer, number)
        bent = tracer.emit(ScaleChannels(negative, tracer.slot(slope, node)))
        return tracer.emit(Add(tracer.emit(Activate(number, Activation("relu"))), bent))
    found = tracer.arrangement(value, node)
    number, axis = found.number, tracer.written.axes[found.number]
    tracer.on_axis(slope, axis, node)
    factor = broadcast(tracer, node, slope, axis, tracer.width(number))
    bent = tracer.emit(Multiply(_negative_part(tracer, number), factor))
    number = tracer.emit(Add(tracer.emit(Activate(number, Activation("relu"))), bent))
    return tracer.put_like(node, value, number)


def _negative_part(tracer: Tracer, number: int) -> int:
    own = Step("aten.clamp_max.default", (0.0,), is_odd=False)
    return tracer.emit(Pass(number, own, tracer.written.axes[number]))


def keeping(rule: Rule) -> Rule:
    """A rule of an operation on every element alone, for arranged values and parameters too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        source = node.args[0]
        if tracer.is_value(source):
            return rule(tracer, node)
        if not isinstance(tracer.arranged(source), Arranged):
            tracer.number(source, node)  # a parameter becomes a value
            number = rule(tracer, node)
        else:
            with tracer.taken_as(source, tracer.arrangement(source, node).number):
                number = rule(tracer, node)
        return None if number is None else tracer.put_like(node, source, number)

    return either


odd = partial(pointwise, is_odd=True)
homogeneous = partial(pointwise, is_homogeneous=True)
NEITHER = (
    *(aten.exp.default, aten.exp2.default, aten.expm1.default, aten.log.default),
    *(aten.log2.default, aten.log10.default, aten.log1p.default, aten.cos.default),
    *(aten.cosh.default, aten.acos.default, aten.acosh.default, aten.erfc.default),
    *(aten.rsqrt.default, aten.logit.default, aten.log_sigmoid.default, aten.celu.default),
    *(aten.threshold.default, aten.floor.default, aten.ceil.default, aten.sinc.default),
    aten.remainder.Scalar,
)
ODD = (
    *(aten.tan.default, aten.sinh.default, aten.asin.default, aten.asinh.default),
    *(aten.atan.default, aten.atanh.default, aten.erf.default, aten.erfinv.default),
    *(aten.sign.default, aten.round.default, aten.round.decimals, aten.trunc.default),
    *(aten.frac.default, aten.reciprocal.default, aten.softshrink.default),
    *(aten.hardshrink.default, aten.fmod.Scalar),
)
ELEMENTS: dict[Callable, Rule] = {
    **dict.fromkeys(NEITHER, pointwise),
    **{c: pointwise for c in CONDITIONS if not str(c).endswith(".Tensor")},
    **dict.fromkeys(ODD, odd),
    aten.abs.default: homogeneous,
    aten.sqrt.default: pointwise,
    aten.nan_to_num.default: pointwise,
    aten.clamp.default: clamp,
    aten.clamp_min.default: clamp,
    aten.clamp_max.default: clamp,
    aten.hardtanh.default: hardtanh,
    aten.pow.Tensor_Scalar: power,
    aten.square.default: square,
    aten.softplus.default: softplus,
    aten.elu.default: elu,
    aten.rrelu.default: rrelu,
}
OTHERS: dict[Callable, Rule] = {aten.prelu.default: prelu, aten.pow.Scalar: exponential}
