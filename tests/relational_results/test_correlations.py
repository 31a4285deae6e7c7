"""Correlations across tasks, epochs and numbers of graphs."""

import numpy as np
import pandas as pd
import pytest

from nn_graphs.relational_results import (
    BASELINE,
    COARSE_GRIDS,
    CellGrid,
    cell_errors,
    cells_by_task,
    correlate_counts,
    correlate_epochs,
    correlate_subset,
    correlate_tasks,
    mean_errors,
)
from tests.relational_results.tables import make_runs, random_runs

GRID = CellGrid(10, (1.0, 5.0))


def two_tasks() -> pd.DataFrame:
    """The task cnn has no graph where mlp has 4, and two seeds."""
    mlp = make_runs({1: [1.0], 2: [2.0], 3: [4.0], 4: [50.0], BASELINE: [9.0]})
    cnn = {1: [10.0, 12.0], 2: [14.0, 12.0], 3: [15.0, 15.0], BASELINE: [40.0, 40.0]}
    return pd.concat([mlp, make_runs(cnn, task="cnn", epoch=3), make_runs({1: [0.0]}, epoch=2)])


def test_tasks_are_compared_over_the_cells_that_both_have():
    cells = cells_by_task(two_tasks(), GRID)
    assert cells.shape == (5, 2)
    assert cells["cnn"].isna().sum() == 1
    correlations = correlate_tasks(two_tasks(), GRID)
    expected = np.corrcoef([1, 2, 4, 9], [11, 13, 15, 40])[0, 1]
    assert correlations.loc["mlp", "cnn"] == pytest.approx(expected)
    alone = correlate_tasks(two_tasks(), GRID, with_baseline=False)
    assert alone.loc["mlp", "cnn"] == pytest.approx(np.corrcoef([1, 2, 4], [11, 13, 15])[0, 1])


def test_two_cells_are_too_few_to_correlate():
    runs = pd.concat([make_runs({1: [1.0], 2: [2.0]}), make_runs({1: [1.0], 2: [5.0]}, task="cnn")])
    assert correlate_tasks(runs, GRID).isna().to_numpy().all()


def test_epochs_against_the_last_of_the_same_task():
    values = {1: {1: 5.0, 2: 7.0, BASELINE: 3.0}, 2: {1: 1.0, 2: 2.0, BASELINE: 4.0}}
    runs = [
        make_runs({graph: [value] for graph, value in graphs.items()}, epoch=epoch)
        for epoch, graphs in ({0: {1: 8.0, 2: 8.0, BASELINE: 8.0}} | values).items()
    ]
    correlations = correlate_epochs(pd.concat(runs))
    assert correlations.index.tolist() == [1, 2]  # not 0
    assert correlations["mlp"].tolist() == pytest.approx(
        [np.corrcoef([5, 7, 3], [1, 2, 4])[0, 1], 1]
    )
    alone = correlate_epochs(pd.concat(runs), with_baseline=False)
    assert alone["mlp"].tolist() == pytest.approx([1, 1])


def test_a_subset_against_all_graphs():
    errors = mean_errors(random_runs(400, noise=0.5))
    grid, core = COARSE_GRIDS[64], [*range(0, 400, 9)]
    subset = cell_errors(errors[errors["graph_id"].isin(core)], grid)
    everything = cell_errors(errors, grid)[subset.index]
    expected = np.corrcoef(subset, everything)[0, 1]
    assert correlate_subset(errors, core, grid) == pytest.approx(expected)
    assert correlate_subset(errors, range(400), grid) == pytest.approx(1)
    places = cell_errors(errors[errors["graph_id"] < 5], grid).index
    subset = subset[subset.index.isin(places)]
    expected = np.corrcoef(subset, everything[subset.index])[0, 1]
    assert correlate_subset(errors, core, grid, cells_from=range(5)) == pytest.approx(expected)


def test_growing_subsets_are_subsets():
    errors = mean_errors(random_runs(60, noise=1.0))
    core = [*range(12)]
    table = correlate_counts(errors, core, GRID, generator=np.random.default_rng(3), num_orders=2)
    assert table.index.tolist() == [*range(12, 61)]
    assert table.iloc[-1].tolist() == pytest.approx([1, 1])
    rng = np.random.default_rng(3)
    for order in range(2):
        rest = rng.permutation(np.arange(12, 60))
        for count in (12, 13, 31, 59):
            graphs = [*core, *rest[: count - 12].tolist()]
            expected = correlate_subset(errors, graphs, GRID, cells_from=core)
            assert table.loc[count, order] == pytest.approx(expected)


def test_unknown_graphs(raises_saying):
    errors = mean_errors(random_runs(10, noise=1.0))
    with raises_saying(asked="subset of 2", found="1 of them are not", do="graph_id"):
        correlate_subset(errors, [1, 10], GRID)
    with raises_saying(asked="subset of 1", found="e.g. 77", do="graph_id"):
        correlate_counts(errors, [77], GRID, generator=np.random.default_rng(0))
