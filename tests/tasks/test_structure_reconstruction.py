"""Auto-encoders trained by the one loop: they learn, go on, don't depend on threads, and embed."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nn_graphs
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.vgae.graph_autoencoder import VGAE
from nn_graphs.encoders.vgae.structure_encoder import StructureEncoder
from nn_graphs.graphs.positional import LaplacianEncoding
from nn_graphs.tasks.models import make_classifier, make_flat_mlp
from nn_graphs.tasks.structure_reconstruction import StructureReconstruction
from nn_graphs.training import train_and_test
from nn_graphs.zoos.zoo import Zoo
from tests.encoders.cases import SMALL_NGT
from tests.toy_zoos import mixed_zoo, separable_zoo
from tests.training.runs import change, weights, without_time

pytestmark = pytest.mark.usefixtures("one_thread")
ENCODERS = {
    "structure": lambda *args: StructureEncoder(
        *args, dim=8, num_heads=2, encoding=LaplacianEncoding(2), dropout=0.1
    ),
    "gnn": lambda *args: NGGNN(*args, dim=8, num_layers=2, dropout=0.0),
    "ngt": lambda *args: NGT(*args, attention="edges", **SMALL_NGT),
}


def make_model(task: StructureReconstruction, name: str = "structure") -> nn.Module:
    torch.manual_seed(0)
    return make_classifier(
        task, encoder=ENCODERS[name], hidden_dims=[9], pooling="cat_mean", pooled_layer="all"
    )


def run(folder, zoo=None, *, name: str = "structure", model=None, options=None, **changes):
    options = {"latent_dim": 4, "kl_factor": 0.1} | (options or {})
    task = StructureReconstruction(zoo or separable_zoo(), **options)
    settings = change(**{"learning_rate": 1e-2} | changes)
    return train_and_test(model or make_model(task, name), task, settings, folder)


@pytest.mark.parametrize("name", ENCODERS)
def test_any_encoder_learns_to_reconstruct(tmp_path, name):
    options = {"weight_factor": 1.0}
    outcome = run(tmp_path, name=name, options=options, num_epochs=12)
    history = pd.read_csv(tmp_path / "metrics.csv")
    first, last = history.iloc[0], history.iloc[-1]
    assert last["val/loss"] < 0.95 * first["val/loss"]
    assert last["train/loss"] < 0.95 * first["train/loss"]
    assert outcome.best_epoch == history["val/elbo"].idxmax()
    assert outcome.val["elbo"] == -outcome.val["loss"]
    sum_of_parts = outcome.test["adjacency"] + outcome.test["weights"]
    assert outcome.test["loss"] > sum_of_parts > 0.1
    with np.load(tmp_path / "test_outputs.npz") as arrays:
        assert arrays["outputs"].shape == (16, 4)
        assert arrays["labels"].shape == (16, 0)


def test_the_trained_encoder_embeds_other_networks(tmp_path):
    task = StructureReconstruction(separable_zoo(), latent_dim=4)
    model = make_model(task)
    train_and_test(model, task, change(num_epochs=2), tmp_path)
    encoder = nn_graphs.load_encoder(tmp_path / "encoder.safetensors")
    assert isinstance(encoder, VGAE)
    best = weights(tmp_path, "best")
    state = encoder.state_dict()
    assert all(torch.equal(best[f"model.encoder.{key}"], state[key]) for key in state)
    vectors = nn_graphs.embed(encoder, mixed_zoo())
    assert vectors.shape == (80, 4 * task.dims.num_layers)
    assert np.isfinite(vectors).all()


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, monkeypatch):
    zoo = mixed_zoo()
    whole = run(tmp_path / "whole", zoo, chunk_size=5)
    calls, loss = [], StructureReconstruction.loss

    def failing(task, outputs, labels):
        calls.append(len(labels))
        if len(calls) == 23:
            raise ZeroDivisionError
        return loss(task, outputs, labels)

    with monkeypatch.context() as patch:
        patch.setattr(StructureReconstruction, "loss", failing)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path / "parts", zoo, chunk_size=5)
    assert without_time(run(tmp_path / "parts", zoo, chunk_size=5)) == without_time(whole)
    ours, theirs = (weights(tmp_path / each, "last") for each in ("whole", "parts"))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_number_of_threads_changes_nothing(tmp_path):
    found = []
    for num_threads in (1, 3):
        torch.set_num_threads(num_threads)
        outcome = run(tmp_path / str(num_threads), mixed_zoo(), num_epochs=2, chunk_size=4)
        found.append((outcome.val, outcome.test, weights(tmp_path / str(num_threads), "last")))
    assert found[0][:2] == found[1][:2]
    assert all(torch.equal(found[0][2][key], found[1][2][key]) for key in found[0][2])


def test_the_bound_on_val_is_of_the_same_draws_in_every_epoch(tmp_path):
    """Of latents, and of pairs without an edge."""
    options = {"all_pairs_below": 2}
    run(tmp_path, options=options, learning_rate=0.0, num_epochs=3)
    history = pd.read_csv(tmp_path / "metrics.csv")
    assert history["val/elbo"].nunique() == 1
    assert history["train/loss"].nunique() == 3


def test_losses_are_those_of_the_auto_encoder():
    task = StructureReconstruction(separable_zoo(), latent_dim=4, weight_factor=0.5)
    model, (graphs, labels) = make_model(task).eval(), task.dataset("val").batch([0, 1, 2])
    model.encoder.log_variance.weight.data.zero_()
    model.encoder.log_variance.bias.data.fill_(-200)  # draws are the means
    with torch.no_grad():
        outputs = task.outputs(model, graphs)
        expected = model.encoder.losses(graphs)
        objective = task.objective(model, graphs, labels)
    torch.testing.assert_close(outputs[:, 0], expected.total)
    torch.testing.assert_close(outputs[:, 1], expected.adjacency)
    torch.testing.assert_close(outputs[:, 2], expected.weights)
    torch.testing.assert_close(objective, expected.total.mean())
    assert task.metrics(outputs, labels)["elbo"] == pytest.approx(-objective.item())


def test_networks_of_a_run_may_lie_in_several_splits():
    zoo = separable_zoo()
    table = zoo.table.assign(run=np.arange(len(zoo)) % 5)
    StructureReconstruction(Zoo(zoo.specs, zoo.params, table))


def test_settings_are_told_from_others(raises_saying, tmp_path):
    run(tmp_path, num_epochs=1)
    with raises_saying(asked="for this run", found="settings of the task", do="forget_run"):
        run(tmp_path, options={"kl_factor": 0.2}, num_epochs=1)


def test_models_with_outputs_are_refused(raises_saying):
    task = StructureReconstruction(separable_zoo())
    with raises_saying(asked="structure_reconstruction", found="no labels", do="StructureEncoder"):
        make_flat_mlp(task, hidden_dims=[4], dropout=0.0)


@pytest.mark.parametrize("name", ["kl_factor", "weight_factor"])
def test_negative_factors(raises_saying, name):
    found = f"{name}: -0.5 is not at least 0"
    with raises_saying(asked="StructureReconstruction", found=found, do="Correct"):
        StructureReconstruction(separable_zoo(), **{name: -0.5})


def test_factors_that_train_nothing(raises_saying):
    with raises_saying(asked="reconstruct", found="kl_factor", do="one of the first two"):
        StructureReconstruction(separable_zoo(), adjacency_factor=0.0)
