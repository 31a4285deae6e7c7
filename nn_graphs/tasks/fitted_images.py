"""The images that the INRs of a zoo were fitted to, and the convention by which INRs draw them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from nn_graphs.datasets import ImageDataset, are_known, load_images
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.inr import PRESETS, INRPreset
from nn_graphs.zoos.zoo import Zoo

ASKED = "compare INRs with the images that they were fitted to"


@dataclass(frozen=True)
class FittedImages:
    """Images of INRs.

    Attributes:
        images: the whole data set.
        numbers: of each network's image in it.
        preset: how the networks draw.
    """

    images: ImageDataset
    numbers: Int[np.ndarray, "N"]
    preset: INRPreset

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.images.images.shape[1:3]
        return height, width


def find_fitted_images(zoo: Zoo, data_root: str | Path | None = None) -> FittedImages:
    """What a zoo says of its images, with these.

    Args:
        zoo: of INRs of one architecture; its metadata name the data set and the preset, its column
            `source_id` the image of each network.
        data_root: where data sets are, see `nn_graphs.datasets.data_root`.

    Raises:
        NNGraphsError: the zoo has no images or does not say which, they are not there, or of
            another size than the zoo's.
    """
    recipe = zoo.metadata.get("recipe", {})
    dataset, preset = recipe.get("dataset"), recipe.get("preset")
    if not are_known(dataset) or preset not in PRESETS or "source_id" not in zoo.table:
        raise NNGraphsError(
            ASKED,
            found=f"the zoo says of its images that they are {dataset!r}, of its convention that "
            f"it is {preset!r}, and {'has' if 'source_id' in zoo.table else 'lacks'} the column "
            "source_id.",
            do="Make it from an INRRecipe, or read the files of a published zoo of INRs.",
        )
    root = None if data_root is None else Path(data_root)
    images = load_images(dataset, root, contents=recipe.get("contents"))
    _check_shapes(zoo, images)
    return FittedImages(images, _image_numbers(zoo, images), PRESETS[preset])


def _check_shapes(zoo: Zoo, images: ImageDataset) -> None:
    """INRs map places in a plane to the channels of their images, which are as large as theirs."""
    *size, channels = images.images.shape[1:]
    layouts = [spec.layer_layout for spec in zoo.specs]
    if len(layouts) != 1 or (layouts[0][0], layouts[0][-1]) != (2, channels):
        raise NNGraphsError(
            ASKED,
            found=f"images of {images.name} have {channels} channels, the networks are "
            f"{', '.join('-'.join(map(str, layout)) for layout in layouts[:3])}.",
            do=f"Give INRs of one architecture with 2 inputs and {channels} outputs.",
        )
    known = zoo.metadata.get("image_size", size)
    if list(known) != size:
        raise NNGraphsError(
            ASKED,
            found=f"the zoo's are of {known[0]} x {known[1]} pixels, those of {images.name} of "
            f"{size[0]} x {size[1]}.",
            do="Give the data set that the zoo was made from.",
        )


def _image_numbers(zoo: Zoo, images: ImageDataset) -> Int[np.ndarray, "N"]:
    numbers = zoo.table["source_id"].to_numpy()
    is_number = np.issubdtype(numbers.dtype, np.integer)
    is_bad = ~((numbers >= 0) & (numbers < len(images.images))) if is_number else [True]
    if np.any(is_bad):
        raise NNGraphsError(
            ASKED,
            found=f"network {np.argmax(is_bad)} is of image {numbers[np.argmax(is_bad)]}, of "
            f"{len(images.images)} of {images.name}.",
            do="Give the place of each image in the data set as source_id.",
        )
    return numbers
