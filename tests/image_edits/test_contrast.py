"""Contrast: equal to a plain twin, to known colours, and within rounding of the formulas."""

import numpy as np
import pytest
import torch

from nn_graphs.image_edits.clahe import equalized
from nn_graphs.image_edits.contrast import contrast, contrast_in_order
from nn_graphs.image_edits.lab_colors import from_lab, to_lab
from tests.image_edits import plain_contrast


def some_images(count: int, *shape: int, smooth: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape) + count)
    images = torch.rand(count, *shape, generator=generator)
    if smooth:
        images = images.cumsum(-1).cumsum(-2)
        images = images / images.amax((-2, -1), keepdim=True)
    return (images * 255).round().to(torch.uint8)


@pytest.mark.parametrize(
    ("clip_limit", "num_tiles", "shape"),
    [
        (1.0, 3, (32, 32)),
        (2.0, 4, (16, 16)),
        (4.0, 2, (9, 12)),
        (40.0, 3, (20, 17)),
        (1.0, 1, (8, 8)),
    ],
)
@pytest.mark.parametrize("smooth", [False, True])
def test_equalized_planes_are_those_of_the_plain_twin(clip_limit, num_tiles, shape, smooth):
    planes = some_images(3, *shape, smooth=smooth)
    found = equalized(planes, clip_limit=clip_limit, num_tiles=num_tiles)
    for plane, ours in zip(planes.numpy(), found.numpy(), strict=True):
        plain = plain_contrast.equalized(plane, clip_limit=clip_limit, num_tiles=num_tiles)
        assert np.array_equal(ours, plain)


def test_a_limit_keeps_flat_planes_from_being_spread():
    """By hand: 120 of 121 pixels are dealt out to every second level, 51 of them up to 100."""
    plane = torch.full((1, 32, 32), 100, dtype=torch.uint8)
    found = equalized(plane, clip_limit=1.0, num_tiles=3)
    assert (found == round((51 + 1) * 255 / 121)).all()


@pytest.mark.parametrize(
    ("color", "lab"),
    [
        ((255, 255, 255), (255, 128, 128)),
        ((0, 0, 0), (0, 128, 128)),
        ((255, 0, 0), (136, 208, 195)),
        ((0, 255, 0), (224, 42, 211)),
        ((0, 0, 255), (82, 207, 20)),
    ],
)
def test_colors_that_are_known_of_opencv(color, lab):
    image = torch.tensor(color, dtype=torch.uint8).view(1, 3, 1, 1)
    lightness, others = to_lab(image)
    assert (lightness.item(), *others.flatten().tolist()) == lab


def test_colors_are_those_of_the_plain_twin():
    images = some_images(1, 3, 24, 24)
    lightness, others = to_lab(images)
    found = torch.cat([lightness[:, None].long(), others], dim=1).flatten(2)[0].T.tolist()
    assert found == [list(plain_contrast.to_lab(*color)) for color in pixels_of(images)]
    everywhere = some_images(1, 3, 30, 30).flip(1)  # any L, a, b, of colours there are or not
    back = from_lab(everywhere[:, 0], everywhere[:, 1:].long())
    plain = [plain_contrast.from_lab(*color) for color in pixels_of(everywhere)]
    assert pixels_of(back) == [list(color) for color in plain]


def linear_light(images: torch.Tensor) -> torch.Tensor:
    level = images.double() / 255
    return torch.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


def test_lightness_is_that_of_the_formula_but_for_rounding():
    images = some_images(2, 3, 16, 16)
    weights = torch.tensor([0.212671, 0.715160, 0.072169], dtype=torch.float64)
    light = torch.einsum("c,nchw->nhw", weights, linear_light(images))
    is_bright = light > 0.05  # where a step of 1 / 2040 of light is a third of a level
    exact = (116 * light[is_bright] ** (1 / 3) - 16) * 2.55
    lightness, _ = to_lab(images)
    assert (lightness[is_bright].double() - exact).abs().max() < 1


def test_there_and_back_is_the_same_light_but_for_rounding():
    """Half a level of L and of a or b is at most 0.008 of X, Y or Z, and 0.045 of a colour."""
    images = some_images(2, 3, 16, 16)
    back = from_lab(*to_lab(images))
    difference = (linear_light(back) - linear_light(images)).abs()
    assert difference.max() < 0.045
    assert difference.mean() < 0.005


def test_contrast_is_of_the_lightness_alone():
    images = some_images(2, 3, 32, 32, smooth=True) // 4 + 96
    lightness, colors = to_lab(images)
    spread = equalized(lightness, clip_limit=1.0, num_tiles=3)
    assert torch.equal(contrast_in_order(images), from_lab(spread, colors))
    assert lightness.float().std() < spread.float().std()


def test_published_contrast_takes_red_for_blue():
    images = some_images(2, 3, 32, 32, smooth=True)
    swapped = images[:, [2, 1, 0]]
    assert torch.equal(contrast(images), contrast_in_order(swapped)[:, [2, 1, 0]])
    assert not torch.equal(contrast(images), contrast_in_order(images))


def test_contrast_is_that_of_opencv():
    cv2 = pytest.importorskip("cv2")
    images = some_images(20, 32, 32, 3).numpy()
    clahe = cv2.createCLAHE(clipLimit=1.0, tileGridSize=(3, 3))
    off = 0
    for image in images:
        lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
        lab[..., 0] = clahe.apply(lab[..., 0])
        target = torch.from_numpy(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)).movedim(-1, 0)
        ours = contrast(torch.from_numpy(image).movedim(-1, 0).unsqueeze(0))[0]
        off += (ours != target).sum().item()
    assert off <= 1e-3 * images.size


def pixels_of(images: torch.Tensor) -> list[list[int]]:
    """The colours of one image, `[1, 3, height, width]`."""
    return images.flatten(2)[0].T.tolist()
