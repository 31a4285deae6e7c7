"""Inner trainings: networks of one task moved by one update, as meta-gradients see them.

A network whose loss is not a number, or beyond a limit, counts as diverged from then on; it stays
finite: its loss is that limit, and it is not moved by that step, of which the update is told zeros.
Parameters that would not be finite stay as they were.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.learned_optimizers.learned_update import Update
from nn_graphs.learned_optimizers.optimizee import Optimizee
from nn_graphs.learned_optimizers.tensor_features import State

LIMIT_IN_LOGS = 4.0  # losses beyond so many times that of guessing, log(classes)
GRADIENT_LIMIT = 1e9  # whose square, and square of that, single precision can hold

Order = Literal["first", "second"]


@dataclass(frozen=True, eq=False)
class InnerTraining:
    """Inner runs of a task, see `persistent_evolution.InnerRuns`.

    A state is parameters, whether networks have diverged, and what the update remembers. Losses
    that are looked at with gradients on lead back through the parameters to the update's weights.

    Attributes:
        task: what is trained.
        update: what moves the networks.
        order: "first": gradients that the update reads are constants to the meta-gradient; as
            published by Kofinas et al. "second": they are functions of the parameters.
    """

    task: InnerTask
    update: Update
    order: Order = "first"

    @property
    def optimizee(self) -> Optimizee:
        """What the update knows of the networks."""
        return Optimizee.of_spec(self.task.spec)

    def start(self, keys: Int32[Tensor, "R"]) -> State:
        params = self.task.initial_params(keys)
        diverged = torch.zeros(len(keys), dtype=torch.bool, device=params.device)
        return params, diverged, *self.update.start(self.optimizee, params)

    def step(
        self,
        weights: Float[Tensor, "R_or_1 M"],
        state: State,
        keys: Int32[Tensor, "R"],
        steps: Int32[Tensor, "R"],
    ) -> tuple[Float[Tensor, "R"], State]:
        params, diverged, *remembered = state
        losses, gradients, is_bad = self._losses_and_gradients(params, keys, steps)
        told = torch.where(is_bad.unsqueeze(1), 0.0, params)
        moved, remembered = self.update.step(
            weights, self.optimizee, told, gradients, tuple(remembered), steps
        )
        moved = torch.where(is_bad.unsqueeze(1) | ~moved.isfinite(), params, moved)
        return losses, (moved, diverged | is_bad, *remembered)

    def losses(
        self, state: State, keys: Int32[Tensor, "R"], steps: Int32[Tensor, "R"]
    ) -> Float[Tensor, "R"]:
        """Of the networks as they are, on the batches of a step."""
        return self._losses_and_gradients(state[0], keys, steps)[0]

    def num_diverged(self, state: State) -> int:
        """How many of these runs have diverged."""
        return int(state[1].sum())

    def judged_params(self, state: State) -> Float[Tensor, "R num_params"]:
        """By which the networks are evaluated."""
        params, _, *remembered = state
        return self.update.judged(self.optimizee, params, tuple(remembered))

    def val_losses(self, state: State, keys: Int32[Tensor, "R"]) -> Float[Tensor, "R"]:
        """On all inputs for validation, with the limit of all losses."""
        return self._limited(self.task.val_losses(self.judged_params(state), keys))[0]

    @property
    def loss_limit(self) -> float:
        """The largest loss that a network can have here."""
        return LIMIT_IN_LOGS * self.task.guessing_loss

    def _limited(self, losses: Tensor) -> tuple[Float[Tensor, "R"], Tensor]:
        is_bad = ~(losses <= self.loss_limit)  # NaN is not either
        return torch.where(is_bad, self.loss_limit, losses), is_bad

    def _losses_and_gradients(
        self, params: Tensor, keys: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses that lead back to the parameters, gradients for the update, who is out of hand."""
        if self.order == "second" and torch.is_grad_enabled():
            losses, gradients = self._with_second_order(params, keys, steps)
        else:
            losses, gradients = self.task.losses_and_gradients(params, keys, steps)
        losses, is_bad = self._limited(losses)
        gradients = torch.where(is_bad.unsqueeze(1) | ~gradients.isfinite(), 0.0, gradients)
        gradients = gradients.clamp(-GRADIENT_LIMIT, GRADIENT_LIMIT)
        if self.order == "first" and params.requires_grad:
            # What the loss is to the parameters is known: no second pass through the networks.
            losses = losses + ((params - params.detach()) * gradients).sum(1)
        return losses, gradients, is_bad

    def _with_second_order(
        self, params: Tensor, keys: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        leaf = params if params.requires_grad else params.detach().requires_grad_()
        losses = self.task.losses(leaf, keys, steps)
        (gradients,) = torch.autograd.grad(losses.sum(), leaf, create_graph=True)
        return losses, gradients
