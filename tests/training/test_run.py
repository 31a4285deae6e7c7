"""Training: it learns, chooses by val, stops when told, and keeps its folder to itself."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphHead, GraphModel
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.augmentations import Compose, WeightNoise
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.training import forget_run, train_and_test
from tests.toy_zoos import mixed_zoo, separable_zoo
from tests.training.runs import (
    SHORT,
    STEPS,
    Interrupted,
    Scripted,
    assert_same_run,
    change,
    clock,
    fail,
    make_model,
    make_task,
    outcome_of,
    train,
    weights,
    without_time,
)

PLACES = {"train": 7, "val": 50, "test": 79}  # of a network of each split

pytestmark = pytest.mark.usefixtures("one_thread")


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
    graphs, labels = dataset.batch(list(range(len(dataset))))
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


def test_averaged_weights_are_what_is_validated_and_tested(tmp_path):
    """The average of one epoch, taken step by step, is what gives the test outputs."""
    seen, step = [], torch.optim.AdamW.step
    model = make_model(make_task(), dropout=0.0)
    with pytest.MonkeyPatch.context() as patch:

        def recording_step(optimizer, closure=None):
            result = step(optimizer)
            seen.append([p.detach().clone() for p in model.parameters()])
            return result

        patch.setattr(torch.optim.AdamW, "step", recording_step)
        settings = change(num_epochs=1, ema_decay=0.75)
        train_and_test(model, make_task(), settings, tmp_path)
    average = seen[0]
    for values in seen[1:]:
        average = [0.75 * a + 0.25 * v for a, v in zip(average, values, strict=True)]
    assert len(seen) == STEPS
    expected = make_model(make_task(), dropout=0.0)
    for parameter, value in zip(expected.parameters(), average, strict=True):
        parameter.data.copy_(value)
    graphs, _ = make_task().open_test().batch([*range(10)])
    outputs = np.load(tmp_path / "test_outputs.npz")["outputs"][:10]
    np.testing.assert_allclose(expected.eval()(graphs).detach(), outputs, rtol=1e-5, atol=1e-6)
    history = pd.read_csv(tmp_path / "metrics.csv")
    assert history["step"].tolist() == [STEPS]
    assert history["cpu_minutes"][0] > 0


def test_operations_are_not_split_among_cores(tmp_path):
    """Whatever the model: beside other programs a barrier in every operation costs most."""
    model, seen = make_model(make_task()), set()
    model.register_forward_pre_hook(lambda *_: seen.add(torch.get_num_threads()))
    torch.set_num_threads(3)
    train_and_test(model, make_task(), change(num_epochs=1), tmp_path)
    assert torch.get_num_threads() == 3
    assert seen == {1}


def test_patience(tmp_path):
    outcome = train(tmp_path, change(num_epochs=9, patience=2), Scripted([10, 50, 40, 30, 77]))
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 4
    assert (outcome.best_epoch, outcome.test["accuracy"]) == (1, 77)


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


def test_errors_of_a_task_leave_training_as_they_are(tmp_path):
    task = make_task()
    task.open_test()
    with pytest.raises(NNGraphsError, match="scored before"):
        train(tmp_path, change(num_epochs=1), task)


def test_another_run_is_refused(raises_saying, uninterrupted):
    task = make_task(noise=2.0)
    faster = replace(SHORT, learning_rate=0.5)
    told = f"learning_rate was {SHORT.learning_rate}, now 0.5"
    with raises_saying(asked=str(uninterrupted), found=told, do="forget_run"):
        train_and_test(make_model(task), task, faster, uninterrupted)
    with raises_saying(asked="for this run", found="parameters was", do="folder of its own"):
        train_and_test(nn.Linear(2, 3), task, SHORT, uninterrupted)
    elsewhere = replace(SHORT, chunk_size=3)
    found = train_and_test(make_model(task), task, elsewhere, uninterrupted)
    assert found == outcome_of(uninterrupted)


def test_a_run_that_failed_before_its_first_checkpoint_has_not_begun(tmp_path):
    """A mistake that is corrected needs no other folder, and leaves no traces in the new run."""
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, task=Interrupted(2, fail, noise=2.0))
    corrected = change(num_epochs=1, learning_rate=0.02)
    outcome = train(tmp_path, corrected)
    assert without_time(outcome) == without_time(train(tmp_path / "own", corrected))
    assert json.loads((tmp_path / "run.json").read_text())["learning_rate"] == 0.02


def other_task(*, params: int | None = None, label: int | None = None) -> INRClassification:
    """The task of `uninterrupted` with one parameter, or the label of a network, changed."""
    zoo = separable_zoo(noise=2.0)
    if params is not None:
        zoo.params[0][params, -1] += 1e-6
    if label is not None:
        zoo.table.loc[label, "label"] = 1 - zoo.table.loc[label, "label"]
    return INRClassification(zoo)


@pytest.mark.parametrize(
    ("found", "changes"),
    [
        *((f"labels of {split}", {"label": number}) for split, number in PLACES.items()),
        *((f"networks of {split}", {"params": number}) for split, number in PLACES.items()),
    ],
)
def test_other_contents_of_a_zoo_as_large_are_refused(raises_saying, uninterrupted, found, changes):
    with raises_saying(asked="for this run", found=f"({found} was", do="folder of its own"):
        train(uninterrupted, task=other_task(**changes))


@pytest.mark.parametrize(
    ("found", "options"),
    [
        ("model was", {"dropout": 0.4}),
        ("initial values was", {"seed": 1}),
        ("augmentation was None", {"augmentation": Compose([WeightNoise(share=0.1)])}),
    ],
)
def test_other_model_or_augmentation_is_refused(raises_saying, uninterrupted, found, options):
    with raises_saying(asked="for this run", found=f"({found}", do="folder of its own"):
        train(uninterrupted, **options)


def test_other_strength_of_an_augmentation_is_refused(raises_saying, tmp_path):
    settings = change(num_epochs=1)
    outcome = train(tmp_path, settings, augmentation=Compose([WeightNoise(share=0.1)]))
    with raises_saying(asked="this run", found="(augmentation was", do="folder of its own"):
        train(tmp_path, settings, augmentation=Compose([WeightNoise(share=0.2)]))
    assert train(tmp_path, settings, augmentation=Compose([WeightNoise(share=0.1)])) == outcome


def test_forget_run_deletes_what_training_wrote_and_nothing_else(tmp_path):
    mine, notes = tmp_path / "mine" / "file", tmp_path / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    notes.write_text("mine")
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, task=Interrupted(STEPS + 1, fail, noise=2.0))
    (tmp_path / "outcome.json").write_text("{}")
    forget_run(tmp_path)
    assert sorted(tmp_path.iterdir()) == [mine.parent, notes]
    forget_run(tmp_path)
    assert mine.read_text() == "mine"
