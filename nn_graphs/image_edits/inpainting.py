"""Inpainting: the middle of an image is thrown away, and filled from what is around it.

What fills it is the harmonic function with the values of the rim: every pixel is the mean of its
four neighbours, as diffusion leaves it. It is linear in the rim, so that one matrix fills all
images.
"""

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from nn_graphs.errors import NNGraphsError

SHARE = 0.5  # of each side of the image, that the hole has


def inpainted(
    images: UInt8[Tensor, "N channels height width"],
) -> UInt8[Tensor, "N channels height width"]:
    """Images whose middle, half of each side, is filled from its rim.

    Raises:
        NNGraphsError: images are too small for a hole with a rim.
    """
    is_hole = middle(*images.shape[-2:])
    flat = images.double().flatten(2)
    flat[..., is_hole.flatten()] = flat @ filling(is_hole).T
    return flat.round().to(images.dtype).view_as(images)


def middle(height: int, width: int) -> Bool[Tensor, "height width"]:
    """Which pixels are in the hole."""
    if min(height, width) < 4:
        raise NNGraphsError(
            "inpaint the middle of images",
            found=f"they have {height} x {width} pixels.",
            do="Give images of at least 4 x 4.",
        )
    is_hole = torch.zeros(height, width, dtype=torch.bool)
    top, left = (int(side * (1 - SHARE) / 2) for side in (height, width))
    is_hole[top : height - top, left : width - left] = True
    return is_hole


def filling(is_hole: Bool[Tensor, "height width"]) -> Float[Tensor, "hole pixels"]:
    """The matrix from all pixels of an image, those of the hole as they may be, to the hole's."""
    places, width = is_hole.flatten().nonzero().squeeze(1), is_hole.shape[1]
    mean = torch.zeros(len(places), is_hole.numel(), dtype=torch.float64)
    for step in (-width, -1, 1, width):
        mean[torch.arange(len(places)), places + step] = 0.25
    inside = mean[:, places]
    mean[:, places] = 0
    return torch.linalg.solve(torch.eye(len(places), dtype=torch.float64) - inside, mean)
