"""What an update is told of every parameter of a tensor, and what it remembers of the tensor.

Features are made tensor by tensor, for a whole stack of networks at once. What is the same for all
parameters of a tensor does not depend on their order, so that permuted neurons have permuted
features.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int32
from torch import Tensor

TIME_SCALES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
MEAN_SQUARE_EPS = 1e-5

State = tuple[Tensor, ...]


@runtime_checkable
class TensorFeatures(Protocol):
    """A set of features; frozen and described by its settings.

    Attributes:
        num_features: of each parameter.
        num_states: how many tensors are remembered.
    """

    num_features: int
    num_states: int

    def start(self, values: Float[Tensor, "S *shape"]) -> State:
        """What is remembered before the first step; every tensor has a row per network."""
        ...

    def step(
        self,
        values: Float[Tensor, "S *shape"],
        gradients: Float[Tensor, "S *shape"],
        state: State,
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S size features"], State]:
        """Features of all parameters of a tensor, and what is remembered from now on.

        Args:
            values, gradients: of the tensor.
            state: as it was.
            steps: that each network has made.
        """
        ...


def flat(values: Float[Tensor, "S *shape"]) -> Float[Tensor, "S size"]:
    """A tensor of each network in one row."""
    return values.reshape(len(values), -1)


def averaged(
    before: Float[Tensor, "S size decays"], now: Float[Tensor, "S size"], decays: tuple[float, ...]
) -> Float[Tensor, "S size decays"]:
    """Moving averages after another value, one for each decay."""
    return torch.lerp(now.unsqueeze(-1), before, before.new_tensor(decays))


def normed(values: Float[Tensor, "S size features"]) -> Float[Tensor, "S size features"]:
    """Each feature in units of its root mean square over the tensor."""
    return values * (values.square().mean(1, keepdim=True) + MEAN_SQUARE_EPS).rsqrt()


def with_times(
    features: Float[Tensor, "S size features"], steps: Int32[Tensor, "S"]
) -> Float[Tensor, "S size features_and_times"]:
    """Eleven features of the step, tanh(t / s - 1), behind those of the parameters."""
    times = torch.tanh(steps.to(features).unsqueeze(1) / features.new_tensor(TIME_SCALES) - 1)
    return torch.cat([features, times.unsqueeze(1).expand(-1, features.shape[1], -1)], 2)
