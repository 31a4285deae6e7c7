"""Images come from the disk one by one: drawn for training, their middles for evaluation."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from nn_graphs.datasets import data_root
from nn_graphs.datasets.folders import ImageFiles, read_image_folders
from nn_graphs.datasets.streamed import DEVIATION, MEAN, ImageStream, RandomCrops
from tests.datasets.image_folders import make_folders, pack


@pytest.fixture
def stream(tmp_path):
    make_folders(tmp_path / "pets")
    return ImageStream.open(tmp_path, "pets", side=7)


def pixels(item):
    """As they were in the file."""
    back = item[0].numpy().transpose(1, 2, 0) * DEVIATION + MEAN
    return back * 255


def test_evaluation_sees_the_middle(stream, tmp_path):
    assert (stream.whole_side, len(stream)) == (8, 8)
    whole = read_image_folders(tmp_path, "pets", side=8)
    for number in range(8):
        expected = whole.images[number][:7, :7]
        np.testing.assert_allclose(pixels(stream[number]), expected, atol=1e-3)
    assert [stream[number][1] for number in range(8)] == whole.labels.tolist()


def test_draws_depend_on_seed_epoch_and_image_alone(stream):
    first = stream[0, 5, 2][0]
    assert torch.equal(stream[0, 5, 2][0], first)
    others = [stream[place][0] for place in [(0, 5, 3), (0, 6, 2), (1, 5, 2)]]
    assert not any(torch.equal(other, first) for other in others)
    again = pickle.loads(pickle.dumps(stream))
    assert torch.equal(again[0, 5, 2][0], first)


def test_archives_are_read_like_folders(stream, tmp_path):
    packed = tmp_path / "packed"
    packed.mkdir()
    pack(tmp_path / "pets", packed / "pets.zip")
    again = ImageStream.open(packed, "pets", side=7)
    for place in (3, (3, 0, 1)):
        assert torch.equal(again[place][0], stream[place][0])


def test_boxes_lie_inside_and_have_the_areas_and_ratios_asked_for():
    crops, generator = RandomCrops(), np.random.default_rng(0)
    boxes = np.array([crops.box(300, 200, generator) for _ in range(2000)])
    left, top, right, bottom = boxes.T
    assert left.min() == top.min() == 0
    assert (right.max(), bottom.max()) == (300, 200)
    across, down = right - left, bottom - top
    areas, ratios = across * down / 60_000, across / down
    assert 0.078 < areas.min() < 0.1
    assert 0.8 < areas.max() <= 1
    assert 0.73 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.36
    assert abs(np.log(ratios).mean()) < 0.06  # wide ones fit more often


def test_where_no_crop_fits_the_largest_square_is_taken():
    crops = RandomCrops(min_area=1.0)
    assert crops.box(100, 10, np.random.default_rng(0)) == (45, 0, 55, 10)


def test_a_crop_without_chance_is_the_image():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    crops = RandomCrops(min_area=1.0, max_ratio=1.0, has_flips=False, colour_jitter=0.0)
    found = crops(image, 6, np.random.default_rng(1))
    np.testing.assert_allclose(pixels([torch.from_numpy(found)]), np.asarray(image), atol=1e-3)


def test_half_of_the_crops_are_reflected_and_colours_move():
    left = np.zeros((6, 6, 3), np.uint8)
    left[:, :3] = 255
    crops = RandomCrops(min_area=1.0, max_ratio=1.0)
    generator = np.random.default_rng(0)
    found = [crops(Image.fromarray(left), 6, generator) for _ in range(400)]
    is_reflected = np.array([one[0, 0, 0] < one[0, 0, 5] for one in found])
    assert 150 < is_reflected.sum() < 250
    moved = np.array([one.mean((1, 2)) for one in found]) * DEVIATION  # of [0, 1]
    deviation = moved.std(0)
    assert ((deviation > 0.01) & (deviation < 0.015)).all()  # 0.1 of the pixels' 0.125 or so


def test_what_is_no_image_is_named(stream, tmp_path, raises_saying):
    (tmp_path / "pets" / "train" / "a" / "1.png").write_text("none")
    with raises_saying(asked="1.png", found="no image", do="delete"):
        stream[1]


@pytest.mark.data
def test_twenty_classes_of_tiny_imagenet():
    stream = ImageStream.open(data_root(), "tiny_imagenet_20", side=56)
    assert (len(stream), stream.files.num_train, stream.whole_side) == (11_000, 10_000, 64)
    inputs = torch.stack([stream[number, 0, 0][0] for number in range(0, 10_000, 50)])
    assert inputs.shape == (200, 3, 56, 56)
    assert inputs.mean().abs() < 0.2  # normalised by ImageNet's statistics
    assert 0.8 < inputs.std() < 1.25
    assert len(ImageFiles.find(data_root(), "tiny_imagenet_20").class_names) == 20
