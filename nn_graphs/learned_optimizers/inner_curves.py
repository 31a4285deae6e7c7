"""Whole inner trainings, watched: losses at every step, validation on the way, test at the end."""

import time
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.learned_optimizers.inner_training import InnerTraining


@dataclass(frozen=True)
class InnerCurves:
    """What became of the networks of one stack.

    Attributes:
        train_losses: before every step, on its batch.
        val_steps: after how many steps they were validated.
        val_losses: on all inputs for validation.
        test_losses, test_qualities: after the last step; qualities are accuracies, or R2.
        has_diverged: whose loss was not a number, or beyond the limit, at any step.
        seconds: that all steps took, without validation.
    """

    train_losses: Float[Tensor, "S steps"]
    val_steps: list[int]
    val_losses: Float[Tensor, "S evaluations"]
    test_losses: Float[Tensor, "S"]
    test_qualities: Float[Tensor, "S"]
    has_diverged: Bool[Tensor, "S"]
    seconds: float


def train_networks(
    training: InnerTraining,
    weights: Float[Tensor, "R M"],
    keys: Int32[Tensor, "S"],
    *,
    num_steps: int,
    val_every: int | None = None,
    has_test: bool = True,
) -> InnerCurves:
    """Trains a stack of networks by one update.

    Args:
        training: which task, and which update.
        weights: of the update, one row for all networks or one for each.
        keys: of the networks; those of one key begin alike and see the same batches.
        num_steps: of each.
        val_every: steps between validations; None: at the end alone.
        has_test: whether test inputs are scored; else these scores are NaN.

    Raises:
        NNGraphsError: there are no networks, or no steps.
    """
    if num_steps < 1 or not len(keys):
        raise NNGraphsError(
            f"train {len(keys)} networks for {num_steps} steps",
            found="that is nothing.",
            do="Give a key for each network, and at least one step.",
        )
    every = val_every or num_steps
    losses, val_steps, val_losses, seconds = [], [], [], 0.0
    with torch.no_grad():
        state = training.start(keys)
        for number in range(num_steps):
            start = time.perf_counter()
            before, state = training.step(weights, state, keys, torch.full_like(keys, number))
            seconds += time.perf_counter() - start
            losses.append(before)
            if (number + 1) % every == 0 or number + 1 == num_steps:
                val_steps.append(number + 1)
                val_losses.append(training.val_losses(state, keys))
        scores = (torch.full_like(before, torch.nan),) * 2
        if has_test:
            scores = training.task.test_scores(training.judged_params(state), keys)
    return InnerCurves(
        torch.stack(losses, 1), val_steps, torch.stack(val_losses, 1), *scores, state[1], seconds
    )


def steps_to_reach(
    curve: Float[Tensor, "evaluations"], steps: list[int], target: float
) -> int | None:
    """The first of these steps after which a curve is at a target or below; None: never."""
    reached = (curve <= target).nonzero()
    return steps[int(reached[0])] if len(reached) else None
