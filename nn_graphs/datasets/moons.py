"""Two moons: points on two half circles that reach into each other, without a download."""

import numpy as np

from nn_graphs.datasets.tables import TableDataset

NUM_POINTS, NOISE, SEED = 1000, 0.2, 0


def read_moons() -> TableDataset:
    """scikit-learn's `make_moons`: `[1000, 2]`, 800 points for training, in two classes.

    Its noise of 0.2 lets the moons touch, so that no network is right everywhere.
    """
    from sklearn.datasets import make_moons  # slow to import, and seldom needed

    points, labels = make_moons(NUM_POINTS, noise=NOISE, random_state=SEED)
    return TableDataset.shuffled(
        "moons",
        points,
        labels.astype(np.int64),
        feature_names=("x", "y"),
        class_names=("upper", "lower"),
    )
