"""Baselines, each tuned by one budget: a grid of rates, decays and schedules, on given tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.learned_optimizers.inner_curves import train_networks
from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.learned_optimizers.inner_training import InnerTraining
from nn_graphs.learned_optimizers.stacked_baselines import HandDesigned, RateSchedule, hand_designed
from nn_graphs.ranges import NonNegative, PositiveFloat, PositiveInt, in_ranges


@in_ranges
@dataclass(frozen=True)
class TuningBudget:
    """The grid that every baseline is tuned on.

    Attributes:
        rates: half-decades, as the defaults are, or others.
        decays: weight decays.
        schedules: of the rate.
        num_seeds: networks of each setting and task.
    """

    rates: Sequence[PositiveFloat] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
    decays: Sequence[NonNegative] = (0.0,)
    schedules: Sequence[RateSchedule] = ("constant", "cosine")
    num_seeds: PositiveInt = 2


@dataclass(frozen=True)
class TunedBaseline:
    """A rule with the setting that did best.

    Attributes:
        name: of the rule.
        update: the rule, with its schedule.
        weights: rate and weight decay.
        val_loss: mean over tasks and seeds, in units of that of guessing.
    """

    name: str
    update: HandDesigned
    weights: Float[Tensor, "1 2"]
    val_loss: float

    @property
    def setting(self) -> str:
        """In words."""
        rate, decay = self.weights[0].tolist()
        return f"rate {rate:g}, weight decay {decay:g}, {self.update.schedule}"


def tune(
    name: str,
    tasks: Sequence[InnerTask],
    budget: TuningBudget,
    *,
    num_steps: int,
    keys: Int32[Tensor, "seeds"],
) -> TunedBaseline:
    """The setting of a rule with the least loss on validation inputs at the end of inner runs.

    Args:
        name: of the rule, see `hand_designed`.
        tasks: those that learned optimizers are trained on, and no others.
        budget: which settings are tried.
        num_steps: of an inner run.
        keys: of the networks of each setting; all settings have the same.

    Raises:
        NNGraphsError: there is no task, or nothing to choose from.
    """
    settings = [(rate, decay) for rate in budget.rates for decay in budget.decays]
    if not tasks or not settings or not budget.schedules:
        raise NNGraphsError(
            f"tune {name}",
            found=f"there are {len(tasks)} tasks, {len(settings)} settings and "
            f"{len(budget.schedules)} schedules.",
            do="Give one or more of each.",
        )
    rows = torch.tensor(settings).repeat_interleave(len(keys), 0)
    found = []
    for schedule in budget.schedules:
        update = hand_designed(name, schedule=schedule, horizon=num_steps)
        losses = torch.zeros(len(settings))
        for task in tasks:
            curves = train_networks(
                InnerTraining(task, update),
                rows.to(task.data.mean),
                keys.repeat(len(settings)).to(task.data.device),
                num_steps=num_steps,
                has_test=False,
            )
            of_task = curves.val_losses[:, -1].view(len(settings), -1).mean(1)
            losses = losses + of_task.cpu() / task.guessing_loss / len(tasks)
        best = int(losses.argmin())
        weights = torch.tensor([settings[best]])
        found.append(TunedBaseline(name, update, weights, losses[best].item()))
    return min(found, key=lambda one: one.val_loss)
