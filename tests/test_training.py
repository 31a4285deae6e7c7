"""Training: it learns, chooses by val, stops when told, and goes on as if never interrupted."""

import copy
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DistributedSampler

from nn_graphs.encoders.flat_mlp import FlatMLP
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphHead, GraphModel
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.augmentations import Compose, RandomSymmetries, Translation, WeightNoise
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.training import (
    EpochSampler,
    Outcome,
    TrainingSettings,
    accumulate_gradients,
    forget_run,
    in_split_order,
    train_and_test,
)
from tests.toy_zoos import mixed_zoo, separable_zoo

pytestmark = pytest.mark.usefixtures("one_thread")

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
    assert all(np.array_equal(ours[key], theirs[key]) for key in ("outputs", "labels"))


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
        self.steps_left, self.happens = step, happens

    def loss(self, outputs, labels):
        self.steps_left -= 1
        if self.steps_left == 0:
            self.happens()
        return super().loss(outputs, labels)


def make_augmentation() -> Compose:
    return Compose([Translation(max_shift=0.25), WeightNoise(share=0.1), RandomSymmetries()])


def fail() -> None:
    raise ZeroDivisionError("in the middle of an epoch")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(folder)
    torch.set_num_threads(before)
    return folder


def outcome_of(folder: Path) -> Outcome:
    return Outcome(**json.loads((folder / "outcome.json").read_text()))


def test_separable_classes_are_learned(tmp_path):
    outcome = train(tmp_path, change(num_epochs=12), make_task(), dropout=0.2)
    history = pd.read_csv(tmp_path / "metrics.csv")
    assert history["train/loss"].iloc[-1] < 0.3 * history["train/loss"].iloc[0]
    assert history["val/loss"].iloc[-1] < 0.3 * history["val/loss"].iloc[0]
    assert outcome.val["accuracy"] >= 95
    assert outcome.test["accuracy"] >= 95


def test_zoo_of_two_architectures_is_learned(tmp_path):
    task = INRClassification(mixed_zoo())
    torch.manual_seed(0)
    encoder = NGGNN(task.templates, task.statistics(), dim=8, num_layers=2, dropout=0.0)
    pooling = Pooling(
        "cat", dims=task.dims, node_dim=encoder.node_dim, edge_dim=encoder.edge_dim, layer="last"
    )
    model = GraphModel(encoder, GraphHead(pooling, hidden_dims=[8], out_dim=task.out_dim))
    outcome = train_and_test(model, task, change(num_epochs=10), tmp_path)
    assert outcome.test["accuracy"] >= 90
    assert outcome.num_params == sum(p.numel() for p in model.parameters())


def test_outcome(uninterrupted):
    outcome, task = outcome_of(uninterrupted), make_task(noise=2.0)
    history = pd.read_csv(uninterrupted / "metrics.csv")
    assert history["epoch"].tolist() == [0, 1, 2, 3]
    assert outcome.best_epoch == history["val/accuracy"].idxmax()
    best = history.iloc[outcome.best_epoch]
    assert outcome.val["accuracy"] == pytest.approx(best["val/accuracy"])
    assert outcome.val["loss"] == pytest.approx(best["val/loss"])
    assert outcome.num_params == (task.templates[0].num_params + 1) * 16 + 17 * 2
    assert outcome.device == "cpu (1 threads)"
    assert outcome.minutes == pytest.approx(history["minutes"].iloc[-1])
    assert history["minutes"].is_monotonic_increasing
    assert list((uninterrupted / "tensorboard").glob("events.out.tfevents.*"))
    assert sorted(file.name for file in (uninterrupted / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]


def test_what_was_tested_is_the_best_model(uninterrupted):
    task = make_task(noise=2.0)
    model = make_model(task, seed=9).eval()
    state = {k.removeprefix("model."): v for k, v in weights(uninterrupted, "best").items()}
    model.load_state_dict(state)
    dataset = task.open_test()
    graphs, labels = dataset.__getitems__(list(range(len(dataset))))
    arrays = np.load(uninterrupted / "test_outputs.npz")
    with torch.no_grad():
        assert np.array_equal(model(graphs).numpy(), arrays["outputs"])
    assert arrays["labels"].tolist() == labels.tolist()
    expected = task.metrics(torch.from_numpy(arrays["outputs"]), labels)
    assert outcome_of(uninterrupted).test == expected


def test_best_epoch_is_tested_where_the_last_is_worse(tmp_path):
    outcome = train(tmp_path / "four", task=Scripted([10, 50, 30, 50, 77]))
    assert (outcome.best_epoch, outcome.val["accuracy"], outcome.test["accuracy"]) == (1, 50, 77)
    train(tmp_path / "two", change(num_epochs=2), task=Scripted([10, 50, 77]))
    best, last = (weights(tmp_path / "four", name) for name in ("best", "last"))
    second = weights(tmp_path / "two", "last")
    assert all(torch.equal(best[key], second[key]) for key in best)
    assert not all(torch.equal(best[key], last[key]) for key in best)
    ours, theirs = (np.load(tmp_path / name / "test_outputs.npz") for name in ("four", "two"))
    assert np.array_equal(ours["outputs"], theirs["outputs"])


def test_learning_rate_grows_linearly_then_stays_and_gradients_are_clipped(tmp_path, monkeypatch):
    rates, norms, step = [], [], torch.optim.AdamW.step

    def recording_step(optimizer, closure=None):
        (group,) = optimizer.param_groups
        rates.append(group["lr"])
        gradients = [p.grad.norm() for p in group["params"] if p.grad is not None]
        norms.append(torch.stack(gradients).norm().item())
        assert (group["weight_decay"], group["amsgrad"]) == (5e-4, True)
        return step(optimizer)

    monkeypatch.setattr(torch.optim.AdamW, "step", recording_step)
    train(tmp_path / "clipped", change(warmup_steps=5, gradient_clip=1e-3, num_epochs=3))
    assert rates == pytest.approx([0.002, 0.004, 0.006, 0.008, *[0.01] * 5])
    assert max(norms) == pytest.approx(1e-3, rel=1e-2)
    rates.clear()
    norms.clear()
    train(tmp_path / "free", change(warmup_steps=0, gradient_clip=0.0, num_epochs=1))
    assert rates == pytest.approx([0.01] * 3)
    assert max(norms) > 0.05


@pytest.mark.parametrize("chunk_size", [1, 5, 1000])
def test_chunks_of_a_batch_add_up_to_it(tmp_path, chunk_size):
    task = make_task()
    torch.manual_seed(0)
    encoder = NGGNN(task.templates, task.statistics(), dim=4, num_layers=2, dropout=0.0)
    pooling = Pooling("cat", dims=task.dims, node_dim=4, edge_dim=4)
    head = GraphHead(pooling, hidden_dims=[], out_dim=task.out_dim)
    start = copy.deepcopy(GraphModel(encoder, head))
    curves = []
    for size in (chunk_size, 2000):
        folder = tmp_path / str(size)
        settings = change(num_epochs=3, chunk_size=size)
        train_and_test(copy.deepcopy(start), make_task(), settings, folder)
        curves.append(pd.read_csv(folder / "metrics.csv")["train/loss"].to_numpy())
    np.testing.assert_allclose(*curves, rtol=1e-4)


def test_whole_chunks_alone_are_compiled(monkeypatch):
    task, calls = make_task(), []
    torch.manual_seed(0)
    model = make_model(task, seed=0).eval()
    batch = task.dataset("train").__getitems__(list(range(10)))

    def compiled(graphs):
        calls.append(len(graphs))
        return model(graphs)

    loss = accumulate_gradients(model, task.loss, batch, chunk_size=4, compiled=compiled)
    assert calls == [4, 4]
    torch.testing.assert_close(loss, task.loss(model(batch[0]), batch[1]))


def test_scaled_gradients_are_refused(raises_saying):
    with raises_saying(asked="precision=16-mixed", found="chunks", do="bf16-mixed"):
        change(precision="16-mixed")


def test_patience(tmp_path):
    outcome = train(tmp_path, change(num_epochs=9, patience=2), Scripted([10, 50, 40, 30, 77]))
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 4
    assert (outcome.best_epoch, outcome.test["accuracy"]) == (1, 77)


def clock(monkeypatch, seconds: float) -> None:
    """Each look at the clock is some seconds later than the one before."""
    times, cpu_times = iter(range(10_000)), iter(range(10_000))
    monkeypatch.setattr(
        "nn_graphs.training.time",
        SimpleNamespace(
            monotonic=lambda: seconds * next(times),
            process_time=lambda: 2 * seconds * next(cpu_times),
        ),
    )


def test_minutes_are_those_of_all_epochs_and_end_the_training(tmp_path, monkeypatch):
    clock(monkeypatch, 30)
    assert train(tmp_path / "all").minutes == 2
    stopped = train(tmp_path / "stopped", change(max_minutes=1.5))
    assert stopped.minutes == 1.5
    assert len(pd.read_csv(tmp_path / "stopped" / "metrics.csv")) == 3
    assert train(tmp_path / "cpu", change(max_cpu_minutes=1.5)).minutes == 1


def test_same_seed_same_run_and_another_seed_another(uninterrupted, tmp_path):
    again = train(tmp_path / "again")
    assert without_time(again) == without_time(outcome_of(uninterrupted))
    assert_same_run(uninterrupted, tmp_path / "again")
    train(tmp_path / "other", change(seed=4))
    ours, theirs = weights(uninterrupted, "last"), weights(tmp_path / "other", "last")
    assert not torch.equal(ours["model.mlp.0.weight"], theirs["model.mlp.0.weight"])


@pytest.mark.parametrize("step", [1, STEPS + 1, 2 * STEPS + 2, 4 * STEPS])
def test_exception_and_going_on(uninterrupted, tmp_path, step):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, task=Interrupted(step, fail, noise=2.0))
    assert not (tmp_path / "outcome.json").exists()
    # Before the first checkpoint nothing is known of the initial values; after it, they come back.
    outcome = train(tmp_path, seed=0 if step <= STEPS else 11)
    assert without_time(outcome) == without_time(outcome_of(uninterrupted))
    assert_same_run(uninterrupted, tmp_path)


@pytest.mark.parametrize("step", [STEPS + 1, 2 * STEPS + 2])
def test_going_on_with_augmentation(uninterrupted, tmp_path, step):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, augmentation=make_augmentation())
    task = Interrupted(step, fail, noise=2.0)
    with pytest.raises(ZeroDivisionError):
        train(parts, task=task, augmentation=make_augmentation())
    train(parts, seed=11, augmentation=make_augmentation())
    assert_same_run(whole, parts)
    ours, theirs = weights(uninterrupted, "last"), weights(whole, "last")
    assert ours.keys() == theirs.keys()
    assert not torch.equal(ours["model.mlp.0.weight"], theirs["model.mlp.0.weight"])


def test_training_batches_alone_are_augmented(tmp_path):
    calls = []

    class Recorded(nn.Module):
        def forward(self, graphs):
            calls.append((self.training, len(graphs)))
            return graphs

    train(tmp_path, change(num_epochs=2), augmentation=Recorded())
    assert calls == [(True, 16)] * 2 * STEPS


def test_no_augmentation_is_that_of_none(uninterrupted, tmp_path):
    train(tmp_path, augmentation=Compose())
    assert_same_run(uninterrupted, tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.test_training import Interrupted, train
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
train(Path(sys.argv[1]), task=Interrupted(int(sys.argv[2]), kill, noise=2.0))
"""


def test_kill_in_an_epoch_and_going_on(uninterrupted, tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(2 * STEPS + 2)],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "NN_GRAPHS_PROGRESS": "0"},
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 2
    outcome = train(tmp_path, seed=11)
    assert without_time(outcome) == without_time(outcome_of(uninterrupted))
    assert_same_run(uninterrupted, tmp_path)


def test_minutes_add_up_over_the_parts(tmp_path, monkeypatch):
    clock(monkeypatch, 30)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, task=Interrupted(2 * STEPS + 2, fail))
    clock(monkeypatch, 60)
    assert train(tmp_path).minutes == 2 * 0.5 + 2 * 1.0


@pytest.mark.parametrize(
    "changes", [{"patience": 1}, {"max_minutes": 1.0}, {"max_cpu_minutes": 2.0}, {"num_epochs": 2}]
)
def test_interrupted_behind_its_last_epoch(tmp_path, monkeypatch, changes):
    """Training is over, testing is not: nothing more is trained."""
    clock(monkeypatch, 30)
    task = Scripted([50, 40])  # nothing is left for the test
    with pytest.raises(StopIteration):
        train(tmp_path, change(**changes), task)
    history = (tmp_path / "metrics.csv").read_text()
    assert len(history.splitlines()) == 3
    outcome = train(tmp_path, change(**changes), Scripted([77]))
    assert (outcome.best_epoch, outcome.val["accuracy"], outcome.test["accuracy"]) == (0, 50, 77)
    assert outcome.minutes == 1
    assert (tmp_path / "metrics.csv").read_text() == history


def test_patience_goes_on_where_it_was(tmp_path):
    settings = change(num_epochs=9, patience=2)
    task = Scripted([10, 50, 40])
    task.loss = Interrupted(3 * STEPS + 1, fail).loss
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, settings, task)
    outcome = train(tmp_path, settings, Scripted([30, 77]))
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 4
    assert (outcome.best_epoch, outcome.test["accuracy"]) == (1, 77)


def test_keyboard_interrupt_reaches_the_caller(uninterrupted, tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, task=Interrupted(STEPS + 1, interrupt, noise=2.0))
    finally:
        signal.signal(signal.SIGINT, before)
    train(tmp_path)
    assert_same_run(uninterrupted, tmp_path)


def test_finished_run_is_not_repeated(uninterrupted):
    class Untouchable(nn.Module):
        def forward(self, graphs):
            raise AssertionError("it was run")

    files = {file: file.stat().st_mtime_ns for file in uninterrupted.rglob("*")}
    task = make_task()
    outcome = train_and_test(Untouchable(), task, SHORT, uninterrupted)
    assert outcome == outcome_of(uninterrupted)
    assert {file: file.stat().st_mtime_ns for file in uninterrupted.rglob("*")} == files
    task.open_test()  # it was not opened


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_damaged_checkpoint(raises_saying, tmp_path, damage):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, task=Interrupted(STEPS + 1, fail, noise=2.0))
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000] if damage is None else damage)
    with raises_saying(
        asked=f"training in {tmp_path}",
        found=f"{last} cannot be read",
        do=f"Delete {last.parent} to train from the beginning",
    ):
        train(tmp_path)


def test_advice_is_followed_after_damage(uninterrupted, tmp_path):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, task=Interrupted(2 * STEPS + 1, fail, noise=2.0))
    for file in (tmp_path / "checkpoints").iterdir():
        file.unlink()
    train(tmp_path)
    assert_same_run(uninterrupted, tmp_path)


def test_forget_run_deletes_what_training_wrote_and_nothing_else(tmp_path):
    mine, notes = tmp_path / "mine" / "file", tmp_path / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    notes.write_text("mine")
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, task=Interrupted(STEPS + 1, fail))
    (tmp_path / "outcome.json").write_text("{}")
    forget_run(tmp_path)
    assert sorted(tmp_path.iterdir()) == [mine.parent, notes]
    forget_run(tmp_path)
    assert mine.read_text() == "mine"


def test_no_advice_of_lightning_is_shown(tmp_path, monkeypatch):
    """On a machine with many cores it would ask for workers that have nothing to do."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(32)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ZeroDivisionError):
            train(tmp_path, task=Interrupted(STEPS + 1, fail))
        train(tmp_path)
    assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize("changes", [{"num_epochs": 0}, {"batch_size": 0}])
def test_settings_that_train_nothing(raises_saying, changes):
    ((name, value),) = changes.items()
    with raises_saying(asked="train", found=f"{name} is {value}", do="at least 1"):
        change(**changes)


@pytest.mark.parametrize("changes", [{"accelerator": "abacus"}, {"precision": "3-bit"}])
def test_hardware_that_is_not_there(raises_saying, tmp_path, changes):
    ((name, value),) = changes.items()
    with raises_saying(asked=f"{name}={value}", found=value, do="Change"):
        train(tmp_path, change(**changes))


def test_defaults_are_the_published_ones():
    published = TrainingSettings()
    assert (published.num_epochs, published.batch_size, published.learning_rate) == (200, 128, 1e-3)
    assert (published.weight_decay, published.warmup_steps) == (5e-4, 1000)
    assert (published.gradient_clip, published.devices) == (10.0, 1)


def test_order_depends_on_seed_and_epoch_alone():
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(np.arange(20), seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert sorted(order(0, 0)) == list(range(20))
    torch.rand(5)
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_an_epoch_has_one_view_of_each_source():
    sources = np.array([7, 7, 7, 7, 3, 3, 9])
    sampler, chosen = EpochSampler(sources, seed=0), []
    assert len(sampler) == 3
    for epoch in range(400):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(sources[order]) == [3, 7, 9]
        chosen += order
    counts = np.bincount(chosen) / 400
    assert counts == pytest.approx([0.25] * 4 + [0.5] * 2 + [1], abs=0.07)
    sampler.set_epoch(5)
    assert list(sampler) == chosen[15:18]


def test_training_with_one_view_of_each_image(tmp_path, tiny_zoo):
    """24 images with two INRs each: an epoch is 2 steps of at most 16, not 3."""
    seen = []

    class Counted(INRClassification):
        def loss(self, outputs, labels):
            seen.append(len(labels))
            return super().loss(outputs, labels)

    for has_one_view, sizes in ((True, [16, 8]), (False, [16] * 3)):
        task = Counted(tiny_zoo)
        model = FlatMLP(task.templates[0], hidden_dims=(4,), out_dim=10)
        settings = change(num_epochs=2, has_one_view=has_one_view)
        train_and_test(model, task, settings, tmp_path / str(has_one_view))
        assert seen == sizes * 2
        seen.clear()


def test_views_of_what_is_not_known(raises_saying, tmp_path):
    with raises_saying(asked="views of the same image", found="label, split", do="`source_id`"):
        train(tmp_path, change(has_one_view=True))


@pytest.mark.parametrize(("num_networks", "processes"), [(8, 2), (7, 2), (10, 4), (3, 4)])
def test_parts_of_several_processes_make_the_split_again(num_networks, processes):
    values = torch.randn(num_networks, 3)
    parts = [
        list(DistributedSampler(values, num_replicas=processes, rank=rank, shuffle=False))
        for rank in range(processes)
    ]
    assert sum(map(len, parts)) == math.ceil(num_networks / processes) * processes
    gathered = torch.stack([values[part] for part in parts])
    assert torch.equal(in_split_order(gathered, num_networks=num_networks), values)
    labels = gathered[..., 0]
    assert torch.equal(in_split_order(labels, num_networks=num_networks), values[:, 0])


def test_errors_of_a_task_leave_training_as_they_are(tmp_path):
    task = make_task()
    task.open_test()
    with pytest.raises(NNGraphsError, match="scored before"):
        train(tmp_path, change(num_epochs=1), task)
