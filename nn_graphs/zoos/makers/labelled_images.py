"""The images that the networks of a zoo are trained on: which, of what size, on what scale."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from nn_graphs.datasets import ImageDataset, load_images
from nn_graphs.datasets.views import gray, pooled
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.ranges import PositiveInt, in_ranges


@in_ranges
@dataclass(frozen=True)
class LabelledImages:
    """A choice of images.

    Attributes:
        dataset: name, see `nn_graphs.datasets`.
        is_gray: channels are averaged.
        size: side in pixels, to which images are pooled; None: as they are.
        num_train, num_test: the first so many of each; None: all.
        scale: "symmetric": pixels from -1 to 1, as the Small CNN Zoo has them; "standard": mean 0
            and deviation 1 per channel, as the CNN Wild Park has them.
    """

    dataset: str = "digits"
    is_gray: bool = False
    size: PositiveInt | None = None
    num_train: PositiveInt | None = None
    num_test: PositiveInt | None = None
    scale: Literal["symmetric", "standard"] = "symmetric"

    def load(self, data_root: str | Path | None = None) -> ImageDataset:
        """The images as they are looked at, from the files under a folder.

        Raises:
            NNGraphsError: there are no such images.
        """
        images = load_images(self.dataset, None if data_root is None else Path(data_root))
        images = gray(images) if self.is_gray else images
        return images if self.size is None else pooled(images, self.size)

    def labelled(self, images: ImageDataset, device: torch.device | str = "cpu") -> LabelledData:
        """What is trained on.

        Raises:
            NNGraphsError: there are fewer images than were asked for.
        """
        counts = {"num_train": self.num_train, "num_test": self.num_test}
        data = LabelledData.from_dataset(images, device=device, **counts)
        if self.scale == "standard":
            return data
        half = torch.full_like(data.mean, images.max_value / 2)
        return LabelledData(data.inputs, data.labels, data.num_train, half, half)
