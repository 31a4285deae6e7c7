"""Two moons as a table."""

import numpy as np
from sklearn.datasets import make_moons

from nn_graphs.datasets import load_table


def test_moons_are_scikit_learns_in_an_order_of_our_own():
    moons = load_table("moons")
    points, labels = make_moons(1000, noise=0.2, random_state=0)
    order = np.random.default_rng(0).permutation(1000)
    np.testing.assert_array_equal(moons.features, points[order].astype(np.float32))
    np.testing.assert_array_equal(moons.labels, labels[order])
    assert (moons.num_train, moons.class_names) == (800, ("upper", "lower"))
    assert moons.features[moons.labels == 0, 1].mean() > moons.features[moons.labels == 1, 1].mean()


def test_both_sides_have_both_moons():
    moons = load_table("moons")
    for part in (moons.labels[: moons.num_train], moons.labels[moons.num_train :]):
        assert 0.4 < part.mean() < 0.6
