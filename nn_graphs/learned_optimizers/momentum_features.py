"""Parameter, gradient and averages of gradients, as Metz et al. (2022, "LOLv2") tell of them.

Each is divided by its root mean square over the tensor; behind them are eleven features of the
step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.learned_optimizers.tensor_features import (
    TIME_SCALES,
    State,
    averaged,
    flat,
    normed,
    with_times,
)


@dataclass(frozen=True)
class MomentumFeatures:
    """Nineteen features with the published decays.

    Attributes:
        decays: of the averages of gradients.
    """

    decays: Sequence[float] = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)

    num_states = 1

    def __post_init__(self):
        object.__setattr__(self, "decays", tuple(self.decays))  # configs give lists

    @property
    def num_features(self) -> int:
        return 2 + len(self.decays) + len(TIME_SCALES)

    def start(self, values: Float[Tensor, "S *shape"]) -> State:
        return (values.new_zeros(*flat(values).shape, len(self.decays)),)

    def step(
        self,
        values: Float[Tensor, "S *shape"],
        gradients: Float[Tensor, "S *shape"],
        state: State,
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S size features"], State]:
        values, gradients = flat(values), flat(gradients)
        momenta = averaged(state[0], gradients, self.decays)
        features = torch.cat([values.unsqueeze(2), gradients.unsqueeze(2), momenta], 2)
        return with_times(normed(features), steps), (momenta,)
