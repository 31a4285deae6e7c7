"""A small MLP that reads each parameter by itself: one runs on every architecture.

That of Metz et al. (2022), with two hidden layers of 32, and that of Kofinas et al. (ICLR 2024),
with two of 64, differ in their features and outputs (see `nn_graphs.learned_optimizers.registry`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.learned_optimizers.optimizee import Optimizee
from nn_graphs.learned_optimizers.update_models import UpdateFunction, UpdateModel
from nn_graphs.networks.initializers import torch_initial_params
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.networks.stacked import stacked_forward

BLOCK = 1 << 14  # parameters whose hidden values stay in the cache


@dataclass(frozen=True)
class ParameterMLP(UpdateModel):
    """The settings of the MLP.

    Attributes:
        hidden: widths of the hidden layers.
    """

    hidden: Sequence[int] = (32, 32)

    is_local = True

    def __post_init__(self):
        object.__setattr__(self, "hidden", tuple(self.hidden))  # configs give lists

    def make(self, num_features: int, num_outputs: int) -> UpdateFunction:
        layout = (num_features, *self.hidden, num_outputs)
        return StackedMLP(NetworkSpec.mlp(layout, activation="relu"))


class StackedMLP(UpdateFunction):
    """The MLP by given weights: as many MLPs as there are rows are one stack themselves."""

    def __init__(self, spec: NetworkSpec):
        self.spec, self.num_weights = spec, spec.num_params

    def initial_weights(self, seed: int) -> Float[Tensor, "M"]:
        return torch_initial_params(self.spec, torch.tensor([seed], dtype=torch.int32))[0]

    def __call__(
        self,
        weights: Float[Tensor, "R M"],
        optimizee: Optimizee,
        features: Float[Tensor, "S P features"],
    ) -> Float[Tensor, "S P outputs"]:
        rows = features.reshape(len(weights), -1, features.shape[2])
        is_large = rows.shape[1] > BLOCK and not torch.is_grad_enabled()
        parts = rows.split(BLOCK, 1) if is_large else [rows]
        outputs = [stacked_forward(self.spec, weights, part) for part in parts]
        return torch.cat(outputs, 1).reshape(*features.shape[:2], -1)
