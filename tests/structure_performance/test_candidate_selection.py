"""Picking the best of K: chance, an oracle, and what lies between."""

import numpy as np
import pytest

from nn_graphs.structure_performance import pick, selection_table
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


def test_probes_have_not_seen_the_candidates():
    """Features that tell which run it is, and nothing of any other: all estimates are equal."""
    zoo = trajectory_zoo(num_runs=10)
    told = np.eye(10)[zoo.table["run"]]
    found = selection_table(told, zoo.table, epochs=[2, 8], num_candidates=4, **COLUMNS)
    rates = found.pivot(index="epoch", columns="way", values="rate")
    np.testing.assert_allclose(rates["embedding"], 0.25)


def test_an_embedding_that_knows_nothing_is_chance():
    zoo = trajectory_zoo(num_runs=20)
    noise = np.random.default_rng(0).normal(size=(len(zoo), 2))
    found = selection_table(noise, zoo.table, epochs=range(12), num_candidates=4, **COLUMNS)
    assert found.groupby("way")["rate"].mean()["embedding"] == pytest.approx(0.25, abs=0.12)


def test_seeds_draw_other_candidates():
    zoo = trajectory_zoo(num_runs=10)
    noise = np.random.default_rng(0).normal(size=(len(zoo), 2))
    tables = [
        selection_table(noise, zoo.table, epochs=[3], num_candidates=4, seed=seed, **COLUMNS)
        for seed in (0, 0, 1)
    ]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


def test_few_runs(raises_saying):
    zoo = trajectory_zoo(num_runs=4)
    with raises_saying(asked="3 candidates", found="are 4 runs, so that 1 are left", do="fewer"):
        selection_table(speeds(zoo), zoo.table, epochs=[2], num_candidates=3, **COLUMNS)


def test_what_cannot_be_selected(raises_saying):
    zoo = trajectory_zoo(num_runs=10)
    chosen = {"epochs": [0], "num_candidates": 3}
    with raises_saying(asked="in training", found="no column val_loss", do="trajectories"):
        selection_table(
            speeds(zoo), zoo.table, performance="test_accuracy", loss="val_loss", **chosen
        )
    with raises_saying(asked="'mean'", found="no 'mean'", do="now, end"):
        unchecked(selection_table)(speeds(zoo), zoo.table, judged_by="mean", **chosen, **COLUMNS)
    with raises_saying(asked="among 3 candidates", found="there are 0 networks", do="more runs"):
        selection_table(speeds(zoo), zoo.table, **{**chosen, "epochs": [99]}, **COLUMNS)
