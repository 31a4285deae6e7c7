"""Boosted trees: they learn, choose on val alone, and open the test split once."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kendalltau

from nn_graphs.boosted_trees import TreeSettings, fit_and_test_trees, statistics_of
from nn_graphs.encoders.statnn import NUM_STATISTICS
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.cnn import wild_park_spec
from nn_graphs.networks.spec import ConvSpec, NetworkSpec
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.tasks.task import Task
from nn_graphs.zoos.zoo import Zoo
from tests.toy_zoos import separable_zoo

SPECS = (
    wild_park_spec((1, 2, 3), (3, 1), activations=("relu", "tanh"), num_outputs=2),
    NetworkSpec.cnn(
        (1, 2), convs=ConvSpec.square(3), activations=Activation("relu"), num_outputs=2
    ),
)
SETTINGS = TreeSettings(learning_rates=(0.1, 0.3), max_leaf_nodes=(4,), num_trees=60)


class Spread(Task):
    """How far the weights of a network spread."""

    name, metric, out_dim = "spread", "tau", 1

    def labels(self):
        return torch.from_numpy(self.zoo.table["label"].to_numpy().astype("float32"))

    def loss(self, outputs, labels):
        return (outputs.squeeze(1) - labels).square().mean()

    def metrics(self, outputs, labels):
        return {"tau": kendalltau(outputs.squeeze(1), labels).statistic}


class Pairs(Spread):
    """Two labels a network."""

    def labels(self):
        return super().labels().unsqueeze(1).expand(-1, 2)


def cnn_zoo(num_networks: int = 160) -> Zoo:
    generator = np.random.default_rng(0)
    kinds = generator.integers(0, 2, num_networks)
    rows = np.where(kinds == 0, np.cumsum(kinds == 0), np.cumsum(kinds == 1)) - 1
    labels = generator.uniform(0.2, 1.0, num_networks)
    params = tuple(
        torch.from_numpy(
            labels[kinds == kind][:, None]
            * generator.normal(size=((kinds == kind).sum(), spec.num_params))
        ).float()
        for kind, spec in enumerate(SPECS)
    )
    splits = np.repeat(["train", "val", "test"], [100, 30, 30])
    table = pd.DataFrame({"label": labels, "split": splits, "spec": kinds, "row": rows})
    return Zoo(SPECS, params, table)


def test_features_are_missing_where_a_network_has_no_such_tensor():
    task = Spread(cnn_zoo())
    features = statistics_of(task.dataset("train"), task)
    tensors = features.reshape(100, -1, NUM_STATISTICS)
    kinds = task.zoo.table["spec"].to_numpy()[:100]
    assert (np.isnan(tensors).all(-1) == np.isnan(tensors).any(-1)).all()
    assert np.isnan(tensors[kinds == 0]).sum() == 0
    assert np.isnan(tensors[kinds == 1]).all(-1).sum(1).tolist() == [2] * (kinds == 1).sum()


def test_trees_learn_and_are_chosen_on_val(tmp_path):
    outcome = fit_and_test_trees(Spread(cnn_zoo()), tmp_path, settings=SETTINGS)
    assert outcome.val["tau"] > 0.6
    assert outcome.test["tau"] > 0.6
    assert 0 < outcome.best_epoch < 60
    saved = np.load(tmp_path / "test_outputs.npz")
    assert kendalltau(saved["outputs"][:, 0], saved["labels"]).statistic == outcome.test["tau"]
    zoo = cnn_zoo()
    scrambled = np.where(zoo.table["split"] == "test", zoo.table["label"][::-1], zoo.table["label"])
    other = fit_and_test_trees(
        Spread(Zoo(zoo.specs, zoo.params, zoo.table.assign(label=scrambled))),
        tmp_path / "other",
        settings=SETTINGS,
    )
    assert (other.val, other.best_epoch) == (outcome.val, outcome.best_epoch)
    assert other.test["tau"] < 0.5


def test_a_finished_run_is_read(tmp_path):
    task = Spread(cnn_zoo())
    first = fit_and_test_trees(task, tmp_path, settings=SETTINGS)
    again = fit_and_test_trees(task, tmp_path, settings=SETTINGS)  # the test split stays shut
    assert again == first


def test_classes(tmp_path):
    task = INRClassification(separable_zoo())
    outcome = fit_and_test_trees(task, tmp_path, settings=SETTINGS)
    assert outcome.test["accuracy"] > 80
    saved = np.load(tmp_path / "test_outputs.npz")
    np.testing.assert_allclose(np.exp(saved["outputs"]).sum(1), 1, rtol=1e-5)


def test_a_class_that_no_training_network_has_is_unlikely(tmp_path):
    zoo = separable_zoo()
    is_third = (zoo.table["split"] == "test") & (np.arange(len(zoo)) % 4 == 0)
    zoo = Zoo(zoo.specs, zoo.params, zoo.table.assign(label=zoo.table["label"].mask(is_third, 2)))
    outcome = fit_and_test_trees(INRClassification(zoo), tmp_path, settings=SETTINGS)
    outputs = np.load(tmp_path / "test_outputs.npz")["outputs"]
    assert outputs.shape[1] == 3
    assert (outputs[:, 2] < -20).all()
    assert 0 < outcome.test["accuracy"] <= 75


def test_several_labels_a_network_are_refused(raises_saying, tmp_path):
    task = Pairs(cnn_zoo())
    with raises_saying(asked="spread", found="[100, 2]", do="one number or class a network"):
        fit_and_test_trees(task, tmp_path, settings=SETTINGS)


def test_history_of_the_chosen_trees(tmp_path):
    outcome = fit_and_test_trees(Spread(cnn_zoo()), tmp_path, settings=SETTINGS)
    history = pd.read_csv(tmp_path / "metrics.csv")
    assert history.columns[0] == "trees"
    assert history["trees"].tolist() == [10, 20, 30, 40, 50, 60]
    assert history["train/loss"].is_monotonic_decreasing
    best = history.loc[history["val/tau"].idxmax()]
    assert (best["trees"] - 1, best["val/tau"]) == (outcome.best_epoch, outcome.val["tau"])


@pytest.mark.parametrize("number", [1, 7, 60])
def test_the_first_trees_are_those_of_a_shorter_fit(number, tmp_path):
    """What is scored on test is the model with the chosen number of trees."""
    settings = TreeSettings(
        learning_rates=(0.2,), max_leaf_nodes=(4,), num_trees=number, check_every=number
    )
    outcome = fit_and_test_trees(Spread(cnn_zoo()), tmp_path, settings=settings)
    assert outcome.best_epoch == number - 1
    assert outcome.num_params == 4 * number
