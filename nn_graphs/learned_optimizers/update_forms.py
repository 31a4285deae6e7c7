"""From a model's outputs to the change of every parameter."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.learned_optimizers.tensor_features import State, flat
from nn_graphs.ranges import PositiveFloat, in_ranges

LOG_GAIN = 10.0  # what is learned of a positive number is its logarithm over this


@runtime_checkable
class UpdateForm(Protocol):
    """What outputs mean; frozen and described by its settings.

    Attributes:
        num_outputs: that a model must have for each parameter.
        num_weights: of what is learned along.
        num_states: how many tensors are remembered of each tensor.
    """

    num_outputs: int
    num_weights: int
    num_states: int

    def initial_weights(self) -> Float[Tensor, "weights"]:
        """Where these begin."""
        ...

    def start(self, values: Float[Tensor, "S *shape"]) -> State:
        """What is remembered before the first step."""
        ...

    def change(
        self,
        weights: Float[Tensor, "R weights"],
        outputs: Float[Tensor, "S size outputs"],
        gradients: Float[Tensor, "S *shape"],
        state: State,
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S size"], State]:
        """What is taken off the parameters of a tensor, and what is remembered from now on."""
        ...


@dataclass(frozen=True)
class DirectionTimesExponent:
    """`direction_scale * d * exp(magnitude_scale * m)` of two outputs d and m.

    Both scales are 0.001 in Metz et al. (2022), and 0.01 in Kofinas et al. (ICLR 2024), who add the
    change where we, like the others, take it off.

    Attributes:
        direction_scale, magnitude_scale: of the outputs.
    """

    direction_scale: float = 1e-3
    magnitude_scale: float = 1e-3

    num_outputs = 2
    num_weights = num_states = 0

    def initial_weights(self) -> Float[Tensor, "weights"]:
        return torch.zeros(0)

    def start(self, values: Float[Tensor, "S *shape"]) -> State:
        return ()

    def change(
        self,
        weights: Float[Tensor, "R weights"],
        outputs: Float[Tensor, "S size outputs"],
        gradients: Float[Tensor, "S *shape"],
        state: State,
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S size"], State]:
        direction, magnitude = outputs.unbind(2)
        return self.direction_scale * direction * (self.magnitude_scale * magnitude).exp(), ()


@in_ranges
@dataclass(frozen=True)
class AdamWithCorrection:
    """Adam's step plus a learned correction: `rate * (m / (sqrt(v) + eps) + share * d * exp(..))`.

    After Zhou et al. (UNF, NeurIPS 2024), whose first term is a momentum; with Adam's in its place
    learning begins, but for a correction a thousand times smaller, at an optimizer that works.

    Attributes:
        rate, share: first values of two numbers that are learned along.
        betas, eps: Adam's.
        magnitude_scale: of the second output, as in `DirectionTimesExponent`.
    """

    rate: PositiveFloat = 1e-3
    share: PositiveFloat = 1e-3
    betas: Sequence[float] = (0.9, 0.999)
    eps: float = 1e-8
    magnitude_scale: float = 1e-3

    num_outputs = num_weights = num_states = 2

    def __post_init__(self):
        object.__setattr__(self, "betas", tuple(self.betas))  # configs give lists

    def initial_weights(self) -> Float[Tensor, "weights"]:
        return torch.tensor([math.log(self.rate), math.log(self.share)]) / LOG_GAIN

    def start(self, values: Float[Tensor, "S *shape"]) -> State:
        zeros = torch.zeros_like(flat(values))
        return zeros, zeros.clone()

    def change(
        self,
        weights: Float[Tensor, "R weights"],
        outputs: Float[Tensor, "S size outputs"],
        gradients: Float[Tensor, "S *shape"],
        state: State,
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S size"], State]:
        gradients, count = flat(gradients), (steps + 1).to(gradients).unsqueeze(1)
        first = torch.lerp(gradients, state[0], self.betas[0])
        second = torch.lerp(gradients.square(), state[1], self.betas[1])
        root = (second / (1 - self.betas[1] ** count)).sqrt() + self.eps
        adam = first / (1 - self.betas[0] ** count) / root
        rate, share = (LOG_GAIN * weights).exp().split(1, dim=1)
        direction, magnitude = outputs.unbind(2)
        correction = direction * (self.magnitude_scale * magnitude).exp()
        return rate * (adam + share * correction), (first, second)
