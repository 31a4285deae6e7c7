"""Other views of the images of a data set: without colours, or smaller."""

from dataclasses import replace

import numpy as np

from nn_graphs.datasets.images import ImageDataset
from nn_graphs.errors import NNGraphsError

MAX_VALUE = 255


def gray(images: ImageDataset) -> ImageDataset:
    """Mean over channels, as the Small CNN Zoo has it (Unterthiner et al., 2020), in 256 steps.

    Images that are gray already stay as they are.
    """
    if images.images.shape[-1] == 1:
        return images
    return _quantised(images, images.images.mean(-1, keepdims=True, dtype=np.float32))


def pooled(images: ImageDataset, size: int) -> ImageDataset:
    """Images of `size x size` pixels, each the mean of a square of the given ones, in 256 steps.

    Raises:
        NNGraphsError: they can't be divided into so many squares.
    """
    height, width = images.images.shape[1:3]
    if (height, width) == (size, size):
        return images
    if size < 1 or height % size or width % size or height != width:
        raise NNGraphsError(
            f"pool {images.name} to {size} x {size} pixels",
            found=f"its images have {height} x {width}.",
            do="Give a size that divides both.",
        )
    step = height // size
    blocks = images.images.reshape(len(images.images), size, step, size, step, -1)
    return _quantised(images, blocks.mean((2, 4), dtype=np.float32))


def _quantised(images: ImageDataset, values: np.ndarray) -> ImageDataset:
    scaled = np.rint(values * (MAX_VALUE / images.max_value)).astype(np.uint8)
    return replace(images, images=scaled, max_value=MAX_VALUE)
