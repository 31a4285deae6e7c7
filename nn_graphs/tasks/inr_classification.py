"""INR classification: which class the image belongs to that an INR was fitted to.

Navon et al., ICML 2023, sec. 7; Kofinas et al., ICLR 2024, sec. 5.1.
"""

import logging
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from nn_graphs.datasets import ImageDataset, are_known, load_images
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.inr import inr_preset
from nn_graphs.plotting import plot_renderings
from nn_graphs.tasks.classification import Classes, ColumnClassification, named_classes
from nn_graphs.zoos.zoo import Zoo

logger = logging.getLogger(__name__)
NUM_SHOWN = 10
MAX_CLASSES = 10_000  # more are taken for a mistake, where there are not as many networks


class INRClassification(ColumnClassification):
    """Classification by the column `label`, which holds the numbers of the images' classes.

    There are as many classes as the largest number says, whether all are in the zoo or not. Where
    all labels are strings, "cat" or "7", they are the names of the classes; there are those that
    occur, in the order of `ColumnClassification`.
    """

    name = "inr_classification"

    def __init__(self, zoo: Zoo, *, data_root: str | Path | None = None):
        """
        Args:
            zoo: of INRs, of any number of architectures.
            data_root: where the images are that they were fitted to, see
                `nn_graphs.datasets.data_root`; figures show some, and the names of their classes.

        Raises:
            NNGraphsError: as `ColumnClassification`, or a label is neither a string nor a whole
                number from 0 on, or is so large that there would be too many classes.
        """
        super().__init__(zoo, column="label")
        self._data_root = None if data_root is None else Path(data_root)

    def figures(
        self, outputs: Float[Tensor, "N classes"], labels: Int[Tensor, "N"], *, title: str = ""
    ) -> dict[str, Figure]:
        """`confusion`, and `renderings` of the first INRs below their images, where these are."""
        images = self._images()
        if images is None:
            return super().figures(outputs, labels, title=title)
        names = self.class_names if self._has_names else images.class_names
        return {
            "confusion": self._confusion(outputs, labels, names, title),
            "renderings": self._renderings(images),
        }

    @property
    def _has_names(self) -> bool:
        return _are_names(self.zoo.table["label"])

    def _classes(self, values: np.ndarray) -> Classes:
        if _are_names(values):
            return named_classes(values)
        bad = [value for value in values if not _is_class_number(value)]
        if bad:
            raise NNGraphsError(
                "classify the networks of the zoo by the numbers of their classes",
                found=f"the column label holds {bad[0]!r}.",
                do="Give whole numbers from 0 on, or take ColumnClassification(zoo, column=...).",
            )
        largest = float(max(values))
        if largest >= max(MAX_CLASSES, len(values)):
            raise NNGraphsError(
                "classify the networks of the zoo by the numbers of their classes",
                found=f"the column label holds {largest:.0f}, which would make as many classes for "
                f"{len(values)} networks.",
                do="Correct it, or take ColumnClassification(zoo, column='label'), whose classes "
                "are the numbers that occur.",
            )
        values = values.astype(np.int64)
        return tuple(map(str, range(int(values.max()) + 1))), values

    def _images(self) -> ImageDataset | None:
        """What the INRs were fitted to; None where the zoo does not say, or it is not there."""
        recipe = self.zoo.metadata.get("recipe", {})
        is_told = are_known(recipe.get("dataset")) and "preset" in recipe
        if not is_told or "source_id" not in self.zoo.table or len(self.zoo.specs) > 1:
            return None
        try:
            contents = recipe.get("contents")
            return load_images(recipe["dataset"], self._data_root, contents=contents)
        except NNGraphsError as error:
            logger.warning("No figure of the images: %s", error)
            return None

    def _renderings(self, images: ImageDataset) -> Figure:
        """The first test images, each above what its INR draws."""
        preset = inr_preset(self.zoo.metadata["recipe"]["preset"])
        numbers = self.zoo.indices("test")[:NUM_SHOWN]
        sources = self.zoo.table["source_id"].to_numpy()[numbers]
        height, width = images.images.shape[1:3]
        with torch.no_grad():
            drawn = preset.render(
                self.zoo.spec, self.zoo.take(numbers), height=height, width=width
            ).numpy()
        pixels = images.pixels(sources)
        psnr = -10 * np.log10(np.square(drawn - pixels).mean(axis=(1, 2, 3)))
        names = [images.class_names[label] for label in images.labels[sources]]
        titles = [f"{name}\n{value:.0f} dB" for name, value in zip(names, psnr, strict=True)]
        return plot_renderings(pixels, drawn, titles=titles, caption="test images")


def _are_names(values: Iterable) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_class_number(value: Any) -> bool:
    return isinstance(value, Real | np.bool_) and value >= 0 and float(value).is_integer()
