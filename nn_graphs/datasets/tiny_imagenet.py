"""Tiny-ImageNet (Le & Yang, 2015): photographs of 64x64 pixels in 200 classes, or in some of them.

Read from the first of the folders or zip files `PLACES` under the root that is there; the published
one holds 100,000 images for training and 10,000 to validate, which are the test images here, since
those of the published test have no labels. They lie class by class there; ours is an order that is
drawn once and for all, so that the first so many are of all classes.
"""

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np

from nn_graphs.datasets.folders import read_image_folders
from nn_graphs.datasets.images import ImageDataset
from nn_graphs.errors import NNGraphsError

PLACES = ("tiny_imagenet/tiny-imagenet-200", "tiny-imagenet-200", "tiny_imagenet_20")
SIZE = 64  # pixels a side
SEED = 0  # of the order


def read_tiny_imagenet(root: Path) -> ImageDataset:
    """All images `[n, 64, 64, 3]`; class names are those of WordNet, such as n01443537.

    Raises:
        NNGraphsError: none of the places is there, or it lacks classes or images.
    """
    for name in PLACES:
        if (root / name).is_dir() or (root / f"{name}.zip").is_file():
            return _shuffled(read_image_folders(root, name, side=SIZE))
    places = ", ".join(str(root / name) for name in PLACES)
    raise NNGraphsError(
        "load tiny_imagenet",
        found=f"there is none of {places}, as a folder or a zip file.",
        do=f"Run: python data/download.py tiny_imagenet --root {shlex.quote(str(root))}",
    )


def _shuffled(images: ImageDataset) -> ImageDataset:
    """Those for training in another order, and those for tests."""
    draw, number = np.random.default_rng(SEED), images.num_train
    tests = number + draw.permutation(len(images.labels) - number)
    order = np.concatenate([draw.permutation(number), tests])
    return replace(
        images, name="tiny_imagenet", images=images.images[order], labels=images.labels[order]
    )
