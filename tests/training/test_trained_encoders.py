"""A run leaves the encoder of the model that was tested, as one file."""

import numpy as np
import pytest
import torch
from torch import nn

import nn_graphs
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphHead, GraphModel
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.training import forget_run, train_and_test
from tests.training.runs import change, make_model, make_task, weights

pytestmark = pytest.mark.usefixtures("one_thread")


class Nameless(NGGNN):
    """Of no registered class."""


def make_graph_model(task: INRClassification, *, encoder: type[nn.Module] = NGGNN) -> GraphModel:
    torch.manual_seed(0)
    encoder = encoder(task.templates, task.statistics(), dim=4, num_layers=2)
    pooling = Pooling("cat", dims=task.dims, node_dim=4, edge_dim=4)
    return GraphModel(encoder, GraphHead(pooling, hidden_dims=[], out_dim=task.out_dim))


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_its_vectors_are_those_that_the_tested_head_reads(tmp_path, ema_decay):
    task = make_task()
    settings = change(num_epochs=3, ema_decay=ema_decay)
    train_and_test(make_graph_model(task), task, settings, tmp_path)
    encoder = nn_graphs.load_encoder(tmp_path / "encoder.safetensors")
    vectors = nn_graphs.embed(encoder, task.zoo.select(task.zoo.indices("test")))
    best = weights(tmp_path, "best")
    prefix = "model." if ema_decay is None else "averaged.module."
    weight, bias = (best[f"{prefix}head.mlp.0.{name}"].numpy() for name in ("weight", "bias"))
    outputs = np.load(tmp_path / "test_outputs.npz")["outputs"]
    np.testing.assert_allclose(vectors @ weight.T + bias, outputs, rtol=1e-4, atol=1e-5)
    assert np.ptp(outputs, axis=0).min() > 1e-3
    forget_run(tmp_path)
    assert not list(tmp_path.iterdir())


def test_models_without_one_and_encoders_without_a_name_train_as_ever(tmp_path, caplog):
    caplog.set_level("INFO")
    task = make_task()
    train_and_test(make_model(task), task, change(num_epochs=1), tmp_path / "flat")
    assert not (tmp_path / "flat" / "encoder.safetensors").exists()
    assert "in the checkpoints alone" not in caplog.text
    task = make_task()
    model = make_graph_model(task, encoder=Nameless)
    train_and_test(model, task, change(num_epochs=1), tmp_path / "own")
    assert not (tmp_path / "own" / "encoder.safetensors").exists()
    assert "Nameless" in caplog.text
