"""Images in folders by class, as ImageNet comes: `<name>/train/<class>/...` and `<name>/val/...`.

Read from `<root>/<name>/`, or from `<root>/<name>.zip` with the same paths inside. All images are
held in memory, scaled to squares; 1.3 million of 64x64 are 16 GB.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from nn_graphs.datasets.images import ImageDataset
from nn_graphs.errors import NNGraphsError

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")
AnyPath = Path | zipfile.Path


def read_image_folders(root: Path, name: str, *, side: int = 64) -> ImageDataset:
    """All images `[n, side, side, 3]`; those under `val` are the test images.

    Args:
        root: where the folder or the zip file lies.
        name: of it.
        side: of the squares: the shorter side is scaled to it, and the middle cut out.

    Raises:
        NNGraphsError: nothing is there, the folders lack classes or images, or one cannot be read.
    """
    top = _top(root, name)
    files = {split: _files(top / split) for split in ("train", "val")}
    classes = sorted(files["train"])
    if not classes or set(files["val"]) - set(classes) or not files["val"]:
        raise NNGraphsError(
            f"read {name} as images in folders",
            found=f"train has {len(classes)} classes, val {len(files['val'])}, not all of them "
            "in train."
            if classes
            else f"{top} has no folder train with a folder of images for each class.",
            do="Arrange it as train/<class>/<images> and val/<class>/<images>.",
        )
    listed = [
        (file, classes.index(label), split)
        for split, by_class in files.items()
        for label, found in by_class.items()
        for file in found
    ]
    return ImageDataset(
        name=name,
        images=np.stack([_read(file, side) for file, _, _ in listed]),
        labels=np.array([label for _, label, _ in listed], np.int64),
        num_train=sum(split == "train" for _, _, split in listed),
        max_value=255,
        class_names=tuple(classes),
    )


def _top(root: Path, name: str) -> AnyPath:
    if (root / name).is_dir():
        return root / name
    archive = root / f"{name}.zip"
    if archive.is_file():
        top = zipfile.Path(archive)
        return top / name if (top / name).is_dir() else top
    raise NNGraphsError(
        f"read {name} as images in folders",
        found=f"there is neither {root / name} nor {archive}.",
        do="Put one of them there.",
    )


def _files(split: AnyPath) -> dict[str, list[AnyPath]]:
    """Image files by class, in the order of their names."""
    if not split.is_dir():
        return {}
    folders = sorted((one for one in split.iterdir() if one.is_dir()), key=lambda one: one.name)
    found = {folder.name: _images(folder) for folder in folders}
    return {label: images for label, images in found.items() if images}


def _images(folder: AnyPath) -> list[AnyPath]:
    images = [one for one in folder.iterdir() if one.name.lower().endswith(SUFFIXES)]
    return sorted(images, key=lambda one: one.name)


def _read(file: AnyPath, side: int) -> UInt8[np.ndarray, "side side 3"]:
    try:
        image = Image.open(io.BytesIO(file.read_bytes())).convert("RGB")
    except OSError as error:
        raise NNGraphsError(
            f"read {file}", found=f"it is no image: {error}.", do="Get it again, or delete it."
        ) from error
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - side) // 2, (height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)))
