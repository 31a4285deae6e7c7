"""Meta-gradients by back-propagation: through truncations of inner runs, or through single steps.

Truncated: the losses after each of some steps lead back through all of them; what was before is a
constant, and runs go on from truncation to truncation. One-step (Kofinas et al., ICLR 2024): each
update is judged by the loss right after it on the batch that it was made from, and by nothing
later.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int32
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nn_graphs.errors import NNGraphsError
from nn_graphs.learned_optimizers.persistent_evolution import InnerRuns
from nn_graphs.networks.classifiers.draws import joined
from nn_graphs.ranges import PositiveInt, in_ranges

Weights = Float[Tensor, "M"]


@runtime_checkable
class JudgedRuns(InnerRuns, Protocol):
    """Inner runs whose losses can be asked for between steps."""

    def losses(
        self, state: tuple[Tensor, ...], keys: Int32[Tensor, "R"], steps: Int32[Tensor, "R"]
    ) -> Float[Tensor, "R"]:
        """Of the networks as they are, on the batches of a step."""
        ...


@dataclass(frozen=True)
class Running:
    """Where inner runs are; plain tensors, so that training goes on from a file.

    Attributes:
        state: of all runs.
        keys: of each one's present run.
        steps: how many it has made.
    """

    state: tuple[Tensor, ...]
    keys: Int32[Tensor, "N"]
    steps: Int32[Tensor, "N"]


@in_ranges
@dataclass(frozen=True)
class UnrolledGradients:
    """The gradient of the mean loss over truncations, by back-propagation through them.

    Attributes:
        truncation: inner steps between two meta-gradients.
        horizon: of an inner run, which then begins anew.
        checkpoint_every: steps that are computed again on the way back, instead of kept in memory
            (`torch.utils.checkpoint`); None: all are kept.

    Raises:
        NNGraphsError: a truncation is longer than the inner run, or than a number of checkpoints.
    """

    truncation: PositiveInt = 20
    horizon: PositiveInt = 200
    checkpoint_every: PositiveInt | None = None

    def __post_init__(self):
        _check_lengths(self.truncation, self.horizon)

    def start(self, runs: JudgedRuns, weights: Weights, keys: Int32[Tensor, "N"]) -> Running:
        """Runs before their first step, one per key.

        Raises:
            NNGraphsError: there is no key.
        """
        return _started(runs, keys)

    def gradient(
        self, runs: JudgedRuns, weights: Weights, running: Running, *, generator: torch.Generator
    ) -> tuple[Weights, Float[Tensor, ""], Running]:
        """The meta-gradient of one truncation, the mean loss in it, and where the runs then are."""
        leaf = weights.detach().requires_grad_()
        now = running.state, running.keys, running.steps
        total, left, size = weights.new_zeros(()), self.truncation, self.checkpoint_every
        with torch.enable_grad():
            while left:
                count = min(size or left, left)
                summed, *now = self._steps(runs, leaf, count, *now)
                total, left = total + summed, left - count
            # The loss before the first step is no doing of these weights, that after the last is.
            state, keys, steps = now
            after = runs.losses(state, keys, steps).mean()
            loss = total / self.truncation
            (loss + after / self.truncation).backward()
        detached = tuple(tensor.detach() for tensor in state)
        gradient = torch.zeros_like(weights) if leaf.grad is None else leaf.grad
        return gradient, loss.detach(), Running(detached, keys, steps)

    def _steps(
        self, runs: JudgedRuns, leaf: Tensor, count: int, state: tuple, keys: Tensor, steps: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor, Tensor]:
        """Some steps: the sum of the mean losses before each, and where the runs then are."""

        def work(leaf: Tensor, keys: Tensor, steps: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            total = leaf.new_zeros(())
            for _ in range(count):
                state, keys, steps = _begun_anew(runs, state, keys, steps, self.horizon)
                losses, state = runs.step(leaf.unsqueeze(0), state, keys, steps)
                total, steps = total + losses.mean(), steps + 1
            return total, keys, steps, *state

        given = leaf, keys, steps, *state
        if self.checkpoint_every is None:
            total, keys, steps, *state = work(*given)
        else:  # the reentrant one, for steps differentiate losses inside
            total, keys, steps, *state = checkpoint(
                work, *given, use_reentrant=True, preserve_rng_state=False
            )
        return total, tuple(state), keys, steps


@in_ranges
@dataclass(frozen=True)
class OneStepGradients:
    """The gradient of the loss right after each step, summed over the steps between two updates.

    Attributes:
        truncation: inner steps whose gradients add up.
        horizon: of an inner run, which then begins anew; published 100, as many as add up.

    Raises:
        NNGraphsError: more steps add up than an inner run has.
    """

    truncation: PositiveInt = 100
    horizon: PositiveInt = 100

    def __post_init__(self):
        _check_lengths(self.truncation, self.horizon)

    def start(self, runs: JudgedRuns, weights: Weights, keys: Int32[Tensor, "N"]) -> Running:
        """Runs before their first step, one per key.

        Raises:
            NNGraphsError: there is no key.
        """
        return _started(runs, keys)

    def gradient(
        self, runs: JudgedRuns, weights: Weights, running: Running, *, generator: torch.Generator
    ) -> tuple[Weights, Float[Tensor, ""], Running]:
        """The meta-gradient, the mean loss after the steps, and where the runs then are."""
        leaf, total = weights.detach().requires_grad_(), weights.new_zeros(())
        state, keys, steps = running.state, running.keys, running.steps
        for _ in range(self.truncation):
            state, keys, steps = _begun_anew(runs, state, keys, steps, self.horizon)
            with torch.enable_grad():
                _, state = runs.step(leaf.unsqueeze(0), state, keys, steps)
                loss = runs.losses(state, keys, steps).mean()
                loss.backward()
            total = total + loss.detach()
            state, steps = tuple(tensor.detach() for tensor in state), steps + 1
        assert leaf.grad is not None
        return leaf.grad, total / self.truncation, Running(state, keys, steps)


def _check_lengths(truncation: int, horizon: int) -> None:
    if not 1 <= truncation <= horizon:
        raise NNGraphsError(
            f"back-propagate through {truncation} steps",
            found=f"inner runs have {horizon} steps.",
            do="Give a truncation from 1 to the horizon.",
        )


def _started(runs: InnerRuns, keys: Int32[Tensor, "N"]) -> Running:
    if not len(keys):
        found = "no key is given."
        raise NNGraphsError("start inner runs", found=found, do="Give one per run.")
    return Running(runs.start(keys), keys, torch.zeros_like(keys))


def _begun_anew(
    runs: InnerRuns, state: tuple[Tensor, ...], keys: Tensor, steps: Tensor, horizon: int
) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """The same, but for runs that have reached their end: those begin again, by another key."""
    is_over = steps >= horizon
    if not is_over.any():
        return state, keys, steps
    keys = torch.where(is_over, joined(keys, horizon), keys)
    fresh = runs.start(keys)
    state = tuple(
        torch.where(is_over.reshape(-1, *[1] * (old.ndim - 1)), new, old)
        for old, new in zip(state, fresh, strict=True)
    )
    return state, keys, torch.where(is_over, 0, steps)
