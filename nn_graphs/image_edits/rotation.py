"""Rotation about the middle of an image."""

import math

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

DEGREES = 30.0


def rotated(
    images: UInt8[Tensor, "N channels height width"], *, degrees: float = DEGREES
) -> UInt8[Tensor, "N channels height width"]:
    """Images turned counter-clockwise, black where nothing was.

    Values between pixels are bilinear, and rounded.
    """
    height, width = images.shape[-2:]
    middle = torch.tensor([(height - 1) / 2, (width - 1) / 2])
    rows, columns = torch.meshgrid(
        torch.arange(height) - middle[0], torch.arange(width) - middle[1], indexing="ij"
    )
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    from_rows, from_columns = cos * rows + sin * columns, cos * columns - sin * rows
    half = middle.clamp_min(0.5)  # of an axis with one pixel, that is in the middle
    grid = torch.stack([from_columns / half[1], from_rows / half[0]], dim=-1)
    turned = F.grid_sample(images.float(), grid.expand(len(images), -1, -1, -1), align_corners=True)
    return turned.round().to(images.dtype)
