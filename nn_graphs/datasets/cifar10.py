"""CIFAR-10 (Krizhevsky, 2009): photographs of 32x32 pixels in ten classes.

Read from the first of these that is there:

- the publisher's binary version, `data_batch_1.bin` to `data_batch_5.bin`, `test_batch.bin` and
  `batches.meta.txt`, in one of the `FOLDERS` under the root;
- `<root>/cifar10.npz`, a compact copy: the images in their original order, a hundred to a WebP
  picture. That copy is lossy (34 dB from the original on average): say so beside results.

The publisher's python version is pickled. It is not read, since unpickling runs whatever code a
file holds.
"""

import io
import math
import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Integer, UInt8
from PIL import Image

from nn_graphs.datasets.images import ImageDataset
from nn_graphs.errors import NNGraphsError

FOLDERS = ("cifar10/cifar-10-batches-bin", "cifar10/cifar-10-binary", "cifar-10-batches-bin")
PICKLED_FOLDERS = ("cifar10/cifar-10-batches-py", "cifar-10-batches-py")
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"
NAMES_FILE = "batches.meta.txt"

SIZE = 32  # pixels a side
RECORD_BYTES = 1 + 3 * SIZE**2  # the label, then all red values, all green, all blue
NUM_CLASSES = 10
TILES_A_SIDE = 10  # of a picture in the compact copy
NPZ_KEYS = (
    *("train_tiles", "train_offsets", "train_count", "y_train"),
    *("test_tiles", "test_offsets", "test_count", "y_test"),
    "class_names",
)

Images = UInt8[np.ndarray, "n 32 32 3"]
Labels = Integer[np.ndarray, " n"]


def read_cifar10(root: Path) -> ImageDataset:
    """All images `[60000, 32, 32, 3]` of CIFAR-10, 50,000 of them for training.

    Raises:
        NNGraphsError: where no file that is read is found, or one is damaged or missing.
    """
    for folder in (root / name for name in FOLDERS):
        if any((folder / name).is_file() for name in (*TRAIN_FILES, TEST_FILE)):
            return _read_binary(folder)
    npz = root / "cifar10.npz"
    if npz.is_file():
        return _read_compact(npz)
    pickled = next((root / name for name in PICKLED_FOLDERS if (root / name).is_dir()), None)
    looked_at = " or ".join(str(root / name) for name in FOLDERS)
    raise NNGraphsError(
        "load cifar10",
        found=f"only the pickled python version is there, in {pickled}; it is not read, since "
        "unpickling can run any code."
        if pickled
        else f"there are no batches (*.bin) in {looked_at}, and there is no {npz}.",
        do=f"Run: python data/download.py cifar10 --root {shlex.quote(str(root))}",
    )


def read_batch(path: Path) -> tuple[Images, Labels]:
    """The images and labels of one file of the binary version.

    Raises:
        NNGraphsError: for a file that ends inside a record, or a label that is no class.
    """
    content = np.fromfile(path, np.uint8)
    num_records, rest = divmod(len(content), RECORD_BYTES)
    if rest or not num_records:
        raise _damaged(
            path,
            f"it holds {len(content)} bytes, {num_records} whole images of {RECORD_BYTES} bytes "
            f"and {rest} bytes more.",
        )
    records = content.reshape(num_records, RECORD_BYTES)
    labels = records[:, 0]
    _check_labels(labels, path)
    return records[:, 1:].reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1), labels


def decode_tiles(
    tiles: UInt8[np.ndarray, " bytes"], offsets: Integer[np.ndarray, " pictures_and_1"], count: int
) -> Images:
    """The first `count` images of WebP pictures of 10x10 images each.

    Args:
        tiles: the pictures, one behind the other.
        offsets: where each begins, and where the last one ends.
        count: images to return; the last picture may hold fewer than a hundred.

    Raises:
        ValueError, OSError: where a picture cannot be decoded or has another size.
    """
    a_picture, side = TILES_A_SIDE**2, TILES_A_SIDE * SIZE
    num_pictures = len(offsets) - 1
    if num_pictures != math.ceil(count / a_picture):
        raise ValueError(f"{num_pictures} pictures are not those of {count} images")
    images = np.empty((num_pictures, TILES_A_SIDE, TILES_A_SIDE, SIZE, SIZE, 3), np.uint8)
    for number, (start, stop) in enumerate(pairwise(offsets)):
        with Image.open(io.BytesIO(tiles[start:stop].tobytes()), formats=["WEBP"]) as picture:
            pixels = np.asarray(picture)
        if pixels.shape != (side, side, 3):
            raise ValueError(f"picture {number} is {pixels.shape}, not {(side, side, 3)}")
        rows = pixels.reshape(TILES_A_SIDE, SIZE, TILES_A_SIDE, SIZE, 3)
        images[number] = rows.transpose(0, 2, 1, 3, 4)
    return images.reshape(-1, SIZE, SIZE, 3)[:count]


def _read_binary(folder: Path) -> ImageDataset:
    for name in (*TRAIN_FILES, TEST_FILE, NAMES_FILE):
        if not (folder / name).is_file():
            raise NNGraphsError(
                f"read {folder}",
                found=f"{name} is missing beside the other files.",
                do="Delete the folder, then unpack it again with data/download.py cifar10.",
            )
    class_names = (folder / NAMES_FILE).read_text(encoding="utf-8", errors="replace").split()
    train = [read_batch(folder / name) for name in TRAIN_FILES]
    test = read_batch(folder / TEST_FILE)
    return _dataset([*train, test], class_names, num_test=len(test[1]), source=folder)


def _read_compact(path: Path) -> ImageDataset:
    # Damage shows in zipfile, zlib, numpy or pillow, as nearly any exception there is.
    try:
        arrays = _read_arrays(path)
        train, test = _decode_split(arrays, "train"), _decode_split(arrays, "test")
        class_names = arrays["class_names"].tolist()
    except Exception as error:
        raise _damaged(path, f"it is no archive of pictures of CIFAR-10: {error}.") from error
    for _, labels in (train, test):
        _check_labels(labels, path)
    return _dataset([train, test], class_names, num_test=len(test[1]), source=path)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {key: archive[key] for key in NPZ_KEYS}


def _decode_split(arrays: Mapping[str, np.ndarray], split: str) -> tuple[Images, Labels]:
    """Images and labels of `train` or `test`, as many of the one as of the other."""
    count, labels = int(arrays[f"{split}_count"]), arrays[f"y_{split}"]
    if labels.dtype.kind not in "ui" or labels.shape != (count,):
        raise ValueError(f"{count} {split} images have labels {labels.dtype} {labels.shape}")
    return decode_tiles(arrays[f"{split}_tiles"], arrays[f"{split}_offsets"], count), labels


def _dataset(
    parts: list[tuple[np.ndarray, np.ndarray]],
    class_names: list[str],
    *,
    num_test: int,
    source: Path,
) -> ImageDataset:
    """Images and labels, part after part, the last `num_test` of them for tests."""
    if len(class_names) != NUM_CLASSES:
        raise _damaged(source, f"it names {len(class_names)} classes, {class_names}, not ten.")
    images, labels = zip(*parts, strict=True)
    all_labels: Int64[np.ndarray, " num_images"] = np.concatenate(labels).astype(np.int64)
    all_images = np.empty((len(all_labels), SIZE, SIZE, 3), np.uint8)
    np.concatenate(images, out=all_images)  # colours last in memory too
    return ImageDataset(
        name="cifar10",
        images=all_images,
        labels=all_labels,
        num_train=len(all_labels) - num_test,
        max_value=255,
        class_names=tuple(class_names),
    )


def _check_labels(labels: Labels, path: Path) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= NUM_CLASSES))
    if len(wrong):
        found = f"the label of image {wrong[0]} is {labels[wrong[0]]}; there are ten classes."
        raise _damaged(path, found)


def _damaged(path: Path, found: str) -> NNGraphsError:
    return NNGraphsError(
        f"read {path}",
        found=found,
        do="Delete it, then get the binary version with data/download.py cifar10.",
    )
