"""Learning the weights of an update: outer steps over inner runs, in a folder, resumable.

The loop of `nn_graphs.training` is another one for a reason: it passes over the networks of a zoo,
in splits, by batches of graphs; an outer step has no data to pass over, its runs are a state that
goes on from step to step and must be in the checkpoint, and evolution strategies have no backward
pass. What they have in common is what a folder is: `run.json` says which training it belongs to,
the checkpoint is plain data, and what is finished is read.
"""

import dataclasses
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.fingerprint import fingerprint
from nn_graphs.learned_optimizers.inner_curves import train_networks
from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.learned_optimizers.inner_training import InnerTraining, Order
from nn_graphs.learned_optimizers.learned_update import LearnedUpdate
from nn_graphs.learned_optimizers.meta_settings import MetaSettings
from nn_graphs.learned_optimizers.registry import describe_update
from nn_graphs.networks.classifiers.draws import joined
from nn_graphs.progress import ProgressBar, progress_bar
from nn_graphs.records import as_json_data, differences, write_record
from nn_graphs.whole_files import whole_file

RECORD, CHECKPOINT, HISTORY = "meta_training.json", "last.ckpt", "history.csv"
RUNS, VALIDATION = 0, 1  # what a seed is for
NO_MATTER = ("max_cpu_minutes",)


@runtime_checkable
class MetaGradient(Protocol):
    """An estimator of meta-gradients, see `unrolled_gradients` and `persistent_evolution`."""

    truncation: int

    def start(self, runs: Any, weights: Tensor, keys: Tensor) -> Any: ...

    def gradient(
        self, runs: Any, weights: Tensor, running: Any, *, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Any]: ...


@dataclass(frozen=True)
class MetaOutcome:
    """What a meta-training found.

    Attributes:
        weights: of the update, those that did best on the validation tasks.
        val_loss: theirs, see `validation_loss`.
        best_step: after how many outer steps.
        history: a row per validation, as in `history.csv`.
        minutes, cpu_minutes: of training and validation, all processes of a resumed one together.
    """

    weights: Float[Tensor, "M"]
    val_loss: float
    best_step: int
    history: pd.DataFrame
    minutes: float
    cpu_minutes: float


def meta_train(
    update: LearnedUpdate,
    tasks: Sequence[InnerTask],
    val_tasks: Sequence[InnerTask],
    method: MetaGradient,
    settings: MetaSettings,
    folder: str | Path,
    *,
    order: Order = "first",
) -> MetaOutcome:
    """Learns the weights of an update, and chooses the best of them on validation tasks.

    A folder belongs to one meta-training: an unfinished one goes on where it stopped, bit for bit,
    and another one is refused. A meta-gradient that is not finite is left out and counted.

    Args:
        update: whose weights are learned.
        tasks: on which.
        val_tasks: on which weights are chosen; they may be others.
        method: how meta-gradients are found.
        settings: how many, how fast.
        folder: for `history.csv` and the checkpoint.
        order: of meta-gradients by back-propagation, see `InnerTraining`.

    Raises:
        NNGraphsError: there are no tasks; the folder belongs to another meta-training.
        KeyboardInterrupt: the user interrupted it; the same call goes on.
    """
    for name, given in (("train", tasks), ("validate", val_tasks)):
        if not given:
            raise NNGraphsError(
                f"{name} a learned optimizer",
                found="no inner task is given.",
                do="Give at least one, e.g. TaskFamily(...).tasks().",
            )
    folder = Path(folder)
    _check_folder(folder, _describe(update, tasks, val_tasks, method, settings, order))
    trainer = _MetaTraining(update, tasks, val_tasks, method, settings, order)
    if (folder / CHECKPOINT).exists():
        trainer.restore(_read_checkpoint(folder / CHECKPOINT))
    with progress_bar(
        settings.num_outer_steps, unit="outer steps", description="meta-training", done=trainer.step
    ) as bar:
        trainer.run(folder, bar)
    return trainer.outcome()


def validation_loss(
    update: LearnedUpdate,
    weights: Float[Tensor, "M"],
    tasks: Sequence[InnerTask],
    settings: MetaSettings,
) -> float:
    """Mean loss on validation inputs at the end of inner runs, in units of that of guessing."""
    found = []
    for number, task in enumerate(tasks):
        keys = _keys(settings, VALIDATION, number, settings.num_val_runs).to(task.data.device)
        curves = train_networks(
            InnerTraining(task, update),
            weights.to(task.data.mean).unsqueeze(0),
            keys,
            num_steps=settings.num_val_steps,
            has_test=False,
        )
        found.append(curves.val_losses[:, -1].mean().item() / task.guessing_loss)
    return sum(found) / len(found)


class _MetaTraining:
    """The state of a meta-training, and how it moves on."""

    def __init__(self, update, tasks, val_tasks, method, settings: MetaSettings, order: Order):
        self.update, self.val_tasks, self.method = update, val_tasks, method
        self.settings, self.step = settings, 0
        self.runs = [InnerTraining(task, update, order) for task in tasks]
        like = tasks[0].data.mean
        weights = update.initial_weights(settings.seed).to(like)
        self.weights = torch.nn.Parameter(weights)
        self.outer = torch.optim.AdamW(
            [self.weights], lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.generator = torch.Generator(like.device).manual_seed(settings.seed)
        self.running = [
            method.start(
                runs,
                weights,
                _keys(settings, RUNS, number, settings.num_runs).to(like.device),
            )
            for number, runs in enumerate(self.runs)
        ]
        self.history: list[dict[str, float]] = []
        self.best = {"val_loss": math.inf, "step": 0, "weights": weights}
        self.since = {"loss": 0.0, "count": 0, "left_out": 0}  # the last validation
        self.minutes = self.cpu_minutes = 0.0
        self.is_over = False

    def run(self, folder: Path, bar: ProgressBar) -> None:
        """Outer steps until the end, or until the budget is spent."""
        clock, cpu = time.monotonic(), time.process_time()
        if not self.history:
            self._validate(folder)  # weights as they are drawn: what learning begins at
        while self.step < self.settings.num_outer_steps and not self.is_over:
            start = time.perf_counter()
            loss = self._outer_step()
            self.step += 1
            taken = time.perf_counter() - start
            is_last = self.step == self.settings.num_outer_steps
            if self.step % self.settings.val_every == 0 or is_last:
                now, cpu_now = time.monotonic(), time.process_time()
                self.minutes += (now - clock) / 60
                self.cpu_minutes += (cpu_now - cpu) / 60
                clock, cpu = now, cpu_now
                limit = self.settings.max_cpu_minutes
                self.is_over = limit is not None and self.cpu_minutes >= limit
                self._validate(folder)
            figures = {
                "meta-loss": f"{loss:.4g}",
                "val": f"{self.history[-1]['val_loss']:.4g}",
                "inner steps/s": f"{self._inner_steps() / taken:,.0f}",
            }
            bar.advance(1, figures)

    def outcome(self) -> MetaOutcome:
        return MetaOutcome(
            self.best["weights"],
            self.best["val_loss"],
            self.best["step"],
            pd.DataFrame(self.history),
            self.minutes,
            self.cpu_minutes,
        )

    def restore(self, saved: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.weights.data.copy_(saved["weights"])
        self.outer.load_state_dict(saved["outer"])
        self.generator.set_state(saved["random"])
        self.running = [
            type(now)(**before) for now, before in zip(self.running, saved["running"], strict=True)
        ]
        for name in ("step", "history", "best", "since", "minutes", "cpu_minutes", "is_over"):
            setattr(self, name, saved[name])

    def _outer_step(self) -> float:
        number = self.step % len(self.runs)
        weights = self.weights.detach()
        gradient, loss, self.running[number] = self.method.gradient(
            self.runs[number], weights, self.running[number], generator=self.generator
        )
        self.since["loss"] += loss.item()
        self.since["count"] += 1
        if not gradient.isfinite().all():
            self.since["left_out"] += 1
            return loss.item()
        self.weights.grad = gradient
        if self.settings.gradient_clip:
            torch.nn.utils.clip_grad_norm_([self.weights], self.settings.gradient_clip)
        for group in self.outer.param_groups:
            group["lr"] = self.settings.rate(self.step)
        self.outer.step()
        return loss.item()

    def _validate(self, folder: Path) -> None:
        weights = self.weights.detach().clone()
        val_loss = validation_loss(self.update, weights, self.val_tasks, self.settings)
        if val_loss < self.best["val_loss"]:
            self.best = {"val_loss": val_loss, "step": self.step, "weights": weights}
        pairs = zip(self.runs, self.running, strict=True)
        self.history.append(
            {
                "step": self.step,
                "meta_loss": self.since["loss"] / max(self.since["count"], 1),
                "val_loss": val_loss,
                "diverged": sum(runs.num_diverged(now.state) for runs, now in pairs),
                "left_out": self.since["left_out"],
                "minutes": self.minutes,
                "cpu_minutes": self.cpu_minutes,
            }
        )
        self.since = {"loss": 0.0, "count": 0, "left_out": 0}
        pd.DataFrame(self.history).to_csv(folder / HISTORY, index=False)
        _write_checkpoint(folder / CHECKPOINT, self._as_data())

    def _as_data(self) -> dict[str, Any]:
        return {
            "weights": self.weights.detach(),
            "outer": self.outer.state_dict(),
            "random": self.generator.get_state(),
            "running": [vars(one) for one in self.running],
            "step": self.step,
            "history": self.history,
            "best": self.best,
            "since": self.since,
            "minutes": self.minutes,
            "cpu_minutes": self.cpu_minutes,
            "is_over": self.is_over,
        }

    def _inner_steps(self) -> int:
        """Of all networks in an outer step."""
        return self.method.truncation * len(self.running[0].state[0])


def _keys(settings: MetaSettings, purpose: int, task: int, count: int) -> Tensor:
    seed = torch.full((count,), settings.seed, dtype=torch.int32)
    return joined(seed, purpose, task, torch.arange(count, dtype=torch.int32))


def _describe(update, tasks, val_tasks, method, settings, order) -> dict[str, object]:
    """All that the outcome depends on."""
    chosen = {key: v for key, v in dataclasses.asdict(settings).items() if key not in NO_MATTER}
    return {
        "update": describe_update(update),
        "tasks": [_describe_task(task) for task in tasks],
        "val_tasks": [_describe_task(task) for task in val_tasks],
        "method": {"name": type(method).__name__, **dataclasses.asdict(method)},
        "order": order,
        **chosen,
    }


def _describe_task(task: InnerTask) -> dict[str, object]:
    others = ("batch_size", "num_val", "scale_range", "is_autoencoder")
    return {
        "name": task.name,
        "network": fingerprint([task.spec.to_json()]),
        "data": fingerprint([task.data.inputs, task.data.labels]),
        **{name: getattr(task, name) for name in others},
    }


def _check_folder(folder: Path, record: dict[str, object]) -> None:
    path = folder / RECORD
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_record(path, record)
        return
    try:
        before = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise _refused(folder, f"{path} cannot be read ({error}).") from error
    changes = differences(before, as_json_data(record))
    if changes:
        raise _refused(folder, f"it is another one's ({changes[:500]}).")


def _refused(folder: Path, found: str) -> NNGraphsError:
    return NNGraphsError(
        f"use {folder} for this meta-training", found=found, do="Give a folder of its own."
    )


def _write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as partial, partial.open("wb") as stream:
        torch.save(content, stream)


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint: plain data, so that reading one runs no code.

    Raises:
        NNGraphsError: it cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage shows as nearly any exception there is
        raise NNGraphsError(
            f"go on with the meta-training in {path.parent}",
            found=f"{path} cannot be read ({' '.join(str(error).split())[:200]}).",
            do=f"Delete {path} to begin again.",
        ) from error
