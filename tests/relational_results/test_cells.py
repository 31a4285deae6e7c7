"""Cells: which one a graph lies in, and the means over them."""

import numpy as np
import pytest

from nn_graphs.relational_results import BASELINE, COARSE_GRIDS, CellGrid, cell_errors, mean_errors
from nn_graphs.relational_results.cells import BASELINE_CELL, with_cells
from tests.relational_results.tables import make_runs, random_runs

GRID = CellGrid(2, (1.0, 4.0))


def test_cells_are_half_open_but_for_the_last():
    clustering, path_length = np.array([0, 0.4999, 0.5, 1.0]), np.array([1.0, 2.4999, 2.5, 4.0])
    expected = [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert GRID.cells_of(clustering, path_length).tolist() == expected
    assert GRID.cells_of(clustering, path_length[::-1]).tolist() == [[0, 1], [0, 1], [1, 0], [1, 0]]


def test_centres_and_finer_grids():
    assert GRID.centres(np.array([[0, 1]])).tolist() == [[0.25, 3.25]]
    finer = GRID.finer(3)
    assert (finer.num_cells, finer.path_range) == (6, (1.0, 4.0))
    points = np.random.default_rng(0).uniform((0, 1), (1, 4), (100, 2)).T
    assert (finer.cells_of(*points) // 3 == GRID.cells_of(*points)).all()
    assert np.allclose(COARSE_GRIDS[64].centres(np.array([[7, 2]])), [[0.5, 1 + 2.5 * 3.5 / 15]])


@pytest.mark.parametrize(("c", "length"), [(0.5, 4.1), (0.5, 0.9), (1.1, 2.0), (np.nan, 2.0)])
def test_outside_of_the_grid(raises_saying, c, length):
    with raises_saying(asked="into cells", found="the grid goes from", do="CellGrid"):
        GRID.cells_of(np.array([0.5, c]), np.array([2.0, length]))


def test_the_baseline_is_a_cell_of_its_own():
    runs = make_runs({0: [4.0], 1: [6.0], 2: [1.0], BASELINE: [9.0]}, structures={2: (0.99, 1.01)})
    errors = mean_errors(runs)
    assert cell_errors(errors, GRID).to_dict() == {BASELINE_CELL: 9.0, (0, 0): 5.0, (1, 0): 1.0}
    alone = cell_errors(errors, GRID, with_baseline=False)
    assert alone.to_dict() == {(0, 0): 5.0, (1, 0): 1.0}


def test_every_graph_counts_the_same_in_its_cell():
    errors = mean_errors(make_runs({0: [4.0, 4.0, 4.0], 1: [8.0]}))
    assert cell_errors(errors, GRID).to_dict() == {(0, 0): 6.0}


def test_cell_means_equal_a_plain_loop():
    errors = mean_errors(random_runs(300, noise=1.0))
    grid, sums = COARSE_GRIDS[64], {}
    for row in errors.itertuples():
        cell = (int(row.clustering * 15), int((row.path_length - 1) / 3.5 * 15))
        sums.setdefault(cell, []).append(row.error)
    expected = {cell: np.mean(values) for cell, values in sums.items()}
    assert cell_errors(errors, grid).to_dict() == pytest.approx(expected)
    assert len(with_cells(errors, grid)) == len(errors)
