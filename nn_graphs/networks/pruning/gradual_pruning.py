"""Pruning while training: the density falls along a cubic curve.

Zhu & Gupta, 2017, "To prune, or not to prune", equation 1, in densities instead of sparsities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning.amounts import Density
from nn_graphs.networks.pruning.mask_choice import Scope
from nn_graphs.networks.pruning.pruning import PruningReport, prune
from nn_graphs.networks.pruning.simple_saliencies import Saliency, magnitude


def cubic_density(
    step: int, *, first_step: int, last_step: int, final: float, initial: float = 1.0
) -> float:
    """`final + (initial - final) (1 - t)^3`, for t from 0 at the first step to 1 at the last."""
    t = (step - first_step) / (last_step - first_step)
    return final + (initial - final) * (1 - min(max(t, 0.0), 1.0)) ** 3


@dataclass(frozen=True, eq=False)
class GradualPruning:
    """Call it after every step of training; every so often it prunes.

        pruning = GradualPruning(module, final=0.05, first_step=100, last_step=2000)
        for step, (inputs, labels) in enumerate(batches):
            ...
            optimizer.step()
            pruning(step)

    Attributes:
        module: is pruned in place.
        final: the density from `last_step` on.
        first_step, last_step, every: when masks change.
        saliency, names, scope: as in `prune`.

    Raises:
        NNGraphsError: the steps do not make a schedule, or the density is no share.
    """

    module: nn.Module
    final: float
    first_step: int
    last_step: int
    every: int = 100
    saliency: Saliency = magnitude
    names: Sequence[str] | None = None
    scope: Scope = "global"

    def __post_init__(self):
        if not (0 <= self.first_step < self.last_step and self.every > 0 and 0 <= self.final <= 1):
            raise NNGraphsError(
                f"prune to a density of {self.final} between steps {self.first_step} and "
                f"{self.last_step}, every {self.every}",
                found="these make no schedule.",
                do="Give a first step before the last, and a density from 0 to 1.",
            )

    def is_due(self, step: int) -> bool:
        is_between = self.first_step <= step < self.last_step
        return (is_between and (step - self.first_step) % self.every == 0) or step == self.last_step

    def __call__(self, step: int) -> PruningReport | None:
        """Prunes where it is due, and says what is left."""
        if not self.is_due(step):
            return None
        density = cubic_density(
            step, first_step=self.first_step, last_step=self.last_step, final=self.final
        )
        amount = Density(density)
        return prune(
            self.module, amount, saliency=self.saliency, names=self.names, scope=self.scope
        )
