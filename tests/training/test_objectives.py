"""What a model is trained on is said by its task: here, what edited networks give at some points.

The same runs, chunks and checkpoints as for labels.
"""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from nn_graphs.encoders.dropout import draws_generator
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphModel, ParameterHead
from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.tasks.task import Task
from nn_graphs.training import train_and_test
from nn_graphs.training.chunks import forward_in_chunks
from tests.toy_zoos import separable_zoo
from tests.training.runs import change, weights, without_time

pytestmark = pytest.mark.usefixtures("one_thread")
POINTS = torch.linspace(-1, 1, 8).repeat(2, 1).T  # [points, 2]
NUM_DRAWN = 5


class Halving(Task):
    """Changes networks so that their outputs halve; trained on some points, scored on all."""

    name = "halving"
    metric = "closeness"
    out_dim = 1

    def __init__(self):
        super().__init__(separable_zoo())
        self._happens_at, self._steps = None, 0

    def fail_at(self, step: int) -> "Halving":
        self._happens_at = step
        return self

    def labels(self):
        return self._rendered(self.zoo.params[0], POINTS) / 2

    def outputs(self, model, graphs):
        return self._rendered(self._edited(model, graphs), POINTS)

    def objective(self, model, graphs, labels):
        self._steps += 1
        if self._steps == self._happens_at:
            raise ZeroDivisionError("in the middle of an epoch")
        generator = draws_generator(labels.device)
        drawn = torch.randperm(len(POINTS), generator=generator)[:NUM_DRAWN]
        outputs = self._rendered(self._edited(model, graphs), POINTS[drawn])
        return self.loss(outputs, labels[:, drawn])

    def loss(self, outputs, labels):
        return (outputs - labels).square().mean()

    def metrics(self, outputs, labels):
        return {"closeness": -self.loss(outputs, labels).item()}

    def _edited(self, model, graphs):
        edited = model(graphs)
        return edited.template.invert(edited)

    def _rendered(self, params, points):
        return stacked_forward(self.zoo.spec, params, points).squeeze(-1)


def make_editor(task: Task) -> GraphModel:
    torch.manual_seed(0)
    encoder = NGGNN(task.templates, task.statistics(), dim=4, num_layers=2, dropout=0.0)
    return GraphModel(encoder, ParameterHead(encoder.node_dim, encoder.edge_dim, dims=task.dims))


def run(folder, task=None, **changes):
    task = task or Halving()
    settings = change(**{"learning_rate": 3e-2} | changes)
    return train_and_test(make_editor(task), task, settings, folder)


def test_networks_are_edited_by_what_they_compute(tmp_path):
    outcome = run(tmp_path, num_epochs=12)
    history = pd.read_csv(tmp_path / "metrics.csv")
    assert history["val/closeness"].iloc[-1] > 0.5 * history["val/closeness"].iloc[0]
    assert history["train/loss"].iloc[-1] < 0.5 * history["train/loss"].iloc[0]
    assert outcome.val["closeness"] == history["val/closeness"].max()
    with np.load(tmp_path / "test_outputs.npz") as arrays:
        assert arrays["outputs"].shape == arrays["labels"].shape == (16, len(POINTS))
        error = np.square(arrays["outputs"] - arrays["labels"]).mean()
    assert -error == pytest.approx(outcome.test["closeness"], rel=1e-5)


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path):
    whole = run(tmp_path / "whole", chunk_size=4)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "parts", Halving().fail_at(17), chunk_size=4)
    assert without_time(run(tmp_path / "parts", chunk_size=4)) == without_time(whole)
    ours, theirs = (weights(tmp_path / name, "last") for name in ("whole", "parts"))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_number_of_threads_changes_nothing(tmp_path):
    outcomes = []
    for num_threads in (1, 3):
        torch.set_num_threads(num_threads)
        found = run(tmp_path / str(num_threads), num_epochs=2, chunk_size=4)
        outcomes.append((found.val, found.test))
    assert outcomes[0] == outcomes[1]


class Noisy(Halving):
    """What is scored is drawn too."""

    def outputs(self, model, graphs):
        outputs = super().outputs(model, graphs)
        return outputs + torch.randn(outputs.shape, generator=draws_generator(outputs.device))


def test_what_is_drawn_on_val_is_the_same_in_every_epoch(tmp_path):
    """And takes no numbers from the stream that training draws from."""
    run(tmp_path / "noisy", Noisy(), num_epochs=3, learning_rate=0.0, chunk_size=4)
    found = pd.read_csv(tmp_path / "noisy" / "metrics.csv")
    assert found["val/closeness"].nunique() == 1
    assert found["train/loss"].nunique() == 3  # training draws anew
    run(tmp_path / "plain", num_epochs=3, learning_rate=0.0, chunk_size=4)
    plain = pd.read_csv(tmp_path / "plain" / "metrics.csv")
    assert plain["train/loss"].tolist() == found["train/loss"].tolist()


def test_chunks_draw_by_themselves_and_by_the_key():
    task = Noisy()
    graphs, _ = task.dataset("val").batch([*range(12)])
    same = graphs.with_features(
        *(each[:1].expand_as(each) for each in (graphs.node_features, graphs.edge_features))
    )
    model = make_editor(task)
    with torch.no_grad():
        found = [
            forward_in_chunks(model, same, outputs=task.outputs, key=key, chunk_size=4)
            for key in (1, 1, 2)
        ]
    assert torch.equal(found[0], found[1])
    assert not torch.isclose(found[0], found[2]).any()
    assert not torch.isclose(found[0][:4], found[0][4:8]).any()


def test_a_finished_run_says_what_it_is(tmp_path):
    run(tmp_path, num_epochs=1)
    assert json.loads((tmp_path / "run.json").read_text())["task"] == "halving"
