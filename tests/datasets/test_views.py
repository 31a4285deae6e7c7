"""Gray and pooled images against numpy by hand."""

import numpy as np

from nn_graphs.datasets import ImageDataset, load_images
from nn_graphs.datasets.views import gray, pooled


def colours() -> ImageDataset:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype(np.uint8)
    return ImageDataset("noise", pixels, np.arange(3), 2, 255, ("a", "b", "c"))


def test_gray_is_the_mean_of_channels():
    images = gray(colours())
    assert images.images.shape == (3, 4, 4, 1)
    expected = colours().images.astype(float).mean(-1, keepdims=True)
    assert np.abs(images.images - expected).max() <= 0.5 + 1e-4
    assert gray(images) is images


def test_pooled_pixels_are_means_of_squares():
    images = pooled(colours(), 2)
    corner = colours().images[1, 2:, :2, 1].astype(float).mean()
    assert images.images.shape == (3, 2, 2, 3)
    assert abs(images.images[1, 1, 0, 1] - corner) <= 0.5 + 1e-4
    assert pooled(colours(), 4).images is not None


def test_pooled_digits_use_the_whole_scale():
    digits = load_images("digits")
    small = pooled(digits, 4)
    expected = digits.pixels(slice(0, 5)).reshape(5, 4, 2, 4, 2, 1).mean((2, 4))
    np.testing.assert_allclose(small.pixels(slice(0, 5)), expected, atol=0.5 / 255 + 1e-6)


def test_sizes_that_do_not_divide(raises_saying):
    with raises_saying(asked="3 x 3", found="4 x 4", do="divides"):
        pooled(colours(), 3)
