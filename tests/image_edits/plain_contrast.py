"""Contrast and colours once more, pixel by pixel in Python's numbers, as OpenCV's code goes."""

import numpy as np

BASE, ROOT = 16384, 32768


def equalized(plane: np.ndarray, *, clip_limit: float, num_tiles: int) -> np.ndarray:
    """CLAHE of one plane `[height, width]`."""
    height, width = plane.shape
    more = [(0, -side % num_tiles) for side in plane.shape]
    padded = np.pad(plane, more, mode="reflect")
    tile_height, tile_width = (side // num_tiles for side in padded.shape)
    area = tile_height * tile_width
    limit = max(int(clip_limit * area / 256), 1)
    luts = {}
    for row in range(num_tiles):
        for column in range(num_tiles):
            rows = slice(row * tile_height, (row + 1) * tile_height)
            columns = slice(column * tile_width, (column + 1) * tile_width)
            luts[row, column] = _lut(padded[rows, columns].ravel().tolist(), limit, area)
    found = np.zeros_like(plane)
    for y in range(height):
        for x in range(width):
            found[y, x] = _mix(luts, int(plane[y, x]), y, x, tile_height, tile_width, num_tiles)
    return found


def _lut(values: list[int], limit: int, area: int) -> list[np.float32]:
    histogram = [0] * 256
    for value in values:
        histogram[value] += 1
    clipped = 0
    for level in range(256):
        if histogram[level] > limit:
            clipped += histogram[level] - limit
            histogram[level] = limit
    batch, residual = divmod(clipped, 256)
    histogram = [count + batch for count in histogram]
    if residual:
        step, level = max(256 // residual, 1), 0
        while level < 256 and residual > 0:
            histogram[level] += 1
            level, residual = level + step, residual - 1
    scale, total, lut = np.float32(255 / area), 0, []
    for count in histogram:
        total += count
        lut.append(np.float32(min(max(np.rint(np.float32(total) * scale), 0), 255)))
    return lut


def _mix(luts, level, y, x, tile_height, tile_width, num_tiles) -> int:
    half, one = np.float32(0.5), np.float32(1)
    place_y = np.float32(y) * (one / np.float32(tile_height)) - half
    place_x = np.float32(x) * (one / np.float32(tile_width)) - half
    y1, x1 = int(np.floor(place_y)), int(np.floor(place_x))
    share_y, share_x = np.float32(place_y - y1), np.float32(place_x - x1)
    rows = [min(max(row, 0), num_tiles - 1) for row in (y1, y1 + 1)]
    columns = [min(max(column, 0), num_tiles - 1) for column in (x1, x1 + 1)]
    upper, lower = (
        luts[row, columns[0]][level] * (one - share_x) + luts[row, columns[1]][level] * share_x
        for row in rows
    )
    return int(min(max(np.rint(upper * (one - share_y) + lower * share_y), 0), 255))


def to_lab(red: int, green: int, blue: int) -> tuple[int, int, int]:
    """One colour to L, a, b in 0 to 255."""
    light = [round(2040 * _decoded(level / 255)) for level in (red, green, blue)]
    matrix = [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
    roots = []
    for row, white in zip(matrix, (0.950456, 1.0, 1.088754), strict=True):
        whole = [round(value / white * 4096) for value in row]
        value = sum(a * b for a, b in zip(whole, light, strict=True))
        roots.append(round(ROOT * _root(((value + 2048) >> 12) / 2040)))
    x, y, z = roots
    found = (
        (296 * y - 1336934 + 16384) >> 15,
        (500 * (x - y) + 128 * ROOT + 16384) >> 15,
        (200 * (y - z) + 128 * ROOT + 16384) >> 15,
    )
    return tuple(min(max(value, 0), 255) for value in found)


def from_lab(lightness: int, a: int, b: int) -> tuple[int, int, int]:
    """One colour back to red, green and blue."""
    if lightness <= 20:
        y = round(BASE * 20 * 9 * lightness / (17 * 29 * 29 * 29))
        root = round(BASE * (16 / 116 + lightness * 5 / (3 * 17 * 29)))
    else:
        exact = lightness * 100 * BASE / 255 / 116 + 16 * BASE / 116
        root, y = round(exact), round(exact**3 / BASE**2)
    x = _cube(root + ((5 * a * 53687 + 128) >> 13) - 128 * BASE // 500)
    z = _cube(root - (((b * 41943 + 16) >> 9) - 128 * BASE // 200 + 1))
    matrix = [
        [3.240479, -1.53715, -0.498535],
        [-0.969256, 1.875991, 0.041556],
        [0.055648, -0.204043, 1.057311],
    ]
    found = []
    for row in matrix:
        white = (0.950456, 1.0, 1.088754)
        whole = [round(value * part * 4096) for value, part in zip(row, white, strict=True)]
        value = (sum(p * q for p, q in zip(whole, (x, y, z), strict=True)) + 8192) >> 14
        value = min(max(value, 0), 4095) / 4096
        coded = 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
        found.append(round(255 * coded))
    return tuple(found)


def _decoded(level: float) -> float:
    return level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4


def _root(light: float) -> float:
    return light * 841 / 108 + 16 / 116 if light < 216 / 24389 else light ** (1 / 3)


def _cube(root: int) -> int:
    if root <= 6 * BASE // 29:
        return int(root * 108 / 841) - 290
    return int(int(root * root / BASE) * root / BASE)
