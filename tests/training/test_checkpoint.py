"""An interrupted run ends as if never interrupted, and its checkpoints run no code."""

import os
import pickle
import random
import signal
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nn_graphs.training import train_and_test
from nn_graphs.training.checkpoint import random_states, restore_random_states
from tests.processes import Forked
from tests.training.runs import (
    SHORT,
    STEPS,
    Interrupted,
    Scripted,
    assert_same_run,
    change,
    clock,
    fail,
    make_augmentation,
    make_model,
    make_task,
    outcome_of,
    train,
    weights,
    without_time,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("step", [1, STEPS + 1, 2 * STEPS + 2, 4 * STEPS])
def test_exception_and_going_on(uninterrupted, tmp_path, step):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, task=Interrupted(step, fail, noise=2.0))
    assert not (tmp_path / "outcome.json").exists()
    outcome = train(tmp_path)
    assert without_time(outcome) == without_time(outcome_of(uninterrupted))
    assert_same_run(uninterrupted, tmp_path)


@pytest.mark.parametrize("step", [STEPS + 1, 2 * STEPS + 2])
def test_going_on_with_augmentation(uninterrupted, tmp_path, step):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, augmentation=make_augmentation())
    task = Interrupted(step, fail, noise=2.0)
    with pytest.raises(ZeroDivisionError):
        train(parts, task=task, augmentation=make_augmentation())
    train(parts, augmentation=make_augmentation())
    assert_same_run(whole, parts)
    ours, theirs = weights(uninterrupted, "last"), weights(whole, "last")
    assert ours.keys() == theirs.keys()
    assert not torch.equal(ours["model.mlp.0.weight"], theirs["model.mlp.0.weight"])


def test_going_on_with_averaged_weights_and_a_schedule(uninterrupted, tmp_path):
    settings = change(ema_decay=0.9, schedule="cosine")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, settings)
    with pytest.raises(ZeroDivisionError):
        train(parts, settings, task=Interrupted(2 * STEPS + 2, fail, noise=2.0))
    train(parts, settings)
    assert_same_run(whole, parts)


def train_and_die(folder: Path, step: int) -> None:
    torch.set_num_threads(1)
    train(folder, task=Interrupted(step, partial(os.kill, os.getpid(), signal.SIGKILL), noise=2.0))


def test_kill_in_an_epoch_and_going_on(uninterrupted, tmp_path):
    killed = Forked(train_and_die, tmp_path, 2 * STEPS + 2)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 2
    outcome = train(tmp_path)
    assert without_time(outcome) == without_time(outcome_of(uninterrupted))
    assert_same_run(uninterrupted, tmp_path)


def test_minutes_add_up_over_the_parts(tmp_path, monkeypatch):
    clock(monkeypatch, 30)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, task=Interrupted(2 * STEPS + 2, fail, noise=2.0))
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
    def untouchable(graphs):
        raise AssertionError("it was run")

    files = times(uninterrupted)
    task = make_task(noise=2.0)
    model = make_model(task)
    model.forward = untouchable
    outcome = train_and_test(model, task, SHORT, uninterrupted)
    assert outcome == outcome_of(uninterrupted)
    assert times(uninterrupted) == files
    task.open_test()  # it was not opened


def times(folder) -> dict[str, int]:
    """When files were written."""
    return {file.name: file.stat().st_mtime_ns for file in folder.rglob("*")}


def test_what_another_process_trains_is_waited_for(uninterrupted, tmp_path, other_writer):
    copies = {uninterrupted / name: tmp_path / name for name in ("run.json", "outcome.json")}
    other_writer(tmp_path / "run.json", copies)
    task = make_task(noise=2.0)
    assert train_and_test(make_model(task), task, SHORT, tmp_path) == outcome_of(uninterrupted)
    assert not (tmp_path / "checkpoints").exists()
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


class Malicious:
    """What writes a file where it is unpickled."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("name", ["last", "best"])
@pytest.mark.parametrize(
    "save", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what))]
)
def test_code_in_a_checkpoint_is_not_run(raises_saying, tmp_path, save, name):
    """Also where it lies among what belongs there, and also that of the best epoch."""
    task = Scripted([50, 40])  # nothing is left for the test
    with pytest.raises(StopIteration):
        train(tmp_path, change(num_epochs=2), task)
    path, proof = tmp_path / "checkpoints" / f"{name}.ckpt", tmp_path / "proof"
    content = torch.load(path, weights_only=True)
    save({**content, "history": Malicious(proof)}, path)
    with raises_saying(
        asked="go on", found=f"{path} cannot be read (it is damaged, or", do="Delete"
    ):
        train(tmp_path, change(num_epochs=2), Scripted([77]))
    assert not proof.exists()
    torch.load(path, weights_only=False) if save is torch.save else pickle.loads(path.read_bytes())
    assert proof.exists()


def test_random_numbers_go_on_behind_a_file_of_plain_data(tmp_path):
    np.random.normal()  # noqa: NPY002 (one more is kept)
    torch.save(random_states(), tmp_path / "states")
    draws = [lambda: torch.rand(3).tolist(), lambda: np.random.normal(size=3).tolist()]  # noqa: NPY002
    draws += [random.random, lambda: random.gauss(0, 1)]
    before = [draw() for draw in draws]
    restore_random_states(torch.load(tmp_path / "states", weights_only=True))
    assert [draw() for draw in draws] == before


def test_advice_is_followed_after_damage(uninterrupted, tmp_path):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, task=Interrupted(2 * STEPS + 1, fail, noise=2.0))
    for file in (tmp_path / "checkpoints").iterdir():
        file.unlink()
    train(tmp_path)
    assert_same_run(uninterrupted, tmp_path)


def test_no_advice_of_lightning_is_shown(tmp_path, monkeypatch):
    """On a machine with many cores it would ask for workers that have nothing to do."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(32)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ZeroDivisionError):
            train(tmp_path, task=Interrupted(STEPS + 1, fail, noise=2.0))
        train(tmp_path)
    assert [str(warning.message) for warning in caught] == []


def test_random_states_of_more_gpus_than_there_are(monkeypatch):
    """A run that began on two GPUs goes on where there is one, or none."""
    restored = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *state: restored.append(state))
    states = random_states() | {"cuda": [torch.zeros(16), torch.ones(16)]}
    for count in (0, 1):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        restore_random_states(states)
    assert [number for _, number in restored] == [0]
