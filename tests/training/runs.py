"""Short runs, interrupted ones, and whether two of them are the same."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from nn_graphs.encoders.flat_mlp import FlatMLP
from nn_graphs.graphs.augmentations import Compose, RandomSymmetries, Translation, WeightNoise
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.training import Outcome, TrainingSettings, train_and_test
from tests.toy_zoos import separable_zoo

SHORT = TrainingSettings(
    num_epochs=4, batch_size=16, learning_rate=1e-2, warmup_steps=2, accelerator="cpu", seed=3
)
STEPS = 3  # of an epoch


def change(**changes) -> TrainingSettings:
    return dataclasses.replace(SHORT, **changes)


def make_task(**options) -> INRClassification:
    return INRClassification(separable_zoo(**options))


def make_model(task: INRClassification, *, seed: int = 0, dropout: float = 0.5) -> FlatMLP:
    torch.manual_seed(seed)
    return FlatMLP(
        task.templates[0], task.statistics(), hidden_dims=(16,), dropout=dropout, out_dim=2
    )


def train(
    folder: Path, settings: TrainingSettings = SHORT, task=None, augmentation=None, **options
) -> Outcome:
    task = task or make_task(noise=2.0)
    model = make_model(task, **options)
    return train_and_test(model, task, settings, folder, augmentation=augmentation)


def without_time(outcome: Outcome) -> Outcome:
    return dataclasses.replace(outcome, minutes=0.0)


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    path = folder / "checkpoints" / f"{name}.ckpt"
    return torch.load(path, weights_only=False)["state_dict"]


def assert_same_run(one: Path, other: Path) -> None:
    """Metrics of all epochs, weights of the best and the last, and test outputs, bit for bit."""
    ours, theirs = (pd.read_csv(folder / "metrics.csv") for folder in (one, other))
    columns = ["epoch", "train/loss", "val/accuracy", "val/loss"]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns], check_exact=True)
    for name in ("best", "last"):
        ours, theirs = weights(one, name), weights(other, name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    ours, theirs = (np.load(folder / "test_outputs.npz") for folder in (one, other))


class Scripted(INRClassification):
    """A task whose val accuracies are given."""

    def __init__(self, accuracies: list[int]):
        super().__init__(separable_zoo())
        self.accuracies = map(float, accuracies)

    def metrics(self, outputs, labels) -> dict[str, float]:
        return super().metrics(outputs, labels) | {"accuracy": next(self.accuracies)}


class Interrupted(INRClassification):
    """A task in whose `step`-th training step something happens."""

    def __init__(self, step: int, happens, **options):
        super().__init__(separable_zoo(**options))
        self._steps_left, self.happens = step, happens

    def loss(self, outputs, labels):
        self._steps_left -= 1
        if self._steps_left == 0:
            self.happens()
        return super().loss(outputs, labels)


def make_augmentation() -> Compose:
    return Compose([Translation(max_shift=0.25), WeightNoise(share=0.1), RandomSymmetries()])


def fail() -> None:
    raise ZeroDivisionError("in the middle of an epoch")


def outcome_of(folder: Path) -> Outcome:
    return Outcome(**json.loads((folder / "outcome.json").read_text()))


def clock(monkeypatch, seconds: float) -> None:
    """Each look at the clock is some seconds later than the one before."""
    times, cpu_times = iter(range(10_000)), iter(range(10_000))
    monkeypatch.setattr(
        "nn_graphs.training.module.time",
        SimpleNamespace(
            monotonic=lambda: seconds * next(times),
            process_time=lambda: 2 * seconds * next(cpu_times),
        ),
    )
