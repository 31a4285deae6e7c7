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
    outcome = fit_and_test_trees(Spread(cnn_zoo()), SETTINGS, tmp_path)
    assert outcome.val["tau"] > 0.6
    assert outcome.test["tau"] > 0.6
    assert 0 < outcome.best_epoch < 60
    saved = np.load(tmp_path / "test_outputs.npz")
    assert kendalltau(saved["outputs"][:, 0], saved["labels"]).statistic == outcome.test["tau"]
    zoo = cnn_zoo()
    scrambled = np.where(zoo.table["split"] == "test", zoo.table["label"][::-1], zoo.table["label"])
    other = fit_and_test_trees(
        Spread(Zoo(zoo.specs, zoo.params, zoo.table.assign(label=scrambled))),
        SETTINGS,
        tmp_path / "other",
    )
    assert (other.val, other.best_epoch) == (outcome.val, outcome.best_epoch)
    assert other.test["tau"] < 0.5


def test_a_finished_run_is_read(tmp_path):
    task = Spread(cnn_zoo())
    first = fit_and_test_trees(task, SETTINGS, tmp_path)
    assert fit_and_test_trees(task, SETTINGS, tmp_path) == first  # the test split stays shut


def test_classes_are_no_numbers(raises_saying, tmp_path):
    task = INRClassification(separable_zoo())
    with raises_saying(asked="inr_classification", found="torch.int64", do="one number each"):
        fit_and_test_trees(task, SETTINGS, tmp_path)


@pytest.mark.parametrize("number", [1, 7, 60])
def test_the_first_trees_are_those_of_a_shorter_fit(number, tmp_path):
    """What is scored on test is the model with the chosen number of trees."""
    settings = TreeSettings((0.2,), (4,), num_trees=number, check_every=number)
    outcome = fit_and_test_trees(Spread(cnn_zoo()), settings, tmp_path)
    assert outcome.best_epoch == number - 1
    assert outcome.num_params == 4 * number
