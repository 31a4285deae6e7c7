"""Images in folders by class, as ImageNet comes: `<name>/train/<class>/...` and `<name>/val/...`.

Found in `<root>/<name>/`, or in `<root>/<name>.zip` with the same paths inside. As in the published
Tiny-ImageNet, images may lie one folder deeper, in `<class>/images`, and a file
`val_annotations.txt` may say which classes those in `val/images` are of: a line an image, its name
and its class first. `ImageFiles` lists them, `read_image_folders` holds all in memory, scaled to
squares (1.3 million of 64x64 are 16 GB); `streamed` reads them batch by batch.
"""

import io
import os
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from PIL import Image

from nn_graphs.datasets.images import ImageDataset
from nn_graphs.errors import NNGraphsError

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")
DEEPER, ANNOTATIONS = "images", "val_annotations.txt"  # of Tiny-ImageNet
AnyPath = Path | zipfile.Path


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """The files of a set of images, those for training first; picklable.

    Attributes:
        top: the folder or the zip file.
        names: paths inside.
        labels: class of every image, an index into `class_names`.
        num_train: images `[0, num_train)` are for training.
        class_names: in the order of the alphabet.
    """

    top: Path
    names: tuple[str, ...]
    labels: Int64[np.ndarray, " num_images"]
    num_train: int
    class_names: tuple[str, ...]

    @classmethod
    def find(cls, root: Path, name: str) -> "ImageFiles":
        """The files of `<root>/<name>/` or `<root>/<name>.zip`.

        Raises:
            NNGraphsError: nothing is there, or the folders lack classes or images.
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
        place = {label: number for number, label in enumerate(classes)}
        listed = [
            (file, place[label])
            for by_class in files.values()
            for label, found in by_class.items()
            for file in found
        ]
        is_packed = isinstance(top, zipfile.Path)
        return cls(
            top=Path(top.root.filename) if is_packed else top,
            names=tuple(file.at if is_packed else str(file.relative_to(top)) for file, _ in listed),
            labels=np.array([label for _, label in listed], np.int64),
            num_train=sum(map(len, files["train"].values())),
            class_names=tuple(classes),
        )

    def read(self, number: int) -> Image.Image:
        """An image, in three channels.

        Raises:
            NNGraphsError: it is none.
        """
        name = self.names[number]
        if self.top.is_dir():
            content = (self.top / name).read_bytes()
        else:
            content = _archive(self.top, os.getpid()).read(name)
        try:
            return Image.open(io.BytesIO(content)).convert("RGB")
        except OSError as error:
            raise NNGraphsError(
                f"read {self.top / name}",
                found=f"it is no image: {error}.",
                do="Get it again, or delete it.",
            ) from error


def read_image_folders(root: Path, name: str, *, side: int = 64) -> ImageDataset:
    """All images `[n, side, side, 3]`; those under `val` are the test images.

    Args:
        root: where the folder or the zip file lies.
        name: of it.
        side: of the squares: the shorter side is scaled to it, and the middle cut out.

    Raises:
        NNGraphsError: nothing is there, the folders lack classes or images, or one cannot be read.
    """
    files = ImageFiles.find(root, name)
    squares = (middle(files.read(number), side, side) for number in range(len(files.names)))
    return ImageDataset(
        name=name,
        images=np.stack([np.asarray(square) for square in squares]),
        labels=files.labels,
        num_train=files.num_train,
        max_value=255,
        class_names=files.class_names,
    )


def middle(image: Image.Image, whole_side: int, side: int) -> Image.Image:
    """The image with its shorter side scaled to `whole_side`, and of it the middle square."""
    scale = whole_side / min(image.size)
    width, height = (max(whole_side, round(length * scale)) for length in image.size)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


@lru_cache(maxsize=4)
def _archive(path: Path, process: int) -> zipfile.ZipFile:
    """Open in one process: others that read with the same handle would move its place."""
    return zipfile.ZipFile(path)


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
    if (split / ANNOTATIONS).is_file():
        return _annotated(split)
    folders = sorted((one for one in split.iterdir() if one.is_dir()), key=lambda one: one.name)
    found = {folder.name: _images(folder) or _images(folder / DEEPER) for folder in folders}
    return {label: images for label, images in found.items() if images}


def _annotated(split: AnyPath) -> dict[str, list[AnyPath]]:
    """The same by the lines of a file, which begin with a name and a class."""
    lines = (split / ANNOTATIONS).read_text(encoding="utf-8").splitlines()
    labels = dict(line.split()[:2] for line in lines if len(line.split()) > 1)
    found: dict[str, list[AnyPath]] = {}
    for image in _images(split / DEEPER):
        if image.name not in labels:
            raise NNGraphsError(
                f"read the images in {split}",
                found=f"{ANNOTATIONS} does not say what {image.name} is.",
                do="Get the archive again.",
            )
        found.setdefault(labels[image.name], []).append(image)
    return found


def _images(folder: AnyPath) -> list[AnyPath]:
    if not folder.is_dir():
        return []
    images = [one for one in folder.iterdir() if one.name.lower().endswith(SUFFIXES)]
    return sorted(images, key=lambda one: one.name)
