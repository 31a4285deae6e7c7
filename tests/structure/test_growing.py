"""Structures at other sizes, and their proportions."""

import numpy as np
import pytest

from nn_graphs.structure.growing import grow, sample_proportions, sizes_at
from nn_graphs.structure.layered_graph import LayeredGraph

STRUCTURE = LayeredGraph.from_edges([0, 1, 0], [1, 2, 2])


def test_proportions_add_up_and_are_nearly_equal():
    shares = sample_proportions(20, np.random.default_rng(0))
    assert shares.sum() == pytest.approx(1)
    assert 0.02 < shares.min() < shares.max() < 0.1


def test_sizes_follow_proportions_and_lose_no_node():
    assert sizes_at([0.5, 0.3, 0.2], 10).tolist() == [5, 3, 2]
    assert sizes_at([0.98, 0.02], 10).tolist() == [10, 1]


def test_grown_edges_are_complete():
    grown = grow(STRUCTURE, [2, 1, 3])
    edges = set(zip(grown.sources.tolist(), grown.targets.tolist(), strict=True))
    blocks = ([0, 1], [2]), ([2], [3, 4, 5]), ([0, 1], [3, 4, 5])
    assert edges == {(u, v) for before, after in blocks for u in before for v in after}
    assert grown.layers.tolist() == [0, 0, 1, 2, 2, 2]


def test_growing_by_one_changes_nothing():
    assert grow(STRUCTURE, [1, 1, 1]).equals(STRUCTURE)


@pytest.mark.parametrize("sizes", [[1, 1], [1, 0, 1], np.ones(3)])
def test_sizes_that_fit_no_structure(raises_saying, sizes):
    with raises_saying(asked="grow a structure of 3 nodes", found="the sizes are", do="from 1 on"):
        grow(STRUCTURE, sizes)


@pytest.mark.parametrize(
    ("shares", "scale", "found"),
    [([0.5, 0.4], 10, "up to 0.9"), ([1.5, -0.5], 10, "smallest is -0.5"), ([1.0], 0, "up to 1")],
)
def test_proportions_that_are_none(raises_saying, shares, scale, found):
    with raises_saying(asked=f"a scale of {scale}", found=found, do="add up to 1"):
        sizes_at(shares, scale)
