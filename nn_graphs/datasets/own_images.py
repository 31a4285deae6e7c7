"""Images of a user's own: a folder, or arrays in a file, in the place of a data set's name.

- A folder of images, all of one size: `<class>/...`, or `train/<class>/...` and `test/<class>/...`,
  or images alone, which are then of one class.
- `.npy`: `[num_images, height, width]`, or with an axis of channels behind; bytes, or numbers from
  0 to 1, of which 256 levels are kept.
- `.npz`: such an array `images`, and if there are any `labels` (whole numbers or names) and
  `is_test` (true or false), one each.

Where nothing says which images are for tests, every sixth of an order drawn once for all is. Those
for training come first, in the order that they have (in folders that of their paths).
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image

from nn_graphs.datasets.folders import SUFFIXES
from nn_graphs.datasets.images import ImageDataset
from nn_graphs.errors import NNGraphsError

ARRAYS = (".npy", ".npz")
SPLITS = {"train": False, "test": True, "val": True}  # names of folders; whether for tests
TEST_EVERY = 6
LAYOUT = "Give a folder of images of one size, class by class, or an array in .npy or .npz."


def names_own_images(name: str) -> bool:
    """Whether a name is a path, and not that of a known data set."""
    return Path(name).suffix in ARRAYS or os.sep in name or "/" in name


def read_own_images(path: str | Path) -> ImageDataset:
    """The images at a path, see above.

    Raises:
        NNGraphsError: there are none, or of several sizes; they are no bytes, or numbers not from 0
            to 1; labels or splits are of another number.
    """
    path = Path(path)
    if path.is_dir():
        images, labels, is_test = _read_folder(path)
    elif path.is_file():
        images, labels, is_test = _read_arrays(path)
    else:
        raise _refused(path, "nothing is there.", LAYOUT)
    names, numbers = np.unique(labels, return_inverse=True)
    order = np.argsort(is_test, kind="stable")
    return ImageDataset(
        name=path.stem,
        images=np.ascontiguousarray(images[order]),
        labels=numbers[order].astype(np.int64),
        num_train=int((~is_test).sum()),
        max_value=255,
        class_names=tuple(map(str, names)),
    )


Read = tuple[UInt8[np.ndarray, "n h w c"], Shaped[np.ndarray, " n"], Bool[np.ndarray, " n"]]


def _read_folder(path: Path) -> Read:
    found = sorted(one for one in path.rglob("*") if one.name.lower().endswith(SUFFIXES))
    if not found:
        raise _refused(path, "it holds no images.", LAYOUT)
    parts = [one.relative_to(path).parts[:-1] for one in found]
    splits = [own[0] if own and own[0] in SPLITS else None for own in parts]
    if None in splits and set(splits) != {None}:
        some = found[splits.index(None)].relative_to(path)
        raise _refused(path, f"{some} is in none of its folders train and test.", LAYOUT)
    labels = [own[bool(split) :] for own, split in zip(parts, splits, strict=True)]
    pictures = _of_one_size(path, found)
    is_test = None if splits[0] is None else np.array([SPLITS[split] for split in splits])
    return (
        pictures,
        np.array(["/".join(own) or "image" for own in labels]),
        _drawn_tests(len(found)) if is_test is None else is_test,
    )


def _of_one_size(path: Path, files: list[Path]) -> UInt8[np.ndarray, "n h w c"]:
    """In one channel where all are gray, else in three."""
    opened = [_opened(file) for file in files]
    sizes = {image.size: file for image, file in zip(opened, files, strict=True)}
    if len(sizes) > 1:
        (first, one), (second, other), *_ = sizes.items()
        raise _refused(
            path,
            f"{one.name} has {first[0]} x {first[1]} pixels, {other.name} {second[0]} x "
            f"{second[1]}.",
            "Scale them to one size.",
        )
    mode = "L" if all(image.mode in ("L", "1") for image in opened) else "RGB"
    pixels = np.stack([np.asarray(image.convert(mode)) for image in opened])
    return pixels.reshape(*pixels.shape[:3], -1)


def _opened(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            image.load()
            return image.copy()
    except OSError as error:
        raise _refused(file, f"it is no image: {error}.", "Get it again, or delete it.") from error


def _read_arrays(path: Path) -> Read:
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = dict(content) if isinstance(content, Mapping) else {"images": content}
    except (OSError, ValueError, EOFError) as error:
        raise _refused(path, f"it is no file of arrays: {error}.", LAYOUT) from error
    if "images" not in arrays:
        held = ", ".join(arrays) or "nothing"
        raise _refused(path, f"it holds {held}, no array images.", LAYOUT)
    images = _as_bytes(path, arrays["images"])
    labels = arrays.get("labels", np.zeros(len(images), np.int64))
    is_test = arrays.get("is_test", _drawn_tests(len(images)))
    for name, values in (("labels", labels), ("is_test", is_test)):
        if values.shape != (len(images),) or (name == "is_test" and values.dtype != bool):
            raise _refused(
                path,
                f"{name} is {list(values.shape)} of {values.dtype}, of {len(images)} images.",
                "Give one for each image: labels whole numbers or names, is_test true or false.",
            )
    return images, labels, is_test


def _as_bytes(path: Path, images: np.ndarray) -> UInt8[np.ndarray, "n h w c"]:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise _refused(
            path,
            f"its images are {list(images.shape)}.",
            "Give [num_images, height, width], with 1 or 3 channels behind.",
        )
    if images.dtype == np.uint8:
        return images
    is_share = images.dtype.kind == "f" and bool(((images >= 0) & (images <= 1)).all())
    if not is_share:
        raise _refused(
            path,
            f"its images are of {images.dtype}, from {images.min()} to {images.max()}.",
            "Give bytes, from 0 to 255, or numbers from 0 to 1.",
        )
    return np.round(images * 255).astype(np.uint8)


def _drawn_tests(count: int) -> Bool[np.ndarray, " count"]:
    return np.random.default_rng(0).permutation(count) % TEST_EVERY == TEST_EVERY - 1


def _refused(path: Path, found: str, do: str) -> NNGraphsError:
    return NNGraphsError(f"read the images {path}", found=found, do=do)
