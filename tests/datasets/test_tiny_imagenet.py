"""Tiny-ImageNet as its publisher lays it out, and as plain folders by class."""

import numpy as np
import pytest
from PIL import Image

from nn_graphs.datasets import load_images
from nn_graphs.datasets.folders import read_image_folders
from tests.datasets.image_folders import make_folders, pack


def make_published(top):
    """`train/<class>/images/*` and `val/images/*` with a file of annotations."""
    generator = np.random.default_rng(0)
    lines = []
    for number in range(6):
        label, is_train = "ab"[number % 2], number < 4
        folder = top / "train" / label / "images" if is_train else top / "val" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        if not is_train:
            lines.append(f"{number}.png\t{label}\t0\t0\t62\t62\n")
    (top / "val" / "val_annotations.txt").write_text("".join(lines))


def test_the_published_folders(tmp_path):
    make_published(tmp_path / "tiny_imagenet" / "tiny-imagenet-200")
    images = load_images("tiny_imagenet", tmp_path)
    assert (images.name, images.num_train, images.class_names) == ("tiny_imagenet", 4, ("a", "b"))
    assert images.images.shape == (6, 64, 64, 3)
    assert sorted(images.labels[:4]) == [0, 0, 1, 1]
    assert sorted(images.labels[4:]) == [0, 1]
    found = {
        pixels.tobytes(): label for pixels, label in zip(images.images, images.labels, strict=True)
    }
    published = read_image_folders(tmp_path, "tiny_imagenet/tiny-imagenet-200", side=64)
    assert published.labels.tolist() == [0, 0, 1, 1, 0, 1]
    for pixels, label in zip(published.images, published.labels, strict=True):
        assert found[pixels.tobytes()] == label


def test_some_classes_in_an_archive(tmp_path):
    make_folders(tmp_path / "made" / "tiny_imagenet_20")
    pack(tmp_path / "made" / "tiny_imagenet_20", tmp_path / "tiny_imagenet_20.zip")
    images = load_images("tiny_imagenet", tmp_path)
    assert images.images.shape == (8, 64, 64, 3)
    assert sorted(images.labels) == [0] * 4 + [1] * 4


def test_what_is_missing_is_named(tmp_path, raises_saying):
    with raises_saying(
        asked="tiny_imagenet", found="tiny-imagenet-200", do="download.py tiny_imagenet"
    ):
        load_images("tiny_imagenet", tmp_path)
    top = tmp_path / "tiny-imagenet-200"
    make_published(top)
    (top / "val" / "val_annotations.txt").write_text("4.png\ta\n")
    with raises_saying(asked="val", found="does not say what 5.png is", do="again"):
        load_images("tiny_imagenet", tmp_path)


@pytest.mark.data
def test_the_images_that_are_there():
    images = load_images("tiny_imagenet")
    assert images.images.shape[1:] == (64, 64, 3)
    assert len(images.class_names) in (20, 200)
    counts = np.bincount(images.labels[:4000], minlength=len(images.class_names))
    assert counts.min() > 0.5 * counts.mean()  # the first are of all classes
