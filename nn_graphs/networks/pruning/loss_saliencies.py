"""Saliencies by the loss on some data, before training: SNIP and GraSP.

Both look at a copy, in the module's own mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nn_graphs.networks.pruning.attached_masks import pruning_masks
from nn_graphs.networks.pruning.scoring import (
    Batches,
    Loss,
    effective,
    gradients,
    scoring_copy,
    shared_losses,
)


@dataclass(frozen=True, eq=False)
class Snip:
    """`|w dL/dw|`: how much the loss moves when a connection is weakened.

    Lee et al., ICLR 2019, equation 5, without their division by the sum, which changes no order.

    Attributes:
        batches: pairs (inputs, targets); the loss is their mean.
        loss: of outputs and targets.
    """

    batches: Batches
    loss: Loss = F.cross_entropy

    def __call__(self, module: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
        copied, weights = scoring_copy(module, names)
        total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for loss in shared_losses(copied, self.batches, self.loss):
            for name, gradient in zip(names, gradients(loss, weights), strict=True):
                total[name] += gradient
        values = effective(weights, pruning_masks(copied, names))
        return {name: (values[name] * total[name]).abs() for name in names}


@dataclass(frozen=True, eq=False)
class Grasp:
    """`w (H g)`: how much the norm of the gradient falls when a weight goes.

    Wang et al., ICLR 2020, equation 8 with the sign turned, for here large saliencies stay. Weights
    whose loss makes the gradient grow have negative ones and go first.

    Attributes:
        batches, loss: as for `Snip`.
        temperature: outputs are divided by it, 200 as published.
    """

    batches: Batches
    loss: Loss = F.cross_entropy
    temperature: float = 200.0

    def __call__(self, module: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
        copied, weights = scoring_copy(module, names)
        mean = [torch.zeros_like(weight) for weight in weights.values()]
        for loss in self._losses(copied):
            mean = [a + b for a, b in zip(mean, gradients(loss, weights), strict=True)]
        products = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for loss in self._losses(copied):
            own = gradients(loss, weights, create_graph=True)
            inner = sum((a * b).sum() for a, b in zip(own, mean, strict=True))
            for name, product in zip(names, gradients(inner, weights), strict=True):
                products[name] += product
        values = effective(weights, pruning_masks(copied, names))
        return {name: values[name] * products[name] for name in names}

    def _losses(self, module: nn.Module):
        return shared_losses(module, self.batches, self.loss, temperature=self.temperature)
