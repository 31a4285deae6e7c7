"""Dilation and erosion by a square of 3 x 3 pixels, once.

What OpenCV's `dilate` and `erode` with a kernel of ones do: pixels beyond the border never win.
Dilation of MNIST is the published edit of Neural Graphs (Kofinas et al., ICLR 2024).
"""

from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F


def dilated(
    images: UInt8[Tensor, "N channels height width"],
) -> UInt8[Tensor, "N channels height width"]:
    """Every pixel becomes the brightest of itself and its eight neighbours."""
    return _brightest(images.float()).to(images.dtype)


def eroded(
    images: UInt8[Tensor, "N channels height width"],
) -> UInt8[Tensor, "N channels height width"]:
    """Every pixel becomes the darkest of itself and its eight neighbours."""
    return (-_brightest(-images.float())).to(images.dtype)


def _brightest(images: Tensor) -> Tensor:
    return F.max_pool2d(images, 3, stride=1, padding=1)
