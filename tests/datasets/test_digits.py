"""The digits of scikit-learn as an ImageDataset."""

import numpy as np
import sklearn.datasets

from nn_graphs.datasets import load_images


def test_digits_are_scikit_learns_in_its_order():
    digits = load_images("digits")
    published = sklearn.datasets.load_digits()
    assert digits.images.shape == (1797, 8, 8, 1)
    assert digits.images.dtype == np.uint8
    np.testing.assert_array_equal(digits.images[..., 0], published.images)
    np.testing.assert_array_equal(digits.labels, published.target)
    assert digits.labels[:5].tolist() == [0, 1, 2, 3, 4]


def test_the_last_360_digits_are_the_test_images():
    digits = load_images("digits")
    assert digits.num_train == 1437
    counts = np.bincount(digits.labels[digits.num_train :], minlength=10)
    assert counts.tolist() == [35, 36, 35, 37, 37, 37, 37, 36, 33, 37]


def test_digits_span_their_value_range():
    digits = load_images("digits")
    assert digits.images.max() == digits.max_value == 16
    assert digits.pixels(slice(None)).max() == 1.0
