"""The sweet spot: the test, ties, the box, cells."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nn_graphs.relational_results import (
    BASELINE,
    CellGrid,
    cell_sweet_spot,
    final_runs,
    graph_sweet_spot,
    tied_best,
)
from tests.relational_results.tables import make_runs, random_runs


def test_the_box_of_what_is_not_worse():
    runs = make_runs(
        {1: [5.0, 5.2], 2: [4.9, 5.1], 3: [5.2, 5.4], 4: [9.0, 9.2], BASELINE: [1.0, 1.2]}
    )
    spot = graph_sweet_spot(runs)
    assert spot.best == 2  # the baseline takes no part
    assert spot.tied == (2,)
    assert spot.candidates["is_kept"].to_dict() == {1: True, 2: True, 3: True, 4: False}
    assert spot.num_kept == 3
    assert spot.clustering == pytest.approx((0.1, 0.3))
    assert spot.path_length == pytest.approx((1.3, 1.9))


def test_the_test_is_that_of_scipy():
    runs = random_runs(40, noise=1.0)
    runs = runs.drop(runs.index[[3, 20, 21]])  # samples of unequal size
    spot = graph_sweet_spot(runs)
    samples = {graph_id: part["top1_error"] for graph_id, part in runs.groupby("graph_id")}
    assert 0 < spot.num_kept < 40
    others = [graph_id for graph_id in samples if graph_id != spot.best]
    for graph_id in others:
        sample = samples[graph_id]
        expected = stats.ttest_ind(samples[spot.best], sample)
        found = spot.candidates.loc[graph_id]
        assert found["t"] == pytest.approx(expected.statistic)
        is_worse = expected.statistic < 0 and expected.pvalue / 2 < 0.05
        assert found["is_kept"] != is_worse
        if expected.statistic < 0:
            assert found["p"] == pytest.approx(expected.pvalue / 2)


def test_a_stricter_level_keeps_more():
    runs = random_runs(40, noise=1.0)
    kept = [graph_sweet_spot(runs, level=level).num_kept for level in (0.2, 0.05, 0.001)]
    assert kept == sorted(set(kept))


def test_ties_go_to_the_smaller_spread_and_are_told():
    runs = make_runs({1: [0.3, 5.7], 2: [2.5, 3.5], 3: [2.9, 3.1], 4: [8.0, 8.0]})
    spot = graph_sweet_spot(runs)
    assert spot.tied == (3, 2, 1)
    assert spot.best == 3
    assert tied_best(spot.candidates) == [3, 2, 1]
    assert graph_sweet_spot(runs, best=1).best == 1
    same = make_runs({5: [1.0, 2.0], 2: [2.0, 1.0]})
    assert graph_sweet_spot(same).tied == (2, 5)
    rounded = pd.DataFrame({"error": [0.1 + 0.2, 0.3], "std": [1.0, 2.0]})  # not quite equal
    assert tied_best(rounded) == [0, 1]


def test_runs_that_do_not_vary():
    spot = graph_sweet_spot(make_runs({1: [5.0, 5.0], 2: [5.0, 5.0], 3: [5.1, 5.1]}))
    assert spot.candidates["is_kept"].tolist() == [True, True, False]
    assert spot.candidates["t"].tolist()[1:] == [0, -np.inf]
    assert np.isnan(spot.candidates["t"].iloc[0])  # the best is not compared with itself


def test_a_better_graph_than_the_given_best_is_kept():
    spot = graph_sweet_spot(make_runs({1: [5.0, 5.1], 2: [1.0, 1.1]}), best=1)
    assert spot.num_kept == 2


def test_cells_pool_the_runs_of_their_graphs():
    grid = CellGrid(2, (1.0, 5.0))
    structures = {1: (0.1, 1.5), 2: (0.2, 1.5), 3: (0.7, 1.5), 4: (0.7, 4.0)}
    values = {1: [5.0, 5.2], 2: [5.4], 3: [5.1, 5.6], 4: [9.0, 9.1], BASELINE: [1.0]}
    spot = cell_sweet_spot(make_runs(values, structures=structures), grid)
    assert spot.best == (0, 0)
    assert spot.candidates.index.tolist() == [(0, 0), (1, 0), (1, 1)]
    assert spot.candidates["num_runs"].tolist() == [3, 2, 2]
    assert spot.candidates["error"].tolist() == pytest.approx([5.2, 5.35, 9.05])
    assert spot.candidates["is_kept"].tolist() == [True, True, False]
    assert (spot.clustering, spot.path_length) == ((0.25, 0.75), (2.0, 2.0))
    expected = stats.ttest_ind([5.0, 5.2, 5.4], [5.1, 5.6]).statistic
    assert spot.candidates["t"].iloc[1] == pytest.approx(expected)


def test_the_sweet_spot_finds_the_bottom_of_a_bowl():
    spot = graph_sweet_spot(random_runs(2000, noise=0.1))
    assert spot.clustering[0] < 0.4 < spot.clustering[1]
    assert spot.path_length[0] < 2.2 < spot.path_length[1]
    assert spot.path_length[1] - spot.path_length[0] < 1.5


def test_bad_input(raises_saying):
    runs = make_runs({1: [5.0, 5.1], 2: [1.0, 1.1]})
    with raises_saying(asked="compare with 7", found="none of the 2 graphs", do="another best"):
        graph_sweet_spot(runs, best=7)
    single = make_runs({1: [5.0], 2: [1.0]})
    with raises_saying(asked="worse than the best", found="single run", do="two seeds"):
        graph_sweet_spot(single)
    baseline = make_runs({BASELINE: [5.0, 5.0]})
    with raises_saying(asked="sweet spot", found="only the baseline", do="runs of graphs"):
        graph_sweet_spot(baseline)
    both = pd.concat([runs, make_runs({1: [5.0, 5.1], 2: [1.0, 1.1]}, epoch=20)])
    with raises_saying(asked="sweet spot", found="2 epochs", do="final_runs"):
        graph_sweet_spot(both)
    assert graph_sweet_spot(final_runs(both)).best == 2
