"""Parameter, gradient and sums of gradients by their logarithms (Kofinas et al., ICLR 2024).

A number x is told by (log |x| / 10, sign x), where it is tiny by (-1, e^10 x): fourteen features
with the published five momenta, v <- decay v + g. Nothing is divided by what other parameters are,
and nothing tells the step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.learned_optimizers.tensor_features import State, flat

LOG_RANGE = 10.0  # numbers below e^-10 are tiny


@dataclass(frozen=True)
class LogFeatures:
    """Two features of each number.

    Attributes:
        decays: of the sums of gradients.
    """

    decays: Sequence[float] = (0.5, 0.9, 0.99, 0.999, 0.9999)

    num_states = 1

    def __post_init__(self):
        object.__setattr__(self, "decays", tuple(self.decays))  # configs give lists

    @property
    def num_features(self) -> int:
        return 2 * (2 + len(self.decays))

    def start(self, values: Float[Tensor, "S *shape"]) -> State:
        return (values.new_zeros(*flat(values).shape, len(self.decays)),)

    def step(
        self,
        values: Float[Tensor, "S *shape"],
        gradients: Float[Tensor, "S *shape"],
        state: State,
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S size features"], State]:
        values, gradients = flat(values).unsqueeze(2), flat(gradients).unsqueeze(2)
        momenta = state[0] * state[0].new_tensor(self.decays) + gradients
        return log_and_sign(torch.cat([values, gradients, momenta], 2)), (momenta,)


def log_and_sign(values: Float[Tensor, "*B n"]) -> Float[Tensor, "*B two_n"]:
    """The first features of all numbers, then the second ones (Andrychowicz et al., 2016)."""
    tiny = math.exp(-LOG_RANGE)
    size = values.abs()
    is_tiny = size < tiny
    logs = torch.where(is_tiny, -1.0, size.clamp_min(tiny).log() / LOG_RANGE)
    return torch.cat([logs, torch.where(is_tiny, values / tiny, values.sign())], -1)
