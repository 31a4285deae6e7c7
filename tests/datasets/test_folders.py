"""Images in folders, plain or packed, come as one array with classes by name."""

import numpy as np
import pytest
from PIL import Image

from nn_graphs.datasets import data_root
from nn_graphs.datasets.folders import read_image_folders
from tests.datasets.image_folders import make_folders, pack


def test_folder_and_archive_give_the_same(tmp_path):
    make_folders(tmp_path / "pets")
    plain = read_image_folders(tmp_path, "pets", side=8)
    packed = tmp_path / "packed"
    packed.mkdir()
    pack(tmp_path / "pets", packed / "pets.zip")
    again = read_image_folders(packed, "pets", side=8)
    np.testing.assert_array_equal(plain.images, again.images)
    assert plain.images.shape == (8, 8, 8, 3)
    assert (plain.num_train, plain.class_names) == (4, ("a", "b"))
    assert plain.labels.tolist() == [0, 0, 1, 1] * 2


def test_the_middle_is_cut_out_and_the_shorter_side_scaled(tmp_path):
    make_folders(tmp_path / "pets")
    images = read_image_folders(tmp_path, "pets", side=8).images
    first = np.asarray(Image.open(tmp_path / "pets" / "train" / "a" / "0.png"))
    np.testing.assert_array_equal(images[0], first[:, 2:10])
    assert read_image_folders(tmp_path, "pets", side=4).images.shape == (8, 4, 4, 3)


def test_what_is_missing_is_named(tmp_path, raises_saying):
    with raises_saying(asked="pets", found="neither", do="Put one"):
        read_image_folders(tmp_path, "pets")
    make_folders(tmp_path / "pets", splits=("train",))
    with raises_saying(asked="pets", found="val 0", do="val/<class>"):
        read_image_folders(tmp_path, "pets")


@pytest.mark.data
def test_twenty_classes_of_tiny_imagenet():
    images = read_image_folders(data_root(), "tiny_imagenet_20", side=32)
    assert len(images.class_names) == 20
    assert images.images.shape == (11_000, 32, 32, 3)
    assert images.num_train == 10_000
