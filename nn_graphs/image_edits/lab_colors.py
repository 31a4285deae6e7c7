"""Colours of 8 bits from sRGB to CIE L*a*b* and back, in OpenCV's fixed-point numbers.

Rounding is part of the definition: adaptive equalization of L makes a difference of one level to
several, so that floating-point colours lead to other targets. Tables hold what would be powers.
"""

from functools import cache

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
FROM_XYZ = (
    (3.240479, -1.53715, -0.498535),
    (-0.969256, 1.875991, 0.041556),
    (0.055648, -0.204043, 1.057311),
)
WHITE = (0.950456, 1.0, 1.088754)
LINEAR = 255 * 8  # the value of linear light that is white
MATRIX = 1 << 12  # one, in the matrices
ROOT = 1 << 15  # one, of roots on the way to Lab
BASE = 1 << 14  # one, of light on the way back
LIGHT = 1 << 12  # one, of light that becomes a level
L_SCALE, L_SHIFT = (116 * 255 + 50) // 100, (16 * 255 * ROOT + 50) // 100
NUM_ROOTS = 3 * 1024


def to_lab(
    images: UInt8[Tensor, "N 3 height width"],
) -> tuple[UInt8[Tensor, "N height width"], Int64[Tensor, "N 2 height width"]]:
    """L in 0 to 255, and a and b, moved by 128, of red, green and blue."""
    light, root, matrix = _tables_to_lab()
    xyz = torch.einsum("kc,nchw->knhw", matrix, light[images.long()])
    x, y, z = root[_rounded_shift(xyz, 12)]
    lightness = _rounded_shift(L_SCALE * y - L_SHIFT, 15)
    a = _rounded_shift(500 * (x - y) + 128 * ROOT, 15)
    b = _rounded_shift(200 * (y - z) + 128 * ROOT, 15)
    colors = torch.stack([a, b], dim=1).clamp(0, 255)
    return lightness.clamp(0, 255).to(torch.uint8), colors


def from_lab(
    lightness: UInt8[Tensor, "N height width"], colors: Int64[Tensor, "N 2 height width"]
) -> UInt8[Tensor, "N 3 height width"]:
    """The inverse of `to_lab`, but for rounding."""
    light, root, matrix, level = _tables_from_lab()
    y, root_y = light[lightness.long()], root[lightness.long()]
    a, b = colors.unbind(1)
    x = _cubed(root_y + ((5 * 53687 * a + 128) >> 13) - 128 * BASE // 500)
    z = _cubed(root_y - ((41943 * b + 16) >> 9) + 128 * BASE // 200 - 1)
    rgb = torch.einsum("ck,nkhw->nchw", matrix, torch.stack([x, y, z], dim=1))
    return level[_rounded_shift(rgb, 14).clamp(0, LIGHT - 1)].to(torch.uint8)


def _rounded_shift(values: Int64[Tensor, "..."], bits: int) -> Int64[Tensor, "..."]:
    return (values + (1 << (bits - 1))) >> bits


def _cubed(root: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """Light of its root; whole numbers are divided towards zero."""
    dark = torch.div(root * 108, 841, rounding_mode="trunc") - 16 * BASE // 116 * 108 // 841
    bright = torch.div(
        torch.div(root * root, BASE, rounding_mode="trunc") * root, BASE, rounding_mode="trunc"
    )
    return torch.where(root <= 6 * BASE // 29, dark, bright)


@cache
def _tables_to_lab() -> tuple[Tensor, Tensor, Tensor]:
    """Linear light of each level, roots of light, and the matrix between."""
    level = torch.arange(256, dtype=torch.float64) / 255
    linear = torch.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    light = torch.arange(NUM_ROOTS, dtype=torch.float64) / LINEAR
    is_dark = light < 216 / 24389
    root = torch.where(is_dark, light * 841 / 108 + 16 / 116, light ** (1 / 3))
    matrix = torch.tensor(TO_XYZ, dtype=torch.float64)
    matrix = matrix / torch.tensor(WHITE, dtype=torch.float64)[:, None]
    return _whole(linear * LINEAR), _whole(root * ROOT), _whole(matrix * MATRIX)


@cache
def _tables_from_lab() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Light and its root for each L, the matrix to red, green and blue, and levels of light."""
    lightness = torch.arange(256, dtype=torch.float64)
    is_dark = lightness <= 20
    bright_root = lightness * 100 * BASE / (255 * 116) + 16 * BASE / 116
    dark_root = BASE * (16 / 116 + lightness * 5 / (3 * 17 * 29))
    root = torch.where(is_dark, dark_root, bright_root)
    dark_light = lightness * 180 * BASE / (17 * 29**3)
    light = torch.where(is_dark, dark_light, bright_root**3 / BASE**2)
    matrix = torch.tensor(FROM_XYZ, dtype=torch.float64)
    matrix = matrix * torch.tensor(WHITE, dtype=torch.float64)
    linear = torch.arange(LIGHT, dtype=torch.float64) / LIGHT
    bright = 1.055 * linear ** (1 / 2.4) - 0.055
    level = torch.where(linear <= 0.0031308, linear * 12.92, bright)
    return _whole(light), _whole(root), _whole(matrix * MATRIX), _whole(level * 255)


def _whole(values: Tensor) -> Int64[Tensor, "..."]:
    return values.round().long()
