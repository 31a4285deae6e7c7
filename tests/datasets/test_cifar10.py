"""Readers of CIFAR-10, on files written byte for byte as its publisher does, and on WebP tiles."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from nn_graphs.datasets import load_images
from nn_graphs.datasets.cifar10 import FOLDERS, decode_tiles, read_batch
from nn_graphs.errors import NNGraphsError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
LABELS = {"data_batch_1.bin": [6, 9], "data_batch_2.bin": [9], "data_batch_3.bin": [4]}
LABELS |= {"data_batch_4.bin": [1, 0], "data_batch_5.bin": [2], "test_batch.bin": [3, 8]}


def record(label: int, red: int) -> bytes:
    """A record: red is `red` with one pixel of 200 in row 1, column 2; green 7 less; blue 9."""
    values = bytearray([label]) + bytearray([red] * 1024 + [red - 7] * 1024 + [9] * 1024)
    values[1 + 1 * 32 + 2] = 200
    return bytes(values)


def batch(labels: list[int]) -> bytes:
    return b"".join(record(label, 100 + label) for label in labels)


def write_binary(folder, replaced=()):
    """The publisher's folder; `replaced` gives other contents, None leaves a file out."""
    files = {name: batch(labels) for name, labels in LABELS.items()}
    files |= {"batches.meta.txt": ("\n".join(NAMES) + "\n\n").encode(), **dict(replaced)}
    folder.mkdir(parents=True)
    for name, content in files.items():
        if content is not None:
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("folder", FOLDERS)
def test_binary_version(tmp_path, folder):
    write_binary(tmp_path / folder)
    dataset = load_images("cifar10", tmp_path)
    assert (dataset.name, dataset.num_train, dataset.max_value) == ("cifar10", 7, 255)
    assert dataset.labels.tolist() == [6, 9, 9, 4, 1, 0, 2, 3, 8]
    assert dataset.labels.dtype == np.int64
    assert dataset.class_names == tuple(NAMES)
    assert dataset.images.shape == (9, 32, 32, 3)
    assert dataset.images.dtype == np.uint8
    assert dataset.images.flags.c_contiguous
    assert dataset.images[1, 0, 0].tolist() == [109, 102, 9]
    assert dataset.images[1, 1, 2].tolist() == [200, 102, 9]
    assert np.argwhere(dataset.images[8] == 200).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin", "batches.meta.txt"])
def test_a_missing_file_is_named(tmp_path, raises_saying, name):
    folder = tmp_path / "cifar-10-batches-bin"
    write_binary(folder, {name: None})
    with raises_saying(
        asked=f"read {folder}", found=f"{name} is missing", do="download.py cifar10"
    ):
        load_images("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (batch([1, 2])[:-1], "6145 bytes, 1 whole images of 3073 bytes and 3072 bytes more"),
        (batch([1]) + b"\0", "3074 bytes, 1 whole images of 3073 bytes and 1 bytes more"),
        (b"", "0 bytes, 0 whole images"),
        (batch([1]) + record(10, 50), "the label of image 1 is 10; there are ten classes"),
        (record(255, 50), "the label of image 0 is 255"),
    ],
)
def test_a_damaged_batch(tmp_path, raises_saying, content, found):
    folder = tmp_path / "cifar-10-batches-bin"
    write_binary(folder, {"data_batch_2.bin": content})
    path = folder / "data_batch_2.bin"
    with raises_saying(asked=f"read {path}", found=found, do="Delete it"):
        read_batch(path)
    with raises_saying(asked=f"read {path}", found=found, do="download.py cifar10"):
        load_images("cifar10", tmp_path)


@pytest.mark.parametrize("names", [NAMES[:9], [*NAMES, "person"], []])
def test_another_number_of_class_names(tmp_path, raises_saying, names):
    write_binary(tmp_path / FOLDERS[0], {"batches.meta.txt": "\n".join(names).encode()})
    with raises_saying(asked="read", found=f"it names {len(names)} classes", do="Delete it"):
        load_images("cifar10", tmp_path)


@pytest.mark.parametrize("folder", ["cifar-10-batches-py", "cifar10/cifar-10-batches-py"])
def test_the_pickled_version_is_not_opened(tmp_path, raises_saying, folder):
    pickled = tmp_path / folder
    pickled.mkdir(parents=True)
    # Opening this pickle would raise: its code divides by zero.
    (pickled / "data_batch_1").write_bytes(b"cbuiltins\neval\n(S'1/0'\ntR.")
    found = f"only the pickled python version is there, in {pickled}"
    do = f"python data/download.py cifar10 --root {tmp_path}"
    with raises_saying(asked="load cifar10", found=found, do=do):
        load_images("cifar10", tmp_path)
    write_binary(tmp_path / FOLDERS[0])
    assert len(load_images("cifar10", tmp_path).images) == 9


def test_missing_data_says_where_it_was_looked_for_and_what_to_run(tmp_path):
    with pytest.raises(NNGraphsError) as error:
        load_images("cifar10", tmp_path)
    for text in [*(str(tmp_path / place) for place in (*FOLDERS, "cifar10.npz")), "Run: python"]:
        assert text in str(error.value)


def smooth_images(count: int) -> np.ndarray:
    """Colours that differ from image to image, and slowly inside one: WebP keeps them."""
    rows, columns = np.mgrid[:32, :32]
    number = np.arange(count)[:, None, None]
    red, green = 40 + number + 0 * rows + 0 * columns, 3 * rows + 20 + 0 * number + 0 * columns
    return np.stack([red, green, 200 - 4 * columns + 0 * red], axis=-1).astype(np.uint8)


def tiles_of(images: np.ndarray, **options) -> tuple[np.ndarray, np.ndarray]:
    """WebP pictures of a hundred images each, one behind the other, and where each begins."""
    padded = np.concatenate([images, np.zeros((-len(images) % 100, 32, 32, 3), np.uint8)])
    pictures = padded.reshape(-1, 10, 10, 32, 32, 3).transpose(0, 1, 3, 2, 4, 5)
    encoded = []
    for picture in pictures.reshape(-1, 320, 320, 3):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "WEBP", **options)
        encoded.append(buffer.getvalue())
    offsets = np.cumsum([0, *map(len, encoded)])
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


TRAIN, TEST = smooth_images(120), smooth_images(2)[::-1]


def compact(**replaced) -> dict[str, np.ndarray]:
    """The arrays of the compact copy: 120 images for training, 2 for tests."""
    arrays = {"class_names": np.array(NAMES), "image_size": np.array(32)}
    for split, images, options in [("train", TRAIN, {"lossless": True}), ("test", TEST, {})]:
        tiles, offsets = tiles_of(images, **options)
        arrays |= {f"{split}_tiles": tiles, f"{split}_offsets": offsets}
        arrays |= {f"{split}_count": np.array(len(images))}
    arrays |= {"y_train": (np.arange(120) % 10).astype(np.uint8), "y_test": np.array([3, 8])}
    return {**arrays, **replaced}


def test_compact_copy(tmp_path):
    np.savez(tmp_path / "cifar10.npz", **compact())
    dataset = load_images("cifar10", tmp_path)
    assert dataset.num_train == 120
    assert dataset.labels.dtype == np.int64
    assert dataset.labels[[0, 1, 119, 120, 121]].tolist() == [0, 1, 9, 3, 8]
    assert dataset.class_names == tuple(NAMES)
    np.testing.assert_array_equal(dataset.images[:120], TRAIN)
    errors = np.abs(dataset.images[120:].astype(float) - TEST)
    assert 0 < np.median(errors) < 10  # lossy


def test_the_binary_version_comes_before_the_compact_copy(tmp_path):
    np.savez(tmp_path / "cifar10.npz", **compact())
    write_binary(tmp_path / FOLDERS[0])
    assert len(load_images("cifar10", tmp_path).images) == 9


TILES, OFFSETS = tiles_of(TRAIN, lossless=True)


@pytest.mark.parametrize(
    ("replaced", "found"),
    [
        ({"train_count": np.array(121)}, "121 train images have labels uint8 (120,)"),
        ({"y_test": np.array([3.0, 8.0])}, "2 test images have labels float64 (2,)"),
        ({"y_test": np.array([3, 10])}, "the label of image 1 is 10"),
        ({"y_test": np.array([-1, 3])}, "the label of image 0 is -1"),
        ({"class_names": np.array(NAMES[:3])}, "it names 3 classes"),
        ({"class_names": np.array([{}], dtype=object)}, "allow_pickle=False"),
        ({"train_offsets": OFFSETS[:2]}, "1 pictures are not those of 120 images"),
        ({"train_offsets": OFFSETS + 1}, "cannot identify image file"),
        ({"train_offsets": np.minimum(OFFSETS, len(TILES) - 40)}, "no archive of pictures"),
        ({"train_tiles": np.zeros_like(TILES)}, "cannot identify image file"),
    ],
)
def test_compact_copy_of_other_arrays(tmp_path, raises_saying, replaced, found):
    path = tmp_path / "cifar10.npz"
    np.savez(path, **compact(**replaced))
    with raises_saying(asked=f"read {path}", found=found, do="download.py cifar10"):
        load_images("cifar10", tmp_path)


def test_compact_copy_without_an_array(tmp_path, raises_saying):
    arrays = compact()
    del arrays["test_offsets"]
    np.savez(tmp_path / "cifar10.npz", **arrays)
    with raises_saying(asked="read", found="test_offsets is not a file", do="Delete it"):
        load_images("cifar10", tmp_path)


def test_damaged_compact_copy(tmp_path):
    path = tmp_path / "cifar10.npz"
    np.savez(path, **compact())
    content = path.read_bytes()
    for damaged in (b"", b"not an archive", content[:-30], content[100:]):
        path.write_bytes(damaged)
        with pytest.raises(NNGraphsError, match=r"cifar10\.npz: it is no archive"):
            load_images("cifar10", tmp_path)


def test_a_picture_of_another_size():
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((320, 288, 3), np.uint8)).save(buffer, "WEBP")
    tiles = np.frombuffer(buffer.getvalue(), np.uint8)
    with pytest.raises(ValueError, match=re.escape("picture 0 is (320, 288, 3)")):
        decode_tiles(tiles, np.array([0, len(tiles)]), 100)


@pytest.mark.data
def test_published_data_set():
    dataset = load_images("cifar10")
    assert dataset.images.shape == (60_000, 32, 32, 3)
    assert dataset.num_train == 50_000
    assert dataset.class_names == tuple(NAMES)
    assert dataset.labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert dataset.labels[50_000:50_005].tolist() == [3, 8, 8, 0, 6]
    for part in (dataset.labels[:50_000], dataset.labels[50_000:]):  # balanced by construction
        assert set(np.bincount(part)) == {len(part) // 10}
    colours = dataset.images[:50_000].mean(axis=(0, 1, 2))
    np.testing.assert_allclose(colours, [125.3, 123.0, 113.9], atol=0.2)  # widely quoted
