"""Contrast limited adaptive histogram equalization, as OpenCV computes it (Zuiderveld, 1994).

An image is cut into tiles; in each, gray levels are spread so that all are equally frequent, but no
level may count for more than a limit; between the middles of tiles, the maps of levels are mixed.
(`equalize_adapthist` of scikit-image differs by tens of levels.)
"""

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

NUM_LEVELS = 256


def equalized(
    planes: UInt8[Tensor, "N height width"], *, clip_limit: float, num_tiles: int
) -> UInt8[Tensor, "N height width"]:
    """Planes of 256 levels with their contrast equalized.

    Args:
        planes: gray images.
        clip_limit: how often a level may occur in a tile, in relation to the mean of all levels.
        num_tiles: along each axis. Where it does not divide an axis, planes are reflected at their
            end for the tiles, without the last pixel again.
    """
    height, width = planes.shape[-2:]
    padded = _reflected(planes, [-side % num_tiles for side in (height, width)])
    sides = [side // num_tiles for side in padded.shape[-2:]]
    tiles = padded.unflatten(2, (num_tiles, sides[1])).unflatten(1, (num_tiles, sides[0]))
    tiles = tiles.transpose(2, 3).flatten(3).flatten(1, 2)  # [N, tiles, pixels]
    maps = _level_maps(tiles, clip_limit)
    return _mixed(planes, maps, num_tiles=num_tiles, sides=sides)


def _reflected(planes: Tensor, more: list[int]) -> Tensor:
    padding = (0, more[1], 0, more[0])
    return F.pad(planes.float().unsqueeze(1), padding, mode="reflect").squeeze(1).to(planes.dtype)


def _level_maps(
    tiles: UInt8[Tensor, "N tiles pixels"], clip_limit: float
) -> Float32[Tensor, "N tiles levels"]:
    """What each gray level becomes in each tile."""
    num_pixels = tiles.shape[-1]
    counts = torch.zeros(*tiles.shape[:2], NUM_LEVELS, dtype=torch.int64)
    counts.scatter_add_(2, tiles.long(), torch.ones_like(tiles, dtype=torch.int64))
    limit = max(int(clip_limit * num_pixels / NUM_LEVELS), 1)
    excess = (counts - limit).clamp_min(0).sum(-1, keepdim=True)
    counts = counts.clamp_max(limit) + excess // NUM_LEVELS + _rest(excess % NUM_LEVELS)
    scale = torch.tensor((NUM_LEVELS - 1) / num_pixels, dtype=torch.float32)
    return (counts.cumsum(-1).float() * scale).round().clamp(0, NUM_LEVELS - 1)


def _rest(rest: Int64[Tensor, "N tiles 1"]) -> Int64[Tensor, "N tiles levels"]:
    """One more for `rest` levels, evenly from the darkest on."""
    step = (NUM_LEVELS // rest.clamp_min(1)).clamp_min(1)
    levels = torch.arange(NUM_LEVELS)
    return ((levels % step == 0) & (levels // step < rest)).long()


def _mixed(
    planes: UInt8[Tensor, "N height width"],
    maps: Float32[Tensor, "N tiles levels"],
    *,
    num_tiles: int,
    sides: list[int],
) -> UInt8[Tensor, "N height width"]:
    """Each pixel by the maps of the four tiles around it, bilinear in their middles."""
    (top, bottom, down), (left, right, along) = (
        _neighbours(size, side, num_tiles)
        for size, side in zip(planes.shape[-2:], sides, strict=True)
    )
    flat, levels = maps.flatten(1), planes.long()

    def mapped(rows: Tensor, columns: Tensor) -> Tensor:
        tile = rows[:, None] * num_tiles + columns
        places = (tile * NUM_LEVELS + levels).flatten(1)
        return flat.gather(1, places).view(planes.shape)

    down = down[:, None]
    upper = mapped(top, left) * (1 - along) + mapped(top, right) * along
    lower = mapped(bottom, left) * (1 - along) + mapped(bottom, right) * along
    mixed = upper * (1 - down) + lower * down
    return mixed.round().clamp(0, NUM_LEVELS - 1).to(planes.dtype)


def _neighbours(size: int, side: int, num_tiles: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each pixel of an axis, the tiles before and behind it, and the share of the second."""
    place = torch.arange(size, dtype=torch.float32) * (1 / torch.tensor(float(side))) - 0.5
    before = place.floor()
    share = place - before
    both = (before.long().clamp(0, num_tiles - 1), (before.long() + 1).clamp(0, num_tiles - 1))
    return *both, share
