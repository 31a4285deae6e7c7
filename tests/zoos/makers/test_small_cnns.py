"""Hyper-parameters of the Small CNN Zoo: values and ranges of the published files."""

from dataclasses import replace

import numpy as np
import pytest

from nn_graphs.datasets import load_images
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.zoos.makers.small_cnns import SmallCNNRecipe

RUNS = SmallCNNRecipe(num_runs=4000).make_runs(load_images("digits"))


@pytest.mark.parametrize(
    ("name", "low", "high", "is_log"),
    [
        ("learning_rate", 5e-4, 5e-2, True),
        ("l2reg", 1e-8, 1e-2, True),
        ("init_std", 1e-3, 0.5, True),
        ("dropout", 0.0, 0.7, False),
    ],
)
def test_published_ranges(name, low, high, is_log):
    values = RUNS.table[name].to_numpy()
    assert low <= values.min() <= values.max() <= high
    scaled, ends = (np.log(values), np.log([low, high])) if is_log else (values, [low, high])
    quantiles = np.quantile(scaled, [0.01, 0.25, 0.5, 0.75, 0.99])
    expected = ends[0] + (ends[1] - ends[0]) * np.array([0.01, 0.25, 0.5, 0.75, 0.99])
    np.testing.assert_allclose(quantiles, expected, atol=0.03 * (ends[1] - ends[0]))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("activation", {"relu", "tanh"}),
        ("optimizer", {"adam", "sgd", "rmsprop"}),
        ("train_fraction", {0.1, 0.25, 0.5, 1.0}),
        ("w_init", {"he_normal", "orthogonal", "glorot_normal", "RandomNormal", "TruncatedNormal"}),
        ("b_init", {"zeros"}),
    ],
)
def test_published_choices(name, values):
    counts = RUNS.table[name].value_counts()
    assert set(counts.index) == values
    assert counts.min() > 0.85 * 4000 / len(values)


def test_published_architecture_and_checkpoints():
    assert [spec.num_params for spec in RUNS.specs] == [4970, 4970]
    assert SmallCNNRecipe().epochs_kept == (0, 1, 2, 3, 20, 40, 60, 80, 86)


def test_published_split_sizes():
    runs = SmallCNNRecipe(num_runs=30_000).make_runs(load_images("digits"))
    counts = runs.table["split"].value_counts()
    assert counts.to_dict() == {"train": 12_000, "val": 3_000, "test": 15_000}


def test_settings_are_those_of_keras():
    recipe = replace(SmallCNNRecipe(), seed=3)
    row = RUNS.table.iloc[0]
    training = recipe.training(row)
    assert training.optimizer == Optimizer(
        row["optimizer"], row["learning_rate"], alpha=0.9, eps=1e-7, weight_decay=2 * row["l2reg"]
    )
    assert (training.dropout, training.train_fraction) == (row["dropout"], row["train_fraction"])
    assert training.seed == 3
