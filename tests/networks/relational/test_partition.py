"""Channels are shared out as in the published code, whose global random state stays alone."""

import numpy as np
import pytest

from nn_graphs.networks.relational.partition import group_sizes


@pytest.mark.parametrize(
    ("num_channels", "num_groups", "sizes"),
    [(5, 4, [1, 1, 2, 1]), (10, 4, [2, 2, 3, 3]), (8, 4, [2, 2, 2, 2]), (3, 3, [1, 1, 1])],
)
def test_published_sizes(num_channels, num_groups, sizes):
    assert group_sizes(num_channels, num_groups).tolist() == sizes


def test_sizes_of_a_published_layer():
    assert np.bincount(group_sizes(100, 64)).tolist() == [0, 28, 36]


def test_all_channels_are_given_out_and_the_global_state_is_not_touched():
    np.random.seed(7)  # noqa: NPY002 (the global state is what is looked at)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for num_channels in range(16, 50):
        sizes = group_sizes(num_channels, 16)
        assert sizes.sum() == num_channels
        assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
