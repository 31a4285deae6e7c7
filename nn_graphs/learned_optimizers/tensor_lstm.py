"""An LSTM over the tensors of a network, and an MLP for each parameter behind it.

The published baseline of Kofinas et al. (ICLR 2024): features through a linear layer, their mean
over each tensor, one LSTM cell that steps over the tensors in their order, and its state beside the
features of every parameter of the tensor. It remembers nothing from step to step.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.mlp import make_mlp
from nn_graphs.learned_optimizers.optimizee import Optimizee
from nn_graphs.learned_optimizers.update_models import ModuleFunction, UpdateFunction, UpdateModel


@dataclass(frozen=True)
class TensorLSTM(UpdateModel):
    """The settings of the LSTM.

    Attributes:
        dim: of its state and of the hidden layers.
    """

    dim: int = 32

    is_local = False

    def make(self, num_features: int, num_outputs: int) -> UpdateFunction:
        return ModuleFunction(lambda: TensorLSTMModule(num_features, num_outputs, dim=self.dim))


class TensorLSTMModule(nn.Module):
    """The module `(optimizee, features [S, P, F]) -> outputs [S, P, num_outputs]`."""

    def __init__(self, num_features: int, num_outputs: int, *, dim: int):
        super().__init__()
        self.embedding = nn.Sequential(nn.Linear(num_features, dim), nn.ReLU())
        self.cell = nn.LSTMCell(dim, dim)
        self.head = make_mlp([num_features + dim, dim, num_outputs])

    def forward(
        self, optimizee: Optimizee, features: Float[Tensor, "S P features"]
    ) -> Float[Tensor, "S P outputs"]:
        state, outputs = None, []
        for slot in optimizee.layout.slots:
            own = features[:, slot.offset : slot.stop]
            state = self.cell(self.embedding(own).mean(1), state)
            spread = state[0].unsqueeze(1).expand(-1, slot.size, -1)
            outputs.append(self.head(torch.cat([own, spread], 2)))
        return torch.cat(outputs, 1)
