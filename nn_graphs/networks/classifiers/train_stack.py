"""Train a stack of networks on one labelled data set, each with its own settings.

They learn classes, or where labels are no whole numbers, to predict these.

All networks take a step at the same time, by one compiled function; what differs between them
(optimizer, learning rate, weight decay, dropout, share of the data, order of the data) is numbers
per network. A network whose epochs are shorter waits for the others at the end of each. Nothing
passes between networks: one that diverges does so alone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.classifiers.data import (
    ImageAugmentation,
    LabelledData,
    Orders,
    network_keys,
)
from nn_graphs.networks.classifiers.draws import joined
from nn_graphs.networks.classifiers.evaluation import evaluate
from nn_graphs.networks.classifiers.model import StackedModel
from nn_graphs.networks.classifiers.objectives import RegressionScores, Scores, objective_of
from nn_graphs.networks.classifiers.saving import read_state, write_state
from nn_graphs.networks.classifiers.schedules import Schedule
from nn_graphs.networks.classifiers.step import NetworkState, make_step
from nn_graphs.networks.compiling import CompiledIfPossible
from nn_graphs.networks.optimizers import (
    Coefficients,
    Optimizer,
    make_coefficients,
    shared_coefficients,
)
from nn_graphs.progress import Progress
from nn_graphs.ranges import Count, NonNegative, PositiveInt, Probability, Seed, Share, in_ranges
from nn_graphs.threads import one_thread

AUGMENTATION, DROPOUT = 1, 2  # what draws are for


@in_ranges
@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Attributes:
        optimizer: with its learning rate; a name stands for its defaults.
        schedule: of the learning rate; the same.
        dropout: probability, where the model has dropout.
        train_fraction: share of the training data that it sees.
        seed: of its subset and order of the data, its augmentations and its dropout.
    """

    optimizer: Optimizer | str = field(default_factory=Optimizer)
    schedule: Schedule | str = field(default_factory=Schedule)
    dropout: Probability = 0.0
    train_fraction: Share = 1.0
    seed: Seed = 0

    def __post_init__(self):
        for name, kind in (("optimizer", Optimizer), ("schedule", Schedule)):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, kind(getattr(self, name)))


@in_ranges
@dataclass(frozen=True)
class Plan:
    """What all networks of a stack share.

    Attributes:
        num_epochs: over the data that a network sees.
        batch_size: inputs a step; an incomplete batch at the end of an epoch is left out.
        checkpoint_epochs: after which epochs networks are kept and scored, 0 being the initial
            values; the last epoch always is.
        checkpoint_steps: after which steps, besides; beyond a network's last one, its last one.
        augmentation: of training images.
        is_compiled: compile the step; where that fails, it runs eagerly with a warning.
        num_norm_inputs: training inputs on which statistics of 2d batch norms are measured anew at
            the end, in whole batches; 0: running ones are used. Stacks have no such norms.
        save_seconds: between two writes of the state, at ends of epochs.
    """

    num_epochs: PositiveInt
    batch_size: PositiveInt
    checkpoint_epochs: tuple[int, ...] = ()
    checkpoint_steps: tuple[int, ...] = ()
    augmentation: ImageAugmentation | None = None
    is_compiled: bool = True
    num_norm_inputs: Count = 0
    save_seconds: NonNegative = 30.0

    def __post_init__(self):
        wrong = [epoch for epoch in self.checkpoint_epochs if not 0 <= epoch <= self.num_epochs]
        if wrong:
            raise NNGraphsError(
                f"train for {self.num_epochs} epochs in batches of {self.batch_size}",
                found=f"checkpoints are asked for after the epochs {wrong}.",
                do="Give one epoch or more, and checkpoints among them.",
            )

    @property
    def epochs_kept(self) -> tuple[int, ...]:
        return tuple(sorted({*self.checkpoint_epochs, self.num_epochs}))


@dataclass(frozen=True)
class Checkpoint:
    """A stack at one moment of its training.

    Attributes:
        epoch, step: the one of them after which it was kept, the other None.
        params, buffers: of all networks.
        scores: on the inputs that each network is trained on, and on the test inputs.
    """

    epoch: int | None
    step: int | None
    params: Float[Tensor, "N num_params"]
    buffers: Float[Tensor, "N num_buffers"]
    scores: Scores | RegressionScores


def train_classifiers(
    model: StackedModel,
    params: Float[Tensor, "N num_params"],
    buffers: Float[Tensor, "N num_buffers"],
    data: LabelledData,
    recipes: Sequence[Recipe],
    plan: Plan,
    *,
    trainable: Bool[Tensor, "N num_params"] | None = None,
    state_file: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Checkpoint]:
    """Trains all networks, as one stack; on a processor, on one core of it.

    Args:
        model: outputs of the stack.
        params, buffers: initial values, on the device to compute on; not changed.
        data: for all, on the same device.
        recipes: one per network.
        plan: for all.
        trainable: parameters that do not take part stay as they are; None: all do.
        state_file: where the state is kept meanwhile; training goes on from it, bit for bit.
        progress: told of each network's epochs.

    Returns:
        What the plan wants to be kept: by epochs, then by steps, both ascending.

    Raises:
        NNGraphsError: not one recipe per network; a network sees less than a batch; the state file
            is of another training.
    """
    if len(recipes) != len(params):
        raise NNGraphsError(
            f"train {len(params)} networks",
            found=f"there are {len(recipes)} recipes.",
            do="Give one per network.",
        )
    state_file = None if state_file is None else Path(state_file)
    state = NetworkState.begin(params, buffers, trainable)
    with one_thread():
        run = _Run(model, data, recipes, plan, state, progress)
        if state_file is not None and state_file.exists():
            run.resume(state_file)
        elif 0 in plan.epochs_kept:
            run.keep(epoch=0)
        if progress is not None:
            progress.advance(run.epoch * len(recipes))
        _train(run, state_file=state_file, progress=progress)
    return run.checkpoints()


def _train(run: "_Run", *, state_file: Path | None, progress: Progress | None) -> None:
    """Trains what is left of the epochs."""
    saved = time.monotonic()
    while run.epoch < run.plan.num_epochs:
        run.train_epoch()
        if progress is not None:
            progress.advance(len(run.recipes), {"loss": f"{run.mean_loss():.3f}"})
        if state_file is not None and time.monotonic() - saved >= run.plan.save_seconds:
            run.save(state_file)
            saved = time.monotonic()


class _Run:
    """A training under way."""

    def __init__(
        self,
        model: StackedModel,
        data: LabelledData,
        recipes: Sequence[Recipe],
        plan: Plan,
        state: NetworkState,
        progress: Progress | None,
    ):
        self.recipes, self.plan = recipes, plan
        self._model, self._data = model, data
        self._state, self.epoch = state, 0
        self._orders = Orders(
            data.num_train,
            fractions=[recipe.train_fraction for recipe in recipes],
            seeds=[recipe.seed for recipe in recipes],
            batch_size=plan.batch_size,
        )
        params = state.params
        self._seen = self._orders.membership().to(params.device)
        self._num_steps = torch.tensor(self._orders.num_steps, device=params.device)
        self._keys = network_keys([recipe.seed for recipe in recipes], params.device)
        self._coefficients = _coefficients(recipes, plan, params)
        self._dropout = None
        if any(recipe.dropout for recipe in recipes):
            self._dropout = params.new_tensor([recipe.dropout for recipe in recipes])
        self._objective = objective_of(data.labels)
        step = make_step(
            model,
            self._objective,
            is_adaptive=any(recipe.optimizer.is_adaptive for recipe in recipes),
            is_uneven=len(set(self._orders.num_steps)) > 1,
            has_mask=state.trainable is not None,
        )
        self._step = CompiledIfPossible(step, progress) if plan.is_compiled else step
        self._kept: dict[tuple[str, int], Checkpoint] = {}

    def train_epoch(self) -> None:
        rate = self._state.params.new_tensor(
            [
                recipe.optimizer.learning_rate
                * recipe.schedule.at(self.epoch, self.plan.num_epochs)
                for recipe in self.recipes
            ]
        ).unsqueeze(1)
        order = self._orders.epoch(self.epoch).to(self._num_steps.device)
        for number, index in enumerate(order):
            is_active = (number < self._num_steps).unsqueeze(1)
            self._step(
                self._state,
                self._inputs(index, number),
                self._data.labels[index],
                rate,
                is_active,
                self._coefficients,
                self._dropout,
                None if self._dropout is None else self._draw_key(index, DROPOUT, number),
            )
            if self.plan.checkpoint_steps:
                self._keep_steps(number + 1)
        self.epoch += 1
        if self.epoch in self.plan.epochs_kept:
            self.keep(epoch=self.epoch)

    def keep(self, *, epoch: int | None = None, step: int | None = None) -> None:
        """Scores all networks and keeps them."""
        state = self._state
        scores = evaluate(self._model, state.params, state.buffers, self._data, self._seen)
        name = ("epoch", epoch) if step is None else ("step", step)
        self._kept[name] = Checkpoint(
            epoch, step, state.params.cpu().clone(), state.buffers.cpu().clone(), scores
        )

    def checkpoints(self) -> list[Checkpoint]:
        return [self._kept[name] for name in sorted(self._kept)]

    def mean_loss(self) -> float:
        """Of the last step, over the networks that have not diverged."""
        return float(self._state.losses.nanmean())

    def resume(self, file: Path) -> None:
        self.epoch, kept = read_state(file, self._state, self._fingerprint())
        self._kept = {
            (kind, number): Checkpoint(
                number if kind == "epoch" else None,
                number if kind == "step" else None,
                params,
                buffers,
                self._objective.scores(*scores),
            )
            for kind, number, params, buffers, scores in kept
        }

    def save(self, file: Path) -> None:
        kept = [
            (kind, number, one.params, one.buffers, tuple(one.scores))
            for (kind, number), one in self._kept.items()
        ]
        write_state(file, self._state, self.epoch, kept, self._fingerprint())

    def _fingerprint(self) -> str:
        plan = replace(self.plan, is_compiled=False, save_seconds=0.0)
        return f"{plan} {self.recipes} {len(self._data.labels)} {self._data.num_train}"

    def _inputs(self, index: Tensor, step: int) -> Float[Tensor, "S_or_1 B *shape"]:
        inputs = self._data.take(index)
        if self.plan.augmentation is None:
            return inputs
        return self.plan.augmentation(inputs, self._draw_key(index, AUGMENTATION, step))

    def _draw_key(self, index: Tensor, purpose: int, step: int) -> Int32[Tensor, "S_or_1"]:
        """Of the draws of a step; one for all networks where they see the same inputs."""
        return joined(self._keys[: len(index)], purpose, self.epoch, step)

    def _keep_steps(self, number: int) -> None:
        """Keeps the networks that have just taken one of the steps asked for."""
        last = number == max(self._orders.num_steps) and self.epoch + 1 == self.plan.num_epochs
        for step in self.plan.checkpoint_steps:
            is_there = torch.tensor(
                [
                    (self.epoch * steps + number == step and number <= steps)
                    or (last and step > self.plan.num_epochs * steps)
                    for steps in self._orders.num_steps
                ]
            )
            if is_there.any():
                before = self._kept.get(("step", step))
                self.keep(step=step)
                if before is not None:
                    self._kept["step", step] = _merged(before, self._kept["step", step], is_there)


def _coefficients(recipes: Sequence[Recipe], plan: Plan, like: Tensor) -> Coefficients:
    """Of the optimizers of all networks.

    Where these differ in learning rates alone, an eager step is spared the terms that none of them
    has; a compiled one computes them on the way.
    """
    optimizers = [recipe.optimizer for recipe in recipes]
    first = optimizers[0]
    is_one = all(replace(one, learning_rate=first.learning_rate) == first for one in optimizers)
    if is_one and first.is_adaptive and not plan.is_compiled:
        return shared_coefficients(first)
    return make_coefficients(optimizers, like)


def _merged(before: Checkpoint, now: Checkpoint, is_now: Bool[Tensor, " N"]) -> Checkpoint:
    """Some networks as they are now, the others as they were."""

    def choose(old: Tensor, new: Tensor) -> Tensor:
        return torch.where(is_now.reshape(-1, *[1] * (old.dim() - 1)), new, old)

    return Checkpoint(
        now.epoch,
        now.step,
        choose(before.params, now.params),
        choose(before.buffers, now.buffers),
        type(now.scores)(*map(choose, before.scores, now.scores)),
    )
