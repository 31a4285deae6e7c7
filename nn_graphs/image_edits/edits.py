"""Edits by name, and a data set's images after one.

Edits are of the images as they are stored, whole numbers, so that what an edited INR is to draw
never depends on an INR.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Integer, UInt8
from torch import Tensor

from nn_graphs.datasets.images import ImageDataset
from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.image_edits.contrast import contrast, contrast_in_order
from nn_graphs.image_edits.inpainting import inpainted
from nn_graphs.image_edits.morphology import dilated, eroded
from nn_graphs.image_edits.rotation import rotated

BLOCK = 2048  # images that are edited at once, for some hundred megabytes


@dataclass(frozen=True)
class Edit:
    """What is done to images.

    Attributes:
        apply: `[N, channels, height, width]` in whole numbers to the same.
        is_of_colors: it is of images with three channels of 256 levels.
    """

    apply: Callable[[Tensor], Tensor]
    is_of_colors: bool = False


EDITS: dict[str, Edit] = {
    "dilation": Edit(dilated),
    "erosion": Edit(eroded),
    "rotation": Edit(rotated),
    "inpainting": Edit(inpainted),
    "contrast": Edit(contrast, is_of_colors=True),
    "contrast_in_order": Edit(contrast_in_order, is_of_colors=True),
}


def edited_images(
    name: str, images: ImageDataset, index: Integer[np.ndarray, " n"]
) -> UInt8[Tensor, "n height width channels"]:
    """The images at `index` after an edit of `EDITS`, in the levels of the data set.

    Raises:
        NNGraphsError: there is no such edit, or it is not for such images.
    """
    check_known(name, EDITS, asked=f"edit images of {images.name} by {name!r}")
    edit, num_channels = EDITS[name], images.images.shape[-1]
    if edit.is_of_colors and (num_channels, images.max_value) != (3, 255):
        raise NNGraphsError(
            f"edit images of {images.name} by {name!r}",
            found=f"they have {num_channels} channels of {images.max_value + 1} levels.",
            do="Give images of 3 channels and 256 levels, or choose dilation or another edit.",
        )
    blocks = (index[start : start + BLOCK] for start in range(0, len(index), BLOCK))
    inputs = (torch.from_numpy(np.ascontiguousarray(images.inputs[block])) for block in blocks)
    return torch.cat([edit.apply(part) for part in inputs]).movedim(1, -1).contiguous()
