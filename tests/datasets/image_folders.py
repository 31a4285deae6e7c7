"""Folders of a few small images, or the same in an archive."""

import zipfile

import numpy as np
from PIL import Image


def make_folders(top, *, splits=("train", "val")):
    generator = np.random.default_rng(0)
    for split, label, number in [
        (split, label, number) for split in splits for label in "ba" for number in range(2)
    ]:
        folder = top / split / label
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (8, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def pack(top, archive):
    """The same in a zip file."""
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted(top.rglob("*.png")):
            packed.write(file, file.relative_to(top.parent))
