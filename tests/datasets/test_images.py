"""ImageDataset and the registry of data sets."""

from pathlib import Path

import numpy as np
import pytest

from nn_graphs.datasets import ImageDataset, data_root, load_images
from nn_graphs.errors import NNGraphsError


def make_dataset(images: np.ndarray, *, max_value: int) -> ImageDataset:
    labels = np.zeros(len(images), dtype=np.int64)
    return ImageDataset("tiny", images, labels, len(images), max_value, ("only",))


def test_pixels_are_scaled_by_max_value():
    images = np.array([0, 51, 255], dtype=np.uint8).reshape(3, 1, 1, 1)
    pixels = make_dataset(images, max_value=255).pixels(slice(None))
    assert pixels.dtype == np.float32
    assert pixels.ravel().tolist() == [0.0, np.float32(0.2), 1.0]
    assert make_dataset(images // 17, max_value=16).pixels(np.array([2])).item() == 15 / 16


def test_pixels_follow_the_index():
    images = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(5, 3, 4, 2)
    dataset = make_dataset(images, max_value=255)
    pixels = dataset.pixels(np.array([4, 0, 4]))
    np.testing.assert_array_equal(pixels, images[[4, 0, 4]].astype(np.float32) / 255)
    np.testing.assert_array_equal(dataset.pixels(slice(1, 3)), dataset.pixels(np.array([1, 2])))


def test_pixels_refuse_an_image_that_is_not_there():
    dataset = make_dataset(np.zeros((5, 1, 1, 1), dtype=np.uint8), max_value=255)
    with pytest.raises(IndexError):
        dataset.pixels(np.array([5]))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(NNGraphsError, match="digits, mnist, fashion_mnist"):
        load_images("imagenet")


def test_data_root_is_the_argument_then_the_environment_then_data(monkeypatch):
    monkeypatch.setenv("NN_GRAPHS_DATA", "from_environment")
    assert data_root(Path("given")) == Path("given")
    assert data_root() == Path("from_environment")
    monkeypatch.delenv("NN_GRAPHS_DATA")
    assert data_root() == Path("data")


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_published_data_set(name):
    dataset = load_images(name)
    assert dataset.images.shape == (70_000, 28, 28, 1)
    assert dataset.num_train == 60_000
    first = {"mnist": ([5, 0, 4], [7, 2, 1]), "fashion_mnist": ([9, 0, 0], [9, 2, 1])}[name]
    assert dataset.labels[:3].tolist() == first[0]
    assert dataset.labels[60_000:60_003].tolist() == first[1]
    if name == "fashion_mnist":  # balanced by construction
        assert np.bincount(dataset.labels).tolist() == [7_000] * 10
