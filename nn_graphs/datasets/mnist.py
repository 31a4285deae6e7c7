"""MNIST (LeCun et al., 1998) and Fashion-MNIST (Xiao et al., 2017), which share one format.

Read from the first of these that is there, `<name>` being `mnist` or `fashion_mnist`:

- `<root>/<name>/` with the publisher's four idx files, plain or gzip;
- `<root>/MNIST/raw/` or `<root>/FashionMNIST/raw/`, where torchvision puts the same files;
- `<root>/<name>.npz` with the arrays `x_train y_train x_test y_test`, as Keras stores them.
"""

import gzip
import math
import shlex
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from nn_graphs.datasets.images import ImageDataset
from nn_graphs.errors import NNGraphsError

ARRAYS = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class MNISTFormat:
    """One of the data sets in this format: its names, and what its ten labels mean."""

    name: str
    torchvision_name: str
    class_names: tuple[str, ...]

    def folders(self, root: Path) -> tuple[Path, Path]:
        """Where the idx files may lie."""
        return root / self.name, root / self.torchvision_name / "raw"

    def npz(self, root: Path) -> Path:
        """Where the one-file form may lie."""
        return root / f"{self.name}.npz"


MNIST = MNISTFormat("mnist", "MNIST", tuple(str(digit) for digit in range(10)))
FASHION_MNIST = MNISTFormat(
    "fashion_mnist",
    "FashionMNIST",
    (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)


def read_mnist(root: Path, variant: MNISTFormat = MNIST) -> ImageDataset:
    """All images `[70000, 28, 28, 1]` of MNIST or Fashion-MNIST, 60,000 of them for training.

    Raises:
        NNGraphsError: where no file is found, or a file is damaged or contradicts another.
    """
    read_array, source = _find_reader(root, variant)
    train = _read_split(read_array, "train", variant=variant, source=source)
    test = _read_split(read_array, "test", variant=variant, source=source)
    if train[0].shape[1:] != test[0].shape[1:]:
        raise _damaged(
            source, f"training images are {train[0].shape[1:]}, test images {test[0].shape[1:]}."
        )
    return ImageDataset(
        name=variant.name,
        images=np.concatenate([train[0], test[0]])[..., None],
        labels=np.concatenate([train[1], test[1]]).astype(np.int64),
        num_train=len(train[0]),
        max_value=255,
        class_names=variant.class_names,
    )


def read_idx(path: Path, *, num_dims: int) -> UInt8[np.ndarray, "..."]:
    """The array of an idx file of unsigned bytes: a magic number, sizes (big-endian), values.

    Whether the file is gzip is read from its first bytes: some browsers unpack what they save
    under a name in `.gz`.

    Args:
        path: the file.
        num_dims: how many dimensions to expect: 3 for images, 1 for labels.

    Raises:
        NNGraphsError: for a wrong magic number, or a length that the sizes do not give.
    """
    content = _read_bytes(path)
    magic, header_size = bytes([0, 0, 8, num_dims]), 4 + 4 * num_dims
    if content[:4] != magic:
        raise _damaged(
            path,
            f"it begins with the bytes '{content[:4].hex(' ')}'; an idx file of unsigned bytes "
            f"in {num_dims} dimensions begins with '{magic.hex(' ')}'.",
        )
    if len(content) < header_size:
        raise _damaged(path, f"it ends after {len(content)} of {header_size} header bytes.")
    shape = np.frombuffer(content, ">u4", count=num_dims, offset=4).tolist()
    num_bytes = header_size + math.prod(shape)
    if len(content) != num_bytes:
        raise _damaged(
            path, f"it holds {len(content)} bytes; its sizes {shape} make {num_bytes} bytes."
        )
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"gzip cannot unpack its {len(content)} bytes: {error}.") from error


def _find_reader(root: Path, variant: MNISTFormat) -> tuple[Callable[[str], np.ndarray], Path]:
    """A function from a key of `ARRAYS` to its array, and the folder or file it reads."""
    for folder in variant.folders(root):
        if any(_find_idx(folder, file) for file in ARRAYS.values()):
            return partial(_read_idx_of, folder), folder
    npz = variant.npz(root)
    if npz.is_file():
        return _read_npz(npz).__getitem__, npz
    looked_at = " or ".join(str(folder) for folder in variant.folders(root))
    raise NNGraphsError(
        f"load {variant.name}",
        found=f"there are no idx files in {looked_at}, and there is no {npz}.",
        do=f"Run: python data/download.py {variant.name} --root {shlex.quote(str(root))}",
    )


def _find_idx(folder: Path, file: str) -> Path | None:
    paths = (folder / file, folder / f"{file}.gz")
    return next((path for path in paths if path.is_file()), None)


def _read_idx_of(folder: Path, key: str) -> UInt8[np.ndarray, "..."]:
    path = _find_idx(folder, ARRAYS[key])
    if path is None:
        raise NNGraphsError(
            f"read {folder}",
            found=f"{ARRAYS[key]}[.gz] is missing beside the other idx files.",
            do="Put it there, or finish the download with data/download.py.",
        )
    return read_idx(path, num_dims=3 if key.startswith("x") else 1)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in ARRAYS}
    # Damage shows in zipfile, zlib or numpy, as nearly any exception there is.
    except Exception as error:
        keys = " ".join(ARRAYS)
        raise _damaged(path, f"it is no archive of the arrays {keys}: {error}.") from error


def _read_split(
    read_array: Callable[[str], np.ndarray], split: str, *, variant: MNISTFormat, source: Path
) -> tuple[UInt8[np.ndarray, "n height width"], Integer[np.ndarray, " n"]]:
    """Images and labels of `train` or `test`, found to belong together."""
    images, labels = read_array(f"x_{split}"), read_array(f"y_{split}")
    if images.dtype != np.uint8 or images.ndim != 3 or labels.dtype.kind not in "ui":
        raise _damaged(
            source,
            f"{split} images are {images.dtype} {images.shape}, labels {labels.dtype}; "
            "expected uint8 (num_images, height, width) and integers.",
        )
    if labels.shape != (len(images),):
        raise _damaged(source, f"{len(images)} {split} images have labels of shape {labels.shape}.")
    num_classes = len(variant.class_names)
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise _damaged(
            source,
            f"{split} labels run from {labels.min()} to {labels.max()}; "
            f"there are {num_classes} classes.",
        )
    return images, labels


def _damaged(path: Path, found: str) -> NNGraphsError:
    return NNGraphsError(
        f"read {path}",
        found=found,
        do="Delete it, then download it again with data/download.py.",
    )
