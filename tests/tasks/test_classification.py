"""Classifying networks by a column of names."""

import numpy as np
import pytest
import torch

from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.tasks.classification import ColumnClassification
from nn_graphs.zoos.zoo import Zoo
from tests.toy_zoos import SMALL, mixed_zoo, separable_zoo


def named_zoo() -> Zoo:
    zoo = mixed_zoo()
    names = np.array(["td3", "a2c", "ppo"], dtype=object)[np.arange(len(zoo)) % 3]
    return Zoo(zoo.specs, zoo.params, zoo.table.assign(algo=names))


def test_classes_are_the_names_in_order():
    task = ColumnClassification(named_zoo(), column="algo")
    assert task.class_names == ("a2c", "ppo", "td3")
    assert (task.out_dim, task.metric) == (3, "accuracy")
    graphs, labels = task.dataset("train").batch([0, 1, 2, 3])
    assert graphs.num_graphs == 4
    assert labels.tolist() == [2, 0, 1, 2]


def test_numbers_in_names_count_as_numbers():
    zoo = mixed_zoo()
    names = np.array(["net10", "net9", "b"], dtype=object)[np.arange(len(zoo)) % 3]
    task = ColumnClassification(
        Zoo(zoo.specs, zoo.params, zoo.table.assign(algo=names)), column="algo"
    )
    assert task.class_names == ("b", "net9", "net10")
    assert task.labels()[:3].tolist() == [2, 1, 0]


def test_metrics():
    task = ColumnClassification(named_zoo(), column="algo")
    outputs = torch.eye(3)[[0, 0, 0, 2]] * 5
    metrics = task.metrics(outputs, torch.tensor([0, 0, 1, 2]))
    assert metrics["accuracy"] == 75.0
    assert metrics["balanced_accuracy"] == pytest.approx(100 * 2 / 3)
    expected = task.loss(outputs, torch.tensor([0, 0, 1, 2])).item()
    assert metrics["loss"] == expected


def test_column_that_is_not_there(raises_saying):
    with raises_saying(asked="by env", found="label, split, run", do="one of these"):
        ColumnClassification(named_zoo(), column="env")


def test_a_run_in_two_splits(raises_saying):
    zoo = named_zoo()
    with raises_saying(asked="column_classification", found="run 0 lies in 3", do="same split"):
        ColumnClassification(Zoo(zoo.specs, zoo.params, zoo.table.assign(run=0)), column="algo")


@pytest.mark.parametrize("missing", ["", None, np.nan])
def test_networks_without_a_class(raises_saying, missing):
    zoo = named_zoo()
    classes = zoo.table["algo"].astype(object).to_numpy(copy=True)
    classes[[2, 5]] = missing
    table = zoo.table.assign(algo=classes)
    with raises_saying(asked="by algo", found="2 networks have none, the first is 2", do="select"):
        ColumnClassification(Zoo(zoo.specs, zoo.params, table), column="algo")


def test_figure_of_confusions():
    task = ColumnClassification(named_zoo(), column="algo")
    figures = task.figures(torch.eye(3)[[0, 0, 0, 2]], torch.tensor([0, 0, 1, 2]), title="it")
    assert list(figures) == ["confusion"]
    (axes,) = figures["confusion"].axes
    assert axes.get_title() == "it: 75.0% on test"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a2c", "ppo", "td3"]


def test_fingerprints_tell_columns():
    zoo = named_zoo()
    zoo = Zoo(zoo.specs, zoo.params, zoo.table.assign(kind=zoo.table["algo"]))
    one, other = (
        ColumnClassification(zoo, column=name).fingerprints() for name in ("algo", "kind")
    )
    assert {key for key in one if one[key] != other[key]} == {"settings of the task"}


def test_flat_parameters_of_stacks_and_of_mixes(raises_saying):
    """The same rows, whatever form a batch has; of networks of different sizes there are none."""
    zoo = separable_zoo()
    task = ColumnClassification(zoo, column="label")
    graphs, _ = task.dataset("train").batch([3, 1])
    assert torch.equal(task.flat_params(graphs), zoo.params[0][[3, 1]])
    relu = NetworkSpec.mlp(SMALL.layer_layout, activation="relu")
    is_second = np.arange(len(zoo)) % 2
    table = zoo.table.assign(spec=is_second, row=np.arange(len(zoo)))
    mix = Zoo((SMALL, relu), (zoo.params[0],) * 2, table)
    task = ColumnClassification(mix, column="label")
    graphs, _ = task.dataset("train").batch([3, 0, 1])
    assert torch.equal(task.flat_params(graphs), zoo.params[0][[3, 0, 1]])
    other = ColumnClassification(mixed_zoo(), column="label")
    graphs, _ = other.dataset("train").batch([*range(8)])
    with raises_saying(asked="flat parameters of 8", found="13 to 25 each", do="encoder of graphs"):
        other.flat_params(graphs)
