"""Who sees what: subsets, orders, augmentations, and the draws that they come from."""

import numpy as np
import pytest
import torch

from nn_graphs.datasets import ImageDataset, TableDataset, load_images
from nn_graphs.networks.classifiers.data import (
    ImageAugmentation,
    LabelledData,
    Orders,
    network_keys,
)
from nn_graphs.networks.classifiers.draws import joined, uniforms

CPU = torch.device("cpu")


def test_an_epoch_shows_each_input_of_the_subset_once():
    orders = Orders(24, fractions=[0.5, 1.0], seeds=[3, 4], batch_size=4)
    seen = orders.membership()
    assert seen.sum(1).tolist() == [12, 24]
    assert orders.num_steps == [3, 6]
    first, again, second = orders.epoch(0), orders.epoch(0), orders.epoch(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    for network, steps in enumerate(orders.num_steps):
        shown = first[:steps, network].flatten().sort().values
        assert torch.equal(shown, seen[network].nonzero()[:, 0])


def test_equal_seeds_share_their_order():
    shared = Orders(24, fractions=[1.0] * 3, seeds=[3] * 3, batch_size=4)
    assert shared.is_shared
    assert shared.epoch(0).shape == (6, 1, 4)
    own = Orders(24, fractions=[1.0] * 2, seeds=[3, 4], batch_size=4)
    assert torch.equal(own.epoch(2)[:, 0], shared.epoch(2)[:, 0])


def test_uniforms_are_uniform_and_depend_on_their_key_alone():
    keys = network_keys([0, 1, 2], CPU)
    draws = uniforms(keys, (10_000,))
    assert draws.min() >= 0
    assert draws.max() < 1
    np.testing.assert_allclose(draws.mean(1), 0.5, atol=0.02)
    np.testing.assert_allclose(draws.var(1), 1 / 12, atol=0.01)
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.05
    assert torch.equal(uniforms(keys[1:2], (10_000,))[0], draws[1])
    assert not torch.equal(uniforms(joined(keys, 1), (10_000,)), draws)


def test_crops_and_flips_are_parts_of_the_padded_image():
    image = torch.arange(1.0, 17).reshape(1, 1, 1, 4, 4)
    images = image.expand(2, 50, 1, 4, 4)
    augmentation = ImageAugmentation(padding=1, has_flips=True)
    found = augmentation(images, network_keys([0, 1], CPU))
    padded = torch.nn.functional.pad(image[0, 0, 0], [1] * 4)
    crops = [padded[r : r + 4, c : c + 4] for r in range(3) for c in range(3)]
    possible = [*crops, *(crop.flip(1) for crop in crops)]
    kinds = {
        next(i for i, one in enumerate(possible) if torch.equal(one, crop))
        for crop in found.reshape(-1, 4, 4)
    }
    assert len(kinds) > 12
    assert not torch.equal(found[0], found[1])


def test_images_are_normalised_by_the_training_images(raises_saying):
    data = LabelledData.from_dataset(load_images("digits"), num_train=500, num_test=60)
    inputs = data.take(torch.arange(500))
    assert inputs.shape == (500, 1, 8, 8)
    assert inputs.mean().item() == pytest.approx(0, abs=1e-4)
    assert inputs.std().item() == pytest.approx(1, abs=1e-3)
    assert (data.num_train, data.num_test) == (500, 60)
    with raises_saying(asked="9999 training", found="1437", do="fewer"):
        LabelledData.from_dataset(load_images("digits"), num_train=9999)


def make_table(labels: np.ndarray, **options) -> TableDataset:
    features = np.stack([np.arange(10.0) ** 2, np.full(10, 3.0)], 1)
    return TableDataset("tiny", features.astype(np.float32), labels, 6, ("a", "b"), **options)


def test_tables_are_standardised_by_the_training_rows():
    table = make_table(np.linspace(1, 4, 10))
    data = LabelledData.from_dataset(table, dtype=torch.float64)
    seen = table.features[:6, 0].astype(np.float64)
    values = data.take(torch.arange(10)).numpy()
    np.testing.assert_allclose(values[:, 0], (table.features[:, 0] - seen.mean()) / seen.std())
    assert (values[:, 1] == 0).all()  # a feature that is the same everywhere
    labels = table.labels[:6]
    expected = (table.labels - labels.mean()) / labels.std()
    np.testing.assert_allclose(data.labels.numpy(), expected)
    assert (data.num_train, data.num_test, data.is_regression) == (6, 4, True)


def test_classes_of_tables_stay_as_they_are():
    table = make_table(np.arange(10) % 3, class_names=("x", "y", "z"))
    data = LabelledData.from_dataset(table, num_train=4, num_test=2)
    assert data.labels.tolist() == [0, 1, 2, 0, 0, 1]
    assert not data.is_regression


@pytest.mark.parametrize(("part", "what"), [(slice(6), "training"), (slice(6, 10), "test")])
def test_equal_numbers_cannot_be_learned(raises_saying, part, what):
    labels = np.linspace(1, 4, 10)
    labels[part] = 2.5
    with raises_saying(
        asked="numbers of tiny", found=f"{what} inputs have the number 2.5", do="more"
    ):
        LabelledData.from_dataset(make_table(labels))


def test_images_as_vectors():
    for images in (load_images("digits"), colours()):
        data = LabelledData.from_dataset(images)
        flat, places = data.flattened(), torch.arange(5)
        assert torch.equal(flat.take(places), data.take(places).flatten(1))


def colours() -> ImageDataset:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 5, 3), dtype=np.uint8)
    return ImageDataset("noise", pixels, np.arange(8) % 2, 6, 255, ("a", "b"))


def test_training_inputs_are_kept_back_for_choosing(raises_saying):
    inputs = torch.arange(10.0)[:, None]
    data = LabelledData(inputs, torch.arange(10), 7, torch.tensor(1.0), torch.tensor(2.0))
    choosing, testing = data.split_validation(2)
    assert (choosing.num_train, choosing.num_test) == (5, 2)
    assert (testing.num_train, testing.num_test) == (5, 3)
    assert choosing.labels.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert testing.labels.tolist() == [0, 1, 2, 3, 4, 7, 8, 9]
    for part in (choosing, testing):
        assert torch.equal(part.take(torch.arange(5)), data.take(torch.arange(5)))
    for wrong in (0, 7):
        with raises_saying(asked=f"by {wrong} inputs", found="7 for training", do="some are left"):
            data.split_validation(wrong)
