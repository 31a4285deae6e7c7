"""The rules of optimizers designed by hand, tensor by tensor, for a stack of networks at once.

| rule | source |
|---|---|
| `Momentum` | Sutskever et al. (ICML 2013); with a decay of 0 plain gradient descent |
| `Adam` | Kingma & Ba (ICLR 2015); with weight decay AdamW (Loshchilov & Hutter, ICLR 2019) |
| `Adafactor` | Shazeer & Stern (ICML 2018), as `torch.optim.Adafactor` computes it |
| `Lion` | Chen et al. (NeurIPS 2023) |
| `Muon` | Jordan et al. (2024), at the size of Adam's steps (Liu et al., 2025); vectors by Adam |
| `ScheduleFree` | Defazio et al. (NeurIPS 2024), on Adam |
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.learned_optimizers.tensor_features import State

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
MUON_SCALE = 0.2  # root mean square of Adam's steps


class UpdateRule(ABC):
    """What a rule remembers of a tensor, and how it moves it.

    Attributes:
        num_states: how many tensors are remembered of each tensor.
    """

    num_states: int

    @abstractmethod
    def start(self, values: Float[Tensor, "S *shape"]) -> State:
        """What is remembered before the first step."""

    @abstractmethod
    def change(
        self,
        values: Float[Tensor, "S *shape"],
        gradients: Float[Tensor, "S *shape"],
        state: State,
        count: Float[Tensor, "S *ones"],
        rate: Float[Tensor, "S *ones"],
    ) -> tuple[Float[Tensor, "S *shape"], State]:
        """What is taken off a tensor, and what is remembered from now on.

        Args:
            values, gradients: of the tensor.
            state: as it was.
            count: number of the step, from 1.
            rate: the learning rate of now.
        """

    def judged(self, values: Float[Tensor, "S *shape"], state: State) -> Float[Tensor, "S *shape"]:
        """Where a network is evaluated: by default where it is."""
        return values


@dataclass(frozen=True)
class Momentum(UpdateRule):
    """Gradients, or decaying sums of them."""

    decay: float = 0.9

    num_states = 1

    def start(self, values: Tensor) -> State:
        return (torch.zeros_like(values),)

    def change(self, values, gradients, state, count, rate) -> tuple[Tensor, State]:
        total = self.decay * state[0] + gradients
        return rate * total, (total,)


@dataclass(frozen=True)
class Adam(UpdateRule):
    """Means of gradients over roots of means of their squares, both without their bias."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    num_states = 2

    def start(self, values: Tensor) -> State:
        return torch.zeros_like(values), torch.zeros_like(values)

    def change(self, values, gradients, state, count, rate) -> tuple[Tensor, State]:
        first = torch.lerp(gradients, state[0], self.betas[0])
        second = torch.lerp(gradients.square(), state[1], self.betas[1])
        root = (second / (1 - self.betas[1] ** count)).sqrt() + self.eps
        return rate * (first / (1 - self.betas[0] ** count)) / root, (first, second)


@dataclass(frozen=True)
class Lion(UpdateRule):
    """Signs of an average of gradients."""

    betas: tuple[float, float] = (0.9, 0.99)

    num_states = 1

    def start(self, values: Tensor) -> State:
        return (torch.zeros_like(values),)

    def change(self, values, gradients, state, count, rate) -> tuple[Tensor, State]:
        sign = torch.lerp(gradients, state[0], self.betas[0]).sign()
        return rate * sign, (torch.lerp(gradients, state[0], self.betas[1]),)


@dataclass(frozen=True)
class Adafactor(UpdateRule):
    """Factored second moments, steps relative to the size of the parameters, no first moment."""

    decay_power: float = -0.8
    smallest_size: float = 1e-3
    largest_step: float = 1.0

    num_states = 2  # rows and columns; of a vector the second is empty

    def start(self, values: Tensor) -> State:
        if values.ndim < 3:
            return torch.zeros_like(values), values.new_zeros(len(values), 0)
        return torch.zeros_like(values[..., :1]), torch.zeros_like(values[..., :1, :])

    def change(self, values, gradients, state, count, rate) -> tuple[Tensor, State]:
        share, square = count**self.decay_power, gradients.square()
        eps = torch.finfo(values.dtype).eps
        if values.ndim < 3:
            row, column = torch.lerp(state[0], square, share), state[1]
            variance = row
        else:
            row = torch.lerp(state[0], square.mean(-1, keepdim=True), share)
            column = torch.lerp(state[1], square.mean(-2, keepdim=True), share)
            variance = row @ column / row.mean(-2, keepdim=True).clamp_min(eps)
        step = gradients * variance.clamp_min(eps * eps).rsqrt()
        step = step / (_rms(step) / self.largest_step).clamp_min(1.0)
        size = _rms(values).clamp_min(self.smallest_size)
        return size * torch.minimum(rate, count.rsqrt()) * step, (row, column)


@dataclass(frozen=True)
class Muon(UpdateRule):
    """Momenta of matrices, made orthogonal; kernels are matrices with a row per output channel."""

    decay: float = 0.95
    num_iterations: int = 5
    adam: Adam = Adam()

    num_states = 2

    def start(self, values: Tensor) -> State:
        return self.adam.start(values)

    def change(self, values, gradients, state, count, rate) -> tuple[Tensor, State]:
        if values.ndim < 3:
            return self.adam.change(values, gradients, state, count, rate)
        average = torch.lerp(gradients, state[0], self.decay)
        ahead = torch.lerp(gradients, average, self.decay).flatten(2)
        step = orthogonal(ahead, self.num_iterations)
        scale = MUON_SCALE * max(ahead.shape[1:]) ** 0.5
        return rate * scale * step.reshape(values.shape), (average, state[1])


@dataclass(frozen=True)
class ScheduleFree(UpdateRule):
    """Adam whose steps move a point, the mean of whose places is evaluated."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    num_states = 2  # the point, second moments

    def start(self, values: Tensor) -> State:
        return values.clone(), torch.zeros_like(values)

    def change(self, values, gradients, state, count, rate) -> tuple[Tensor, State]:
        point, second = state[0], torch.lerp(gradients.square(), state[1], self.betas[1])
        step = gradients / ((second / (1 - self.betas[1] ** count)).sqrt() + self.eps)
        share = 1 / count
        moved = torch.lerp(values, point, share)
        moved = moved + rate * (self.betas[0] * (1 - share) - 1) * step
        return values - moved, (point - rate * step, second)

    def judged(self, values: Tensor, state: State) -> Tensor:
        return torch.lerp(values, state[0], 1 - 1 / self.betas[0])


def orthogonal(
    matrices: Float[Tensor, "S rows columns"], num_iterations: int
) -> Float[Tensor, "S rows columns"]:
    """About the nearest matrices with singular values of 1, by Newton-Schulz iterations."""
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp_min(1e-7)[:, None, None]
    a, b, c = NEWTON_SCHULZ
    for _ in range(num_iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if is_tall else x


def _rms(values: Float[Tensor, "S *shape"]) -> Float[Tensor, "S *ones"]:
    """The root mean square of each network's tensor."""
    found = values.reshape(len(values), -1).square().mean(1).sqrt()
    return found.reshape(-1, *[1] * (values.ndim - 1))
