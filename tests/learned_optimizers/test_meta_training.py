"""Meta-training: it learns, goes on bit for bit, and says what it cannot do."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from nn_graphs.learned_optimizers.meta_settings import MetaSettings
from nn_graphs.learned_optimizers.meta_training import meta_train, validation_loss
from nn_graphs.learned_optimizers.persistent_evolution import PersistentEvolution
from nn_graphs.learned_optimizers.registry import make_update
from nn_graphs.learned_optimizers.task_families import TaskFamily
from nn_graphs.learned_optimizers.unrolled_gradients import OneStepGradients, UnrolledGradients
from nn_graphs.zoos.makers.labelled_images import LabelledImages

pytestmark = pytest.mark.usefixtures("one_thread")
UPDATE = make_update("mlp")
TASKS = TaskFamily(
    LabelledImages("digits", scale="standard"), widths=(6, 4), batch_sizes=(16,), num_tasks=2
).tasks()
SETTINGS = MetaSettings(
    num_outer_steps=6, num_runs=3, val_every=2, num_val_runs=2, num_val_steps=5, warmup_steps=1
)
METHODS = {
    "unrolled": UnrolledGradients(2, 4),
    "one_step": OneStepGradients(2, 4),
    "evolution": PersistentEvolution(2, 4),
}


def train(folder, *, method="unrolled", settings=SETTINGS, tasks=TASKS):
    return meta_train(UPDATE, tasks, TASKS[:1], METHODS[method], settings, folder)


@pytest.mark.parametrize("method", METHODS)
def test_interrupted_meta_training_goes_on_bit_for_bit(method, tmp_path):
    whole = train(tmp_path / "whole", method=method)
    stopped = train(
        tmp_path / "parts", method=method, settings=replace(SETTINGS, max_cpu_minutes=0.0)
    )
    assert stopped.history["step"].tolist() == [0, 2]
    checkpoint = tmp_path / "parts" / "last.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "is_over": False}, checkpoint)
    again = train(tmp_path / "parts", method=method)
    assert torch.equal(whole.weights, again.weights)
    columns = ["step", "meta_loss", "val_loss", "diverged", "left_out"]
    pd.testing.assert_frame_equal(whole.history[columns], again.history[columns])
    assert whole.history["step"].tolist() == [0, 2, 4, 6]
    written = pd.read_csv(tmp_path / "parts" / "history.csv")
    assert written["val_loss"].tolist() == pytest.approx(again.history["val_loss"].tolist())
    finished = train(tmp_path / "parts", method=method)
    assert torch.equal(finished.weights, again.weights)


def test_seeds_decide(tmp_path):
    first, again, other = (
        train(tmp_path / str(number), settings=replace(SETTINGS, seed=seed))
        for number, seed in enumerate((0, 0, 1))
    )
    assert torch.equal(first.weights, again.weights)
    assert not torch.equal(first.weights, other.weights)


def test_it_learns(tmp_path):
    settings = replace(
        SETTINGS, num_outer_steps=24, val_every=12, learning_rate=1e-2, num_val_steps=20
    )
    method = UnrolledGradients(10, 20)
    outcome = meta_train(UPDATE, TASKS[:1], TASKS[:1], method, settings, tmp_path)
    first, *_, last = outcome.history["val_loss"]
    assert last < 0.9 * first
    assert outcome.val_loss == outcome.history["val_loss"].min()
    assert outcome.val_loss == validation_loss(UPDATE, outcome.weights, TASKS[:1], settings)


def test_meta_gradients_that_are_not_finite_are_left_out(tmp_path):
    class Broken(UnrolledGradients):
        def gradient(self, runs, weights, running, *, generator):
            found, loss, running = super().gradient(runs, weights, running, generator=generator)
            return found * torch.nan, loss, running

    outcome = meta_train(UPDATE, TASKS, TASKS[:1], Broken(2, 4), SETTINGS, tmp_path)
    assert outcome.history["left_out"].tolist() == [0, 2, 2, 2]
    assert torch.equal(outcome.weights, UPDATE.initial_weights(0))


def test_no_tasks_are_refused(tmp_path, raises_saying):
    with raises_saying(asked="train a learned", found="no inner task", do="TaskFamily"):
        meta_train(UPDATE, [], TASKS, METHODS["unrolled"], SETTINGS, tmp_path)
    with raises_saying(asked="validate a learned", found="no inner task", do="TaskFamily"):
        meta_train(UPDATE, TASKS, [], METHODS["unrolled"], SETTINGS, tmp_path)


def test_another_ones_folder_is_refused(tmp_path, raises_saying):
    train(tmp_path)
    with raises_saying(asked=str(tmp_path), found="seed was 0, now 1", do="folder of its own"):
        train(tmp_path, settings=replace(SETTINGS, seed=1))
    with raises_saying(asked=str(tmp_path), found="tasks was", do="folder of its own"):
        train(tmp_path, tasks=TASKS[1:])


def test_damaged_checkpoints_are_told(tmp_path, raises_saying):
    train(tmp_path)
    (tmp_path / "last.ckpt").write_bytes(b"damage")
    with raises_saying(asked="go on", found="last.ckpt cannot be read", do="Delete"):
        train(tmp_path)
    (tmp_path / "meta_training.json").write_text("{")
    with raises_saying(asked="use", found="meta_training.json cannot be read", do="folder"):
        train(tmp_path)


@pytest.mark.parametrize("name", ["num_outer_steps", "num_runs", "val_every", "num_val_steps"])
def test_impossible_settings_are_refused(name, raises_saying):
    with raises_saying(
        asked="make MetaSettings", found=f"{name}: 0 is not at least 1", do="Correct"
    ):
        replace(SETTINGS, **{name: 0})


def test_schedules():
    settings = MetaSettings(num_outer_steps=100, learning_rate=1.0, warmup_steps=10)
    assert settings.rate(0) == pytest.approx(0.1)
    assert settings.rate(50) == pytest.approx(0.5)
    assert settings.rate(99) < 1e-3
    assert replace(settings, schedule="constant").rate(99) == 1
