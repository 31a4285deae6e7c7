"""Edits of MNIST, Fashion-MNIST and CIFAR-10: how far from the images OpenCV's are."""

import numpy as np
import pytest

from nn_graphs.datasets import ImageDataset, load_images
from nn_graphs.image_edits import edited_images

pytestmark = pytest.mark.data


def pixels_and_edit(name: str, images: ImageDataset, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the first test images, in [0, 1]."""
    index = images.num_train + np.arange(count)
    return images.pixels(index), edited_images(name, images, index).numpy() / images.max_value


@pytest.mark.parametrize(("name", "distance"), [("mnist", 0.0930), ("fashion_mnist", 0.0734)])
def test_dilation(name, distance):
    pixels, edit = pixels_and_edit("dilation", load_images(name), 10_000)
    assert np.square(edit - pixels).mean() == pytest.approx(distance, abs=5e-5)


def test_contrast_of_the_compact_copy():
    images = load_images("cifar10")
    pixels, edit = pixels_and_edit("contrast", images, 500)
    _, in_order = pixels_and_edit("contrast_in_order", images, 500)
    assert np.square(edit - pixels).mean() == pytest.approx(0.0096, abs=5e-5)
    assert np.square(edit - in_order).mean() == pytest.approx(6.9e-4, abs=5e-6)
