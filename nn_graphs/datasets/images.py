"""Labelled images in one array, the task data that INRs and classifiers are fitted to."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, Integer, UInt8

from nn_graphs.fingerprint import fingerprint


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """All images of a data set: the training images first, then the publisher's test images.

    The position in that order is an image's name everywhere: a network that was fitted to
    image 60,003 of MNIST stores 60,003, whatever split it later falls into.

    Attributes:
        name: as in `load_images(name)`.
        images: as published, not scaled.
        labels: class of every image, an index into `class_names`.
        num_train: images `[0, num_train)` are for training, `[num_train, num_images)` for tests.
        max_value: the largest value a pixel can take (255, or 16 for digits).
        class_names: what the labels mean.
    """

    name: str
    images: UInt8[np.ndarray, "num_images height width channels"]
    labels: Int64[np.ndarray, " num_images"]
    num_train: int
    max_value: int
    class_names: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Equal of equal images with equal labels, in one order."""
        arrays = torch.from_numpy(self.images), torch.from_numpy(self.labels)
        return fingerprint([str(self.num_train), *arrays])

    @property
    def inputs(self) -> UInt8[np.ndarray, "num_images channels height width"]:
        """The images with channels first, not copied."""
        return np.moveaxis(self.images, -1, 1)

    def pixels(
        self, index: Integer[np.ndarray, " n"] | slice
    ) -> Float32[np.ndarray, "n height width channels"]:
        """The images at `index`, scaled to [0, 1]."""
        return np.divide(self.images[index], np.float32(self.max_value), dtype=np.float32)
