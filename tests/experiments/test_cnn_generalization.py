"""CNN generalization as a user runs it: from published files to a row of results."""

import json
import shlex

import numpy as np
import pytest
import torch
from support.launch import EXPERIMENTS

from nn_graphs.metrics import kendall_tau
from nn_graphs.results import read_results
from nn_graphs.zoos.zoo import Zoo
from tests.experiments.in_process import commands_of
from tests.zoos.readers.small_cnns import write_zoo

FOLDER = EXPERIMENTS / "cnn_generalization"
PUBLISHED = ("zoo=small_cnn_zoo_cifar10",)
TINY = (
    *PUBLISHED,
    "encoder.model.hidden_dims=[8]",
    "trainer.num_epochs=2",
    "trainer.batch_size=8",
    "trainer.accelerator=cpu",
    "trainer.learning_rate=0.01",
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run_main(tmp_path):
    """`python main.py ...` in this process, on a zoo in the publisher's files."""
    files = write_zoo(tmp_path / "small_cnn_zoo_cifar10", 40)
    options = (f"data_root={tmp_path}", f"zoo.source.folder={files}")
    with commands_of(FOLDER, tmp_path) as command:

        def run(*overrides: str, tiny: tuple[str, ...] = TINY):
            command(*options, *tiny, *overrides)
            return tmp_path

        yield run


def test_from_published_files_to_results(run_main):
    place = run_main("encoder=statnn", "target.activation=relu", "target.loss_name=mse")
    run = place / "run"
    for name in ("learning_curves.png", "predictions.png"):
        assert (run / name).read_bytes().startswith(b"\x89PNG")
    assert (place / "scores_small_cnn_zoo_cifar10.png").exists()
    zoo = Zoo.open(place / "small_cnn_zoo_cifar10.h5")
    is_tested = (zoo.table["split"] == "test") & (zoo.table["activation"] == "relu")
    arrays = np.load(run / "test_outputs.npz")
    np.testing.assert_allclose(arrays["labels"], zoo.table["label"][is_tested], rtol=1e-6)
    outcome = json.loads((run / "outcome.json").read_text())
    outputs, labels = (torch.from_numpy(arrays[name]) for name in ("outputs", "labels"))
    assert outcome["test"]["tau"] == pytest.approx(kendall_tau(outputs[:, 0], labels))
    rows = read_results(place / "results.csv").set_index("metric")
    assert rows.loc["test/tau", "value"] == round(outcome["test"]["tau"], 6)
    assert {"val/tau", "test/tau_ceiling", "test/tau_of_ceiling", "test/r2"} <= set(rows.index)
    assert set(rows["task"]) == {"cnn_generalization"}
    assert "target.activation=relu" in shlex.split(rows["options"].iloc[0])


def test_neural_graphs_of_both_activations(run_main):
    place = run_main("encoder.model.encoder.dim=4", "encoder.model.encoder.num_layers=2")
    outcome = json.loads((place / "run" / "outcome.json").read_text())
    assert -1 <= outcome["test"]["tau"] <= outcome["test"]["tau_ceiling"]
    assert len(np.load(place / "run" / "test_outputs.npz")["labels"]) == 20


def test_the_published_command_with_its_augmentation(run_main):
    """Relu and tanh are two architectures, whose batches are mixed."""
    options = ("encoder.model.encoder.dim=4", "encoder.model.encoder.num_layers=2")
    published = ("encoder=ng_gnn_cnn_zoo", "target.loss_name=mse", "augmentation=weights")
    place = run_main(*published, *options)
    outcome = json.loads((place / "run" / "outcome.json").read_text())
    assert -1 <= outcome["test"]["tau"] <= outcome["test"]["tau_ceiling"]
    assert len(np.load(place / "run" / "test_outputs.npz")["labels"]) == 20


def test_boosted_trees_like_any_other(run_main):
    tiny = ("encoder.fit_and_test.settings.num_trees=10", *PUBLISHED)
    place = run_main("encoder=boosted_trees", tiny=tiny)
    outcome = json.loads((place / "run" / "outcome.json").read_text())
    rows = read_results(place / "results.csv").set_index("metric")
    assert rows.loc["test/tau", "value"] == round(outcome["test"]["tau"], 6)
    assert set(rows["model"]) == {"boosted_trees"}
    for name in ("learning_curves.png", "predictions.png"):
        assert (place / "run" / name).read_bytes().startswith(b"\x89PNG")


def test_boosted_trees_see_no_augmentation(run_main):
    with pytest.raises(SystemExit, match="augmentation=none"):
        run_main("encoder=boosted_trees", "augmentation=weights", tiny=PUBLISHED)


@pytest.mark.parametrize(
    "encoder", [("nfn_hnp_small", "encoder.model.encoder.dims=[4]"), ("flat_mlp",)]
)
def test_models_of_one_architecture_on_both_activations(run_main, encoder):
    name, *options = encoder
    place = run_main(f"encoder={name}", *options)
    assert len(np.load(place / "run" / "test_outputs.npz")["labels"]) == 20


@pytest.mark.parametrize("encoder", ["ng_gnn_cnn_small", "ng_t_cnn_small"])
def test_encoders_for_a_cpu(run_main, encoder):
    place = run_main(f"encoder={encoder}", "encoder.model.encoder.num_layers=2")
    assert len(np.load(place / "run" / "test_outputs.npz")["labels"]) == 20
