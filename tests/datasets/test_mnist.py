"""Readers of the MNIST format, on files written byte for byte."""

import gzip
import re

import numpy as np
import pytest

from nn_graphs.datasets import load_images
from nn_graphs.datasets.mnist import read_idx
from nn_graphs.errors import NNGraphsError

FOLDERS = {
    ("mnist", "own"): "mnist",
    ("mnist", "torchvision"): "MNIST/raw",
    ("fashion_mnist", "own"): "fashion_mnist",
    ("fashion_mnist", "torchvision"): "FashionMNIST/raw",
}
X_TRAIN = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2)
X_TEST = X_TRAIN[:2] + 200
Y_TRAIN, Y_TEST = np.array([3, 0, 9, 1, 1], np.uint8), np.array([7, 2], np.uint8)
ARRAYS = {"x_train": X_TRAIN, "y_train": Y_TRAIN, "x_test": X_TEST, "y_test": Y_TEST}
FILES = {
    "train-images-idx3-ubyte": b"\0\0\x08\x03" + b"\0\0\0\5\0\0\0\3\0\0\0\2" + bytes(range(30)),
    "train-labels-idx1-ubyte": b"\0\0\x08\x01" + b"\0\0\0\5" + b"\3\0\x09\1\1",
    "t10k-images-idx3-ubyte": b"\0\0\x08\x03"
    + b"\0\0\0\2\0\0\0\3\0\0\0\2"
    + bytes(range(200, 212)),
    "t10k-labels-idx1-ubyte": b"\0\0\x08\x01" + b"\0\0\0\2" + b"\7\2",
}
IMAGES = FILES["train-images-idx3-ubyte"]


def write_idx(folder, *, pack=bytes, ending="", replaced=()):
    folder.mkdir(parents=True)
    for name, content in {**FILES, **dict(replaced)}.items():
        (folder / (name + ending)).write_bytes(pack(content))


def assert_is_the_written_data(dataset, name):
    assert dataset.name == name
    assert dataset.num_train == 5
    assert dataset.images.dtype == np.uint8
    assert dataset.labels.dtype == np.int64
    np.testing.assert_array_equal(dataset.images, np.concatenate([X_TRAIN, X_TEST])[..., None])
    assert dataset.labels.tolist() == [3, 0, 9, 1, 1, 7, 2]


@pytest.mark.parametrize(("name", "layout"), FOLDERS)
@pytest.mark.parametrize(("pack", "ending"), [(bytes, ""), (gzip.compress, ".gz"), (bytes, ".gz")])
def test_idx_files(tmp_path, name, layout, pack, ending):
    write_idx(tmp_path / FOLDERS[name, layout], pack=pack, ending=ending)
    assert_is_the_written_data(load_images(name, tmp_path), name)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_npz(tmp_path, name):
    np.savez_compressed(tmp_path / f"{name}.npz", **ARRAYS)
    assert_is_the_written_data(load_images(name, tmp_path), name)


def test_class_names_are_the_publishers(tmp_path):
    for name in ("mnist", "fashion_mnist"):
        np.savez(tmp_path / f"{name}.npz", **ARRAYS)
    assert load_images("mnist", tmp_path).class_names == tuple("0123456789")
    fashion = load_images("fashion_mnist", tmp_path).class_names
    assert len(fashion) == 10
    assert (fashion[0], fashion[9]) == ("T-shirt/top", "Ankle boot")


def test_idx_files_come_before_the_npz(tmp_path):
    np.savez(tmp_path / "mnist.npz", **{**ARRAYS, "y_test": Y_TEST + 1})
    write_idx(tmp_path / "MNIST/raw")
    assert load_images("mnist", tmp_path).labels[5:].tolist() == [7, 2]


def test_missing_data_says_where_it_was_looked_for_and_what_to_run(tmp_path):
    with pytest.raises(NNGraphsError) as error:
        load_images("fashion_mnist", tmp_path)
    places = ("fashion_mnist", "FashionMNIST/raw", "fashion_mnist.npz")
    for text in [*(str(tmp_path / place) for place in places), "download.py fashion_mnist --root"]:
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (IMAGES[:-1], "45 bytes; its sizes [5, 3, 2] make 46 bytes"),
        (IMAGES + b"\0", "47 bytes; its sizes [5, 3, 2] make 46 bytes"),
        (IMAGES[:11], "11 of 16 header bytes"),
        (b"", "begins with the bytes ''"),
        (b"\0\0\x08\x01" + IMAGES[4:], "'00 00 08 01'"),
        (b"\0\0\x0d\x03" + IMAGES[4:], "'00 00 0d 03'"),
        (b"<html>", "'3c 68 74 6d'"),
        (IMAGES[:4] + b"\xff" * 12, f"make {16 + (2**32 - 1) ** 3} bytes"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_damaged_idx_file(tmp_path, content, message, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(content))
    with pytest.raises(NNGraphsError, match=re.escape(message)) as error:
        read_idx(path, num_dims=3)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("damage", ["cut", "flipped", "header only"])
def test_damaged_gzip(tmp_path, damage):
    packed = bytearray(gzip.compress(IMAGES))
    if damage == "flipped":
        packed[-8] ^= 1  # of the checksum
    else:
        del packed[-9 if damage == "cut" else 2 :]
    path = tmp_path / "images.gz"
    path.write_bytes(packed)
    with pytest.raises(NNGraphsError, match=r"images\.gz: gzip cannot unpack its \d+ bytes"):
        read_idx(path, num_dims=3)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (
            {"train-labels-idx1-ubyte": b"\0\0\x08\x01\0\0\0\4\1\2\3\4"},
            "5 train images have labels of shape (4,)",
        ),
        (
            {"t10k-labels-idx1-ubyte": b"\0\0\x08\x01\0\0\0\2\1\x0a"},
            "test labels run from 1 to 10; there are 10 classes",
        ),
        (
            {"t10k-images-idx3-ubyte": b"\0\0\x08\x03\0\0\0\2\0\0\0\2\0\0\0\3" + bytes(12)},
            "training images are (3, 2), test images (2, 3)",
        ),
    ],
)
def test_idx_files_that_contradict_each_other(tmp_path, replaced, message):
    write_idx(tmp_path / "mnist", replaced=replaced)
    with pytest.raises(NNGraphsError, match=re.escape(message)):
        load_images("mnist", tmp_path)


def test_an_incomplete_folder_names_the_missing_file(tmp_path):
    write_idx(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(NNGraphsError, match=r"mnist: t10k-labels-idx1-ubyte\[\.gz\] is missing"):
        load_images("mnist", tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": X_TRAIN.astype(float)}, "train images are float64 (5, 3, 2)"),
        ({"x_test": X_TEST[0]}, "test images are uint8 (3, 2)"),
        ({"y_train": Y_TRAIN.astype(float)}, "labels float64"),
        ({"y_train": Y_TRAIN[:, None]}, "labels of shape (5, 1)"),
        ({"y_test": np.array([-1, 3])}, "labels run from -1 to 3"),
        ({"x_train": np.array([{}], dtype=object)}, "allow_pickle=False"),
    ],
)
def test_npz_of_other_arrays(tmp_path, arrays, message):
    np.savez(tmp_path / "mnist.npz", **{**ARRAYS, **arrays})
    with pytest.raises(NNGraphsError, match=re.escape(message)) as error:
        load_images("mnist", tmp_path)
    assert str(tmp_path / "mnist.npz") in str(error.value)


def test_npz_without_an_array(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=X_TRAIN, y_train=Y_TRAIN, x_test=X_TEST)
    with pytest.raises(NNGraphsError, match=r"no archive of the arrays .*: .*y_test is not"):
        load_images("mnist", tmp_path)


def test_damaged_npz(tmp_path):
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, **ARRAYS)
    content = path.read_bytes()
    middle = len(content) // 3
    flipped = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
    for damaged in (b"", b"not an archive", content[:-30], content[100:], flipped):
        path.write_bytes(damaged)
        with pytest.raises(NNGraphsError, match=r"mnist\.npz"):
            load_images("mnist", tmp_path)
    with path.open("wb") as file:
        np.save(file, X_TRAIN)
    with pytest.raises(NNGraphsError, match=r"mnist\.npz"):
        load_images("mnist", tmp_path)
