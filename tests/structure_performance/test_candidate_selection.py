"""Picking the best of K: chance, an oracle, and what lies between."""

import numpy as np
import pytest

from nn_graphs.structure_performance import estimate_by_others, pick, selection_table
from tests.structure_performance.trajectories import trajectory_zoo, unchecked

TRUTH = np.arange(10.0)
COLUMNS = {"performance": "test_accuracy", "loss": "train_loss"}


def test_an_oracle_and_its_opposite():
    best = pick(TRUTH, TRUTH, num_candidates=4)
    worst = pick(-TRUTH, TRUTH, num_candidates=4)
    assert (best.rate, best.regret) == (1, 0)
    assert worst.rate == 0
    assert worst.regret >= 3


@pytest.mark.parametrize("num_candidates", [2, 4, 10])
def test_equal_estimates_are_chance(num_candidates):
    picks = pick(np.zeros(10), TRUTH, num_candidates=num_candidates)
    assert picks.rate == pytest.approx(1 / num_candidates)


def test_random_estimates_are_chance():
    estimates, truth = np.random.default_rng(0).random((2, 2000))
    picks = pick(estimates, truth, num_candidates=4, num_draws=4000)
    assert picks.rate == pytest.approx(0.25, abs=0.03)


def test_any_of_several_best_is_right():
    picks = pick(np.array([0.0, 1.0, 0.0]), np.array([5.0, 5.0, 1.0]), num_candidates=3)
    assert (picks.rate, picks.regret) == (1, 0)
    half = pick(np.array([1.0, 0.0, 1.0]), np.array([5.0, 5.0, 1.0]), num_candidates=3)
    assert (half.rate, half.regret) == (0.5, 2)


def test_sets_do_not_depend_on_estimates():
    """Regrets of one seed are of the same sets, so that they can be compared."""
    regrets = [pick(-TRUTH, TRUTH * factor, num_candidates=3, seed=1).regret for factor in (1, 2)]
    assert regrets[1] == pytest.approx(2 * regrets[0])


@pytest.mark.parametrize("number", [1, 11])
def test_impossible_numbers_of_candidates(raises_saying, number):
    with raises_saying(asked=f"among {number} candidates", found="10 networks", do="2 to 10"):
        pick(TRUTH, TRUTH, num_candidates=number)


# Estimates by other runs.


def test_estimates_have_not_seen_the_run():
    """One run has labels of its own, which nothing else tells: they are not found."""
    runs = np.repeat(np.arange(6), 10)
    labels = np.where(runs == 3, 100.0, 1.0)
    estimates = estimate_by_others(np.eye(6)[runs], labels, runs)
    assert estimates[runs == 3].max() < 50


def test_estimates_of_few_runs(raises_saying):
    with raises_saying(asked="by other runs", found="there are 3, and 4 are needed", do="more"):
        estimate_by_others(np.ones((6, 1)), np.arange(6.0), np.repeat([0, 1, 2], 2))


# Trajectories: the slower run r is, the worse at every epoch but the first, where all are equal.


def speeds(zoo) -> np.ndarray:
    return zoo.table[["run"]].to_numpy(float)


@pytest.mark.parametrize("judged_by", ["now", "end"])
def test_an_embedding_that_knows_the_run_picks_the_best(judged_by):
    zoo = trajectory_zoo(num_runs=10)
    found = selection_table(
        speeds(zoo), zoo.table, epochs=[2, 11], num_candidates=3, judged_by=judged_by, **COLUMNS
    ).set_index(["epoch", "way"])
    for epoch in (2, 11):
        assert found.loc[(epoch, "oracle"), "rate"] == 1
        assert found.loc[(epoch, "loss"), "rate"] == 1
        assert found.loc[(epoch, "embedding"), "rate"] > 0.9
        assert found.loc[(epoch, "chance"), "rate"] == pytest.approx(1 / 3)
        assert found.loc[(epoch, "chance"), "regret"] > 0


def test_the_end_is_known_before_losses_differ():
    zoo = trajectory_zoo(num_runs=10)
    chosen = {"epochs": [0], "num_candidates": 3, **COLUMNS}
    end = selection_table(speeds(zoo), zoo.table, **chosen).set_index("way")["rate"]
    now = selection_table(speeds(zoo), zoo.table, judged_by="now", **chosen)
    assert end["embedding"] > 0.9
    assert end["loss"] == pytest.approx(end["chance"]) == pytest.approx(1 / 3)
    assert (now["rate"] == 1).all()  # all are equal at the beginning


def test_an_embedding_that_knows_nothing_is_chance():
    zoo = trajectory_zoo(num_runs=10)
    noise = np.random.default_rng(0).normal(size=(len(zoo), 2))
    found = selection_table(noise, zoo.table, epochs=range(12), num_candidates=5, **COLUMNS)
    assert found.groupby("way")["rate"].mean()["embedding"] < 0.5


def test_what_cannot_be_selected(raises_saying):
    zoo = trajectory_zoo()
    chosen = {"epochs": [0], "num_candidates": 3}
    with raises_saying(asked="in training", found="no column val_loss", do="trajectories"):
        selection_table(
            speeds(zoo), zoo.table, performance="test_accuracy", loss="val_loss", **chosen
        )
    with raises_saying(asked="'mean'", found="no 'mean'", do="now, end"):
        unchecked(selection_table)(speeds(zoo), zoo.table, judged_by="mean", **chosen, **COLUMNS)
    with raises_saying(asked="among 3 candidates", found="there are 0 networks", do="more runs"):
        selection_table(speeds(zoo), zoo.table, **{**chosen, "epochs": [99]}, **COLUMNS)
