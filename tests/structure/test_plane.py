"""Cells of the (C, L) plane, the first graph of each, and the nested selections."""

import numpy as np
import pytest

from nn_graphs.datasets import data_root
from nn_graphs.structure import PUBLISHED_SWEEPS, Plane, nested_selections


def test_bins_are_closed_on_the_left():
    cells = Plane(10, 3.0).cells(
        np.array([0.0, 0.5, 0.49999, 0.95, 1.0, 0.3, 0.3]),
        np.array([1.0, 2.0, 1.99999, 2.95, 2.0, 3.0, np.inf]),
    )
    inside = [[1, 1], [6, 6], [5, 5], [10, 10]]
    assert cells.tolist() == [*inside, [0, 0], [0, 0], [0, 0]]


def test_the_first_of_each_cell_in_their_order():
    cells = np.array([[3, 1], [0, 0], [1, 3], [3, 1], [1, 1], [0, 0], [1, 3]])
    assert Plane(3, 2.0).first_of_cells(cells).tolist() == [0, 2, 4]
    assert Plane(3, 2.0).first_of_cells(cells[:0]).tolist() == []


def test_blocks_are_represented_by_the_cell_in_their_middle():
    rows, columns = np.mgrid[1:10, 1:10]
    cells = np.stack([rows.ravel(), columns.ravel()], axis=1)
    thirds = Plane(9, 2.0).coarser(cells, step=3)
    assert cells[thirds].tolist() == [[c, l_bin] for c in (2, 5, 8) for l_bin in (2, 5, 8)]
    assert cells[Plane(9, 2.0).coarser(cells, step=9)].tolist() == [[5, 5]]


@pytest.mark.parametrize(
    ("step", "near", "borrowed"),
    [
        (9, [(23, 7), (22, 9), (22, 8)], (22, 8)),  # smaller C first; (22, 9) is too far
        (9, [(22, 6), (22, 4), (24, 2)], (22, 4)),  # then smaller L
        (9, [(24, 2)], (24, 2)),
        (9, [(21, 5), (25, 5), (23, 9)], None),
        (9, [(22, 5), (23, 5)], (23, 5)),  # not empty
        (3, [(22, 5), (23, 6)], (23, 6)),
        (3, [(22, 5), (24, 5)], None),
    ],
)
def test_borrowing_from_neighbours(step, near, borrowed):
    """A plane of 27 x 27 bins; C above 0.75 begins with bin 21, the block's middle is (23, 5)."""
    chosen = Plane(27, 2.0).coarser(np.array(near), step=step)
    assert [near[position] for position in chosen] == ([borrowed] if borrowed else [])


def test_found_graphs_come_first_and_each_once():
    """Middles in bins 2, 5, 8 ... 26; (22, 5) is borrowed for the large block, and so is (5, 2)."""
    cells = np.array([(22, 5), (26, 26), (5, 2), (2, 2), (26, 20)])
    plane = Plane(27, 2.0, borrow_above=0.0)
    medium, small = nested_selections(plane, cells)
    assert cells[small].tolist() == [[5, 2], [22, 5]]
    assert cells[medium].tolist() == [[26, 26], [5, 2], [2, 2], [26, 20], [22, 5]]


def test_only_cells_above_the_limit_borrow():
    cells = np.array([[14, 13]])  # beside (14, 14), the middle of the plane's middle block
    assert Plane(27, 2.0).coarser(cells, step=9).tolist() == []
    assert Plane(27, 2.0, borrow_above=0.5).coarser(cells, step=9).tolist() == [0]


def test_selections_are_nested():
    generator = np.random.default_rng(0)
    cells = np.unique(generator.integers(1, 136, (3000, 2)), axis=0)
    medium, small = nested_selections(Plane(135, 4.5), cells)
    assert set(small) < set(medium)
    assert len(small) < len(medium) / 4
    assert len(np.unique(medium)) == len(medium)


@pytest.mark.data
@pytest.mark.parametrize(
    ("num_nodes", "sizes"), [(64, (3942, 449, 52)), (16, (2698, 326, 48))], ids=["64", "16"]
)
def test_published_selections(num_nodes, sizes):
    folder, plane = data_root() / "graph2nn", PUBLISHED_SWEEPS[num_nodes].plane
    large, medium, small = (np.load(folder / f"graphs_n{num_nodes}_{n}.npy") for n in sizes)
    cells = plane.cells(large[:, 4], large[:, 5])
    assert len(plane.first_of_cells(cells)) == len(large)
    my_medium, my_small = nested_selections(plane, cells)
    np.testing.assert_array_equal(large[my_small], small)
    distinct = list(dict.fromkeys(map(tuple, medium.tolist())))  # two graphs of 16 nodes come twice
    assert len(medium) - len(distinct) == {64: 0, 16: 2}[num_nodes]
    np.testing.assert_array_equal(large[my_medium], distinct)
