"""More contrast: the lightness of colour images equalized (Zhou et al., NeurIPS 2023).

CLAHE with a clip limit of 1 and 3 x 3 tiles, on L of L*a*b*. The published code takes red for blue
and blue for red on the way to Lab and back; `contrast` does as well, for its targets are what
results are compared on, and `contrast_in_order` does not.
"""

from jaxtyping import UInt8
from torch import Tensor

from nn_graphs.image_edits.clahe import equalized
from nn_graphs.image_edits.lab_colors import from_lab, to_lab

CLIP_LIMIT, NUM_TILES = 1.0, 3


def contrast(images: UInt8[Tensor, "N 3 height width"]) -> UInt8[Tensor, "N 3 height width"]:
    """Images with more contrast, as published."""
    return contrast_in_order(images.flip(1)).flip(1)


def contrast_in_order(
    images: UInt8[Tensor, "N 3 height width"],
) -> UInt8[Tensor, "N 3 height width"]:
    """Images with more contrast, of channels that are red, green and blue."""
    lightness, colors = to_lab(images)
    return from_lab(equalized(lightness, clip_limit=CLIP_LIMIT, num_tiles=NUM_TILES), colors)
