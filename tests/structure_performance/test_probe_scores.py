"""Scores on arrays whose answer is known: what either protocol sees, and what is refused."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from nn_graphs.structure_performance import (
    hold_out,
    performance_columns,
    performance_of,
    score_features,
    score_predictions,
)
from tests.structure_performance.trajectories import trajectory_zoo, unchecked

RUNS = np.repeat(np.arange(10), 40)
EPOCHS = np.tile(np.arange(40.0), 10)


def mean_pearson(features, labels, protocol) -> float:
    return score_features(features, labels, RUNS, protocol=protocol)["pearson"].mean()


def test_scores_by_hand():
    """Residuals of 1, 1, 2 and 0 against a variance of 5, and one of six pairs in wrong order."""
    scores = score_predictions(np.array([1.0, 2.0, 4.0, 3.0]), np.array([0.0, 1.0, 2.0, 3.0]))
    assert scores.pearson == pytest.approx(0.8)
    assert scores.spearman == pytest.approx(0.8)
    assert scores.kendall == pytest.approx(4 / 6)
    assert scores.r2 == pytest.approx(1 - 6 / 5)


def test_scores_are_those_of_scipy():
    random = np.random.default_rng(0)
    labels = random.normal(size=50)
    predictions = labels + random.normal(size=50)
    scores = score_predictions(predictions, labels)
    assert scores.pearson == pytest.approx(stats.pearsonr(predictions, labels).statistic)
    assert scores.spearman == pytest.approx(stats.spearmanr(predictions, labels).statistic)
    assert scores.kendall == pytest.approx(stats.kendalltau(predictions, labels).statistic)
    assert scores.r2 == pytest.approx(r2_score(labels, predictions))


def test_what_belongs_to_a_run_is_found_under_the_published_protocol_alone():
    """Performance is a number of the run's own; features say which run it is."""
    labels = np.random.default_rng(0).normal(size=10)[RUNS]
    told = np.eye(10)[RUNS]
    assert mean_pearson(told, labels, "random") > 0.99
    assert mean_pearson(told, labels, "run_disjoint") < 0.2


@pytest.mark.parametrize("protocol", ["random", "run_disjoint"])
def test_what_is_in_the_epoch_is_found_under_both(protocol):
    assert mean_pearson(EPOCHS[:, None], EPOCHS / 40, protocol) == pytest.approx(1)


@pytest.mark.parametrize("protocol", ["random", "run_disjoint"])
def test_noise_tells_nothing(protocol):
    random = np.random.default_rng(1)
    found = mean_pearson(random.normal(size=(400, 3)), random.normal(size=400), protocol)
    assert abs(found) < 0.2


def test_features_without_information_score_zero():
    scores = score_features(np.ones((400, 2)), EPOCHS, RUNS, protocol="random")
    assert (scores[["pearson", "spearman", "kendall"]] == 0).all().all()
    assert list(scores.index) == [0, 1, 2, 3, 4]


def test_held_out_networks_are_those_of_the_division():
    found = hold_out(EPOCHS[:, None], EPOCHS, RUNS, protocol="run_disjoint", seed=0)
    np.testing.assert_array_equal(found.labels, EPOCHS[found.division.val])
    np.testing.assert_allclose(found.predictions, found.labels, atol=0.01)
    assert len(set(RUNS[found.division.val])) == 2


def test_scores_do_not_see_labels_of_held_out_networks():
    labels = EPOCHS.copy()
    first = hold_out(EPOCHS[:, None], labels, RUNS, protocol="random", seed=0)
    labels[first.division.val] = 1000
    again = hold_out(EPOCHS[:, None], labels, RUNS, protocol="random", seed=0)
    np.testing.assert_array_equal(again.predictions, first.predictions)


def test_a_zoo_from_end_to_end():
    zoo = trajectory_zoo()
    labels = performance_of(zoo.table, "test_accuracy")
    runs, epochs = zoo.table["run"].to_numpy(), zoo.table[["epoch"]].to_numpy(float)
    scores = score_features(epochs, labels, runs, protocol="run_disjoint")
    assert scores["pearson"].mean() > 0.6
    assert set(scores) == {"pearson", "spearman", "kendall", "r2"}


def test_names_of_columns():
    table = trajectory_zoo().table
    found = performance_columns(table)
    assert (found.train, found.test, found.loss) == (
        "train_accuracy", "test_accuracy", "train_loss"
    )  # fmt: skip
    names = {"train_accuracy": "train_r2", "test_accuracy": "test_r2", "train_loss": "train_mse"}
    assert performance_columns(table.rename(columns=names)).loss == "train_mse"


# Bad input.


def test_a_table_without_performance(raises_saying):
    table = trajectory_zoo().table.drop(columns="train_loss")
    with raises_saying(asked="of 96 networks", found="test_accuracy", do="r2 and mse"):
        performance_columns(table)


def test_constant_labels(raises_saying):
    with raises_saying(asked="correlate", found="performance 1, so that it is undefined", do="ha"):
        score_features(EPOCHS[:, None], np.ones(400), RUNS, protocol="random")


def test_a_diverged_epoch(raises_saying):
    labels = EPOCHS.copy()
    labels[45] = np.nan
    with raises_saying(asked="400 networks", found="1 is not finite, the first is number 45, of ru",
                       do="diverged"):  # fmt: skip
        score_features(EPOCHS[:, None], labels, RUNS, protocol="random")


def test_infinite_features(raises_saying):
    features = EPOCHS[:, None].copy()
    features[7] = np.inf
    with raises_saying(
        asked="400", found="1 are infinite, the first is number 7, of run 0", do="L"
    ):
        score_features(features, EPOCHS, RUNS, protocol="random")


def test_numbers_that_differ(raises_saying):
    with raises_saying(asked="399 networks", found="400 labels and 400 runs", do="one of each"):
        unchecked(hold_out)(EPOCHS[1:, None], EPOCHS, RUNS, protocol="random", seed=0)


def test_a_missing_column(raises_saying):
    with raises_saying(asked="predict test_r2", found="run, epoch", do="one of these"):
        performance_of(trajectory_zoo().table, "test_r2")
