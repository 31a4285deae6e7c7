"""Persistent evolution strategies (Vicol et al., ICML 2021): meta-gradients of long inner runs.

Of each of N pairs, two inner runs are alike but for their meta-parameters, theta + eps and
theta - eps. Runs go on from truncation to truncation, with a new eps each time; losses are
credited to the sum of all eps that a run has had, which makes truncations unbiased (up to terms
of order sigma squared). A pair whose run ends inside a truncation begins anew, and its later
losses are credited to the last eps alone.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.classifiers.draws import joined
from nn_graphs.ranges import PositiveFloat, PositiveInt, in_ranges


@runtime_checkable
class InnerRuns(Protocol):
    """Many inner runs at once; all tensors of a state have one row per run."""

    def start(self, keys: Int32[Tensor, "R"]) -> tuple[Tensor, ...]:
        """States before the first step; runs of one key begin alike."""
        ...

    def step(
        self,
        theta: Float[Tensor, "R M"],
        state: tuple[Tensor, ...],
        keys: Int32[Tensor, "R"],
        steps: Int32[Tensor, "R"],
    ) -> tuple[Float[Tensor, "R"], tuple[Tensor, ...]]:
        """Losses before the step, and states after it."""
        ...


@dataclass(frozen=True)
class Pairs:
    """Where N pairs of runs are; plain tensors, so that training goes on from a file.

    Attributes:
        state: of all runs, a pair's two beside each other (rows 2i and 2i + 1).
        accumulated: the sum of all eps that each pair has had.
        keys: of each pair's present run.
        steps: how many it has made.
    """

    state: tuple[Tensor, ...]
    accumulated: Float[Tensor, "N M"]
    keys: Int32[Tensor, "N"]
    steps: Int32[Tensor, "N"]


@in_ranges
@dataclass(frozen=True)
class PersistentEvolution:
    """An estimator of the gradient of the mean loss per inner step.

    Attributes:
        truncation: inner steps between two meta-gradients.
        horizon: of an inner run.
        sigma: deviation of eps.

    Raises:
        NNGraphsError: a truncation is longer than the inner run, or a number is not positive.
    """

    truncation: PositiveInt = 20
    horizon: PositiveInt = 200
    sigma: PositiveFloat = 0.01

    def __post_init__(self):
        if self.truncation > self.horizon:
            raise NNGraphsError(
                f"estimate meta-gradients over {self.truncation} steps",
                found=f"inner runs have {self.horizon} steps.",
                do="Give a truncation from 1 to the horizon.",
            )

    def start(self, runs: InnerRuns, theta: Float[Tensor, "M"], keys: Int32[Tensor, "N"]) -> Pairs:
        """Pairs before their first step, one per key.

        Raises:
            NNGraphsError: there is no key.
        """
        if not len(keys):
            found = "no key is given."
            raise NNGraphsError("start inner runs", found=found, do="Give one per pair.")
        nothing = theta.new_zeros(len(keys), len(theta))
        return Pairs(runs.start(_twice(keys)), nothing, keys, torch.zeros_like(keys))

    def gradient(
        self,
        runs: InnerRuns,
        theta: Float[Tensor, "M"],
        pairs: Pairs,
        *,
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "M"], Float[Tensor, ""], Pairs]:
        """The meta-gradient of one truncation, the mean loss in it, and where the pairs then are.

        A pair with a loss that is not finite counts as one without difference at that step.
        """
        shape, place = pairs.accumulated.shape, {"dtype": theta.dtype, "device": theta.device}
        eps = self.sigma * torch.randn(shape, generator=generator, **place)
        perturbed = theta + torch.stack([eps, -eps], 1).flatten(0, 1)
        credit, state, keys, steps = pairs.accumulated + eps, pairs.state, pairs.keys, pairs.steps
        total, losses_seen = torch.zeros_like(eps), []
        for _ in range(self.truncation):
            losses, state = runs.step(perturbed, state, _twice(keys), _twice(steps))
            losses_seen.append(losses)
            difference = losses[::2] - losses[1::2]
            total += torch.where(difference.isfinite(), difference, 0.0).unsqueeze(1) * credit
            steps = steps + 1
            is_over = steps >= self.horizon
            if is_over.any():
                keys = torch.where(is_over, joined(keys, self.horizon), keys)
                state = _replaced(state, runs.start(_twice(keys)), _twice(is_over))
                credit = torch.where(is_over.unsqueeze(1), eps, credit)
                steps = torch.where(is_over, 0, steps)
        # Runs that end with the truncation have had no eps yet.
        credit = torch.where((steps == 0).unsqueeze(1), 0.0, credit)
        gradient = total.mean(0) / (2 * self.sigma**2 * self.truncation)
        return gradient, torch.stack(losses_seen).nanmean(), Pairs(state, credit, keys, steps)


def _twice(values: Tensor) -> Tensor:
    """What both runs of a pair have."""
    return values.repeat_interleave(2, 0)


def _replaced(old: tuple[Tensor, ...], new: tuple[Tensor, ...], rows: Tensor) -> tuple[Tensor, ...]:
    return tuple(
        torch.where(rows.reshape(-1, *[1] * (before.ndim - 1)), after, before)
        for before, after in zip(old, new, strict=True)
    )
