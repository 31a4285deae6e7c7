"""Activation functions: their formula, their one parameter, and the symmetries they allow.

Every activation has at most one parameter: `omega_0` of a sine, the slope of a leaky relu. Neural
graphs store it per neuron beside the activation's id, so that a graph can be executed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nn_graphs.errors import check_known


@dataclass(frozen=True)
class ActivationRule:
    """What is known of one activation `act`.

    Attributes:
        apply: `(values, parameter) -> values`, elementwise; `parameter` broadcasts.
        default_parameter: the parameter where none is given (0 where there is none to give).
        is_odd: act(-z) = -act(z), so a neuron's sign can be flipped.
        is_positively_homogeneous: act(s z) = s act(z) for s > 0, so a neuron can be rescaled.
        is_periodic: act(z + 2 pi / parameter) = act(z), so a bias can be shifted.
    """

    apply: Callable[[Tensor, Tensor | float], Tensor]
    default_parameter: float = 0.0
    is_odd: bool = False
    is_positively_homogeneous: bool = False
    is_periodic: bool = False


def leaky_relu(values: Tensor, slope: Tensor | float) -> Tensor:
    """`max(z, 0) + slope * min(z, 0)`, for a slope that may differ from neuron to neuron."""
    if isinstance(slope, float):
        return F.leaky_relu(values, slope)
    return torch.where(values > 0, values, slope * values)


def elu(values: Tensor, alpha: Tensor | float) -> Tensor:
    """`max(z, 0) + alpha * (exp(min(z, 0)) - 1)`, for an alpha that may differ between neurons."""
    if isinstance(alpha, float):
        return F.elu(values, alpha)
    return torch.where(values > 0, values, alpha * torch.expm1(values.clamp(max=0)))


ACTIVATIONS: dict[str, ActivationRule] = {
    "none": ActivationRule(lambda z, _: z, is_odd=True, is_positively_homogeneous=True),
    "relu": ActivationRule(lambda z, _: F.relu(z), is_positively_homogeneous=True),
    "gelu": ActivationRule(lambda z, _: F.gelu(z)),
    "silu": ActivationRule(lambda z, _: F.silu(z)),
    "tanh": ActivationRule(lambda z, _: torch.tanh(z), is_odd=True),
    "sigmoid": ActivationRule(lambda z, _: torch.sigmoid(z)),
    "leaky_relu": ActivationRule(leaky_relu, 0.01, is_positively_homogeneous=True),
    "sine": ActivationRule(
        lambda z, omega_0: torch.sin(omega_0 * z), 1.0, is_odd=True, is_periodic=True
    ),
    "gelu_tanh": ActivationRule(lambda z, _: F.gelu(z, approximate="tanh")),
    "relu6": ActivationRule(lambda z, _: F.relu6(z)),
    "elu": ActivationRule(elu, 1.0),
    "selu": ActivationRule(lambda z, _: F.selu(z)),
    "hardswish": ActivationRule(lambda z, _: F.hardswish(z)),
    "hardsigmoid": ActivationRule(lambda z, _: F.hardsigmoid(z)),
    "hardtanh": ActivationRule(lambda z, _: F.hardtanh(z), is_odd=True),
    "mish": ActivationRule(lambda z, _: F.mish(z)),
    "softplus": ActivationRule(lambda z, _: F.softplus(z)),
}
"""Known activations; the position in this table is the activation's id, so it is only appended to.
"""

ACTIVATION_NAMES = tuple(ACTIVATIONS)


@dataclass(frozen=True)
class Activation:
    """An activation with its parameter, e.g. `Activation("sine", 30.0)`."""

    name: str = "none"
    parameter: float | None = None

    def __post_init__(self):
        check_known(self.name, ACTIVATIONS, asked=f"use the activation {self.name!r}")
        if self.parameter is None:
            object.__setattr__(self, "parameter", self.rule.default_parameter)

    @classmethod
    def of(cls, given: "Activation | str") -> "Activation":
        """An activation, or that of a name with its default parameter.

        Raises:
            NNGraphsError: there is none of this name, or this is neither.
        """
        if isinstance(given, cls):
            return given
        name = given if isinstance(given, str) else f"of the type {type(given).__name__}"
        return cls(name)

    @property
    def rule(self) -> ActivationRule:
        return ACTIVATIONS[self.name]

    @property
    def activation_id(self) -> int:
        return ACTIVATION_NAMES.index(self.name)

    def __str__(self) -> str:
        """The name, with the parameter where it is not the usual one: `relu`, `sine(30)`."""
        is_usual = self.parameter == self.rule.default_parameter
        return self.name if is_usual else f"{self.name}({self.parameter:g})"

    def __call__(self, values: Tensor) -> Tensor:
        return self.rule.apply(values, self.parameter)


class ActivationModule(nn.Module):
    """An `Activation`, or its name, as a torch module."""

    def __init__(self, activation: Activation | str):
        super().__init__()
        self.activation = Activation.of(activation)

    def forward(self, values: Tensor) -> Tensor:
        return self.activation(values)

    def extra_repr(self) -> str:
        return f"{self.activation.name}, parameter={self.activation.parameter}"
