"""Edits by name: of whole data sets, in their levels, each image by itself."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from nn_graphs.datasets import ImageDataset, load_images
from nn_graphs.image_edits import EDITS, edited_images
from nn_graphs.image_edits import edits as edits_module
from nn_graphs.image_edits.inpainting import inpainted, middle
from nn_graphs.image_edits.morphology import dilated, eroded
from nn_graphs.image_edits.rotation import rotated

DIGITS = load_images("digits")


def colored(count: int = 6) -> ImageDataset:
    images = np.random.default_rng(0).integers(0, 256, (count, 12, 16, 3), dtype=np.uint8)
    labels = np.zeros(count, dtype=np.int64)
    return ImageDataset("colored", images, labels, count, 255, ("one",))


def as_batch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.copy()).movedim(-1, 1)


@pytest.mark.parametrize("images", [DIGITS.images[:50], colored().images])
@pytest.mark.parametrize(
    ("ours", "plain"), [(dilated, ndimage.grey_dilation), (eroded, ndimage.grey_erosion)]
)
def test_morphology_is_that_of_scipy(images, ours, plain):
    found = ours(as_batch(images)).movedim(1, -1).numpy()
    assert np.array_equal(found, plain(images, size=(1, 3, 3, 1), mode="nearest"))


def test_a_dot_grows_and_vanishes():
    dot = torch.zeros(1, 1, 5, 6, dtype=torch.uint8)
    dot[0, 0, 0, 3] = 9
    assert dilated(dot)[0, 0].nonzero().tolist() == [[r, c] for r in (0, 1) for c in (2, 3, 4)]
    assert not eroded(dot).any()
    assert torch.equal(eroded(dilated(dot)), dot)


@pytest.mark.parametrize("degrees", [30.0, -75.0])
def test_rotation_is_that_of_scipy(degrees):
    images = colored().images
    plain = ndimage.rotate(
        images.astype(float), degrees, axes=(1, 2), reshape=False, order=1, mode="grid-constant"
    )
    found = rotated(as_batch(images), degrees=degrees).movedim(1, -1).numpy()
    assert np.abs(found - plain).max() < 0.51


def test_a_quarter_turn_moves_pixels():
    images = as_batch(DIGITS.images[:5])
    assert torch.equal(rotated(images, degrees=90.0), images.rot90(1, (2, 3)))
    assert torch.equal(rotated(images, degrees=0.0), images)


def test_what_is_filled_in_is_harmonic_and_the_rest_stays():
    images, is_hole = as_batch(colored().images), middle(12, 16)
    found = inpainted(images)
    assert torch.equal(found[..., ~is_hole], images[..., ~is_hole])
    exact = found.double()
    neighbours = exact.roll(1, 2) + exact.roll(-1, 2) + exact.roll(1, 3) + exact.roll(-1, 3)
    assert ((exact - neighbours / 4)[..., is_hole].abs() <= 1).all()  # both sides are rounded
    assert is_hole.sum() == 6 * 8


def test_what_was_in_the_middle_does_not_count():
    images, is_hole = as_batch(colored().images), middle(12, 16)
    others = images.clone()
    others[..., is_hole] = 255 - others[..., is_hole]
    assert torch.equal(inpainted(images), inpainted(others))


def test_a_plane_is_continued():
    plane = (torch.arange(12)[:, None] * 3 + torch.arange(16) * 2).to(torch.uint8)[None, None]
    assert torch.equal(inpainted(plane), plane)


@pytest.mark.parametrize("name", EDITS)
def test_images_are_edited_one_by_one_in_blocks(name, monkeypatch):
    images = colored()
    index = np.array([4, 0, 3, 4, 1])
    whole = edited_images(name, images, index)
    assert whole.shape == (5, 12, 16, 3)
    assert whole.dtype == torch.uint8
    assert whole.is_contiguous()
    assert torch.equal(whole[0], whole[3])
    assert not np.array_equal(whole.numpy(), images.images[index])
    monkeypatch.setattr(edits_module, "BLOCK", 2)
    assert torch.equal(edited_images(name, images, index), whole)


@pytest.mark.parametrize("name", [name for name in EDITS if not EDITS[name].is_of_colors])
def test_levels_stay_those_of_the_data_set(name):
    before = DIGITS.images.copy()
    found = edited_images(name, DIGITS, np.arange(40))
    assert found.shape == (40, 8, 8, 1)
    assert found.max() <= DIGITS.max_value
    assert np.array_equal(DIGITS.images, before)


@pytest.mark.parametrize("name", ["contrast", "contrast_in_order"])
def test_contrast_needs_colors(raises_saying, name):
    with raises_saying(asked=f"digits by {name!r}", found="1 channels of 17", do="dilation"):
        edited_images(name, DIGITS, np.arange(2))


def test_unknown_edit(raises_saying):
    with raises_saying(asked="by 'dilatation'", found="no 'dilatation'", do="dilation, erosion"):
        edited_images("dilatation", DIGITS, np.arange(2))


def test_too_small_to_inpaint(raises_saying):
    with raises_saying(asked="inpaint", found="3 x 8", do="4 x 4"):
        inpainted(torch.zeros(1, 1, 3, 8, dtype=torch.uint8))
