"""Image data sets by name."""

import os
from collections.abc import Callable
from pathlib import Path

from nn_graphs.datasets.cifar10 import read_cifar10
from nn_graphs.datasets.digits import read_digits
from nn_graphs.datasets.images import ImageDataset
from nn_graphs.datasets.mnist import FASHION_MNIST, read_mnist
from nn_graphs.errors import check_known

DATASETS: dict[str, Callable[[Path], ImageDataset]] = {
    "digits": lambda root: read_digits(),
    "mnist": read_mnist,
    "fashion_mnist": lambda root: read_mnist(root, FASHION_MNIST),
    "cifar10": read_cifar10,
}


def load_images(name: str, root: Path | None = None) -> ImageDataset:
    """The image data set `name`, one of `DATASETS`, from the files under `data_root(root)`.

    Raises:
        NNGraphsError: where the name is unknown, or the files are missing or damaged.
    """
    check_known(name, DATASETS, asked=f"load the images {name!r}")
    return DATASETS[name](data_root(root))


def data_root(root: Path | None = None) -> Path:
    """Where data lies: `root`, else the environment's `NN_GRAPHS_DATA`, else `data`."""
    return root if root is not None else Path(os.environ.get("NN_GRAPHS_DATA") or "data")
