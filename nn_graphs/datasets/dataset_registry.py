"""Data sets by name: images and tables."""

import os
from collections.abc import Callable
from pathlib import Path

from nn_graphs.datasets.california_housing import read_california_housing
from nn_graphs.datasets.cifar10 import read_cifar10
from nn_graphs.datasets.covertype import read_covertype
from nn_graphs.datasets.digits import read_digits
from nn_graphs.datasets.images import ImageDataset
from nn_graphs.datasets.labelled import LabelledDataset
from nn_graphs.datasets.mnist import FASHION_MNIST, read_mnist
from nn_graphs.datasets.moons import read_moons
from nn_graphs.datasets.own_images import names_own_images, read_own_images
from nn_graphs.datasets.tables import TableDataset
from nn_graphs.datasets.tiny_imagenet import read_tiny_imagenet
from nn_graphs.errors import NNGraphsError, check_known

DATASETS: dict[str, Callable[[Path], ImageDataset]] = {
    "digits": lambda root: read_digits(),
    "mnist": read_mnist,
    "fashion_mnist": lambda root: read_mnist(root, FASHION_MNIST),
    "cifar10": read_cifar10,
    "tiny_imagenet": read_tiny_imagenet,
}

TABLES: dict[str, Callable[[Path], TableDataset]] = {
    "moons": lambda root: read_moons(),
    "california_housing": read_california_housing,
    "covertype": read_covertype,
}


def load_images(
    name: str, root: Path | None = None, *, contents: str | None = None
) -> ImageDataset:
    """The image data set `name`, one of `DATASETS`, from the files under `data_root(root)`.

    Or images of your own: `name` is the path of a folder or file, see `own_images`.

    Args:
        name: of the images, or their path.
        root: where published data sets lie.
        contents: the fingerprint that they must have; None: any.

    Raises:
        NNGraphsError: where the name is unknown, the files are missing or damaged, or the images
            are others.
    """
    if names_own_images(name):
        images = read_own_images(name)
    else:
        check_known(name, DATASETS, asked=f"load the images {name!r}")
        images = DATASETS[name](data_root(root))
    if contents is not None and images.fingerprint != contents:
        raise NNGraphsError(
            f"load the images {name!r}",
            found="they are not those that the zoo was made from.",
            do="Bring back those, or make a zoo of its own from these.",
        )
    return images


def are_known(name: object) -> bool:
    """Whether `load_images` takes such a name."""
    return isinstance(name, str) and (name in DATASETS or names_own_images(name))


def load_table(name: str, root: Path | None = None) -> TableDataset:
    """The table `name`, one of `TABLES`, from the files under `data_root(root)`.

    Raises:
        NNGraphsError: where the name is unknown, or the files are missing or damaged.
    """
    check_known(name, TABLES, asked=f"load the table {name!r}")
    return TABLES[name](data_root(root))


def load_dataset(name: str, root: Path | None = None) -> LabelledDataset:
    """The images or the table `name`, as `load_images` and `load_table`."""
    check_known(name, (*DATASETS, *TABLES), asked=f"load the data set {name!r}")
    return load_table(name, root) if name in TABLES else load_images(name, root)


def data_root(root: Path | None = None) -> Path:
    """Where data lies: `root`, else the environment's `NN_GRAPHS_DATA`, else `data`."""
    return root if root is not None else Path(os.environ.get("NN_GRAPHS_DATA") or "data")
