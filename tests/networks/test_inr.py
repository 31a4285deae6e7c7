"""INR presets: exactly the published conventions, and initial values that depend on a number."""

import math

import pytest
import torch

from nn_graphs.networks.activations import Activation
from nn_graphs.networks.inr import INITIAL_BLOCK, PRESETS, inr_preset

HIDDEN = {fan_in: math.sqrt(6 / fan_in) / 30 for fan_in in (2, 32)}
TORCH = {fan_in: 1 / math.sqrt(fan_in) for fan_in in (2, 32)}
BOUNDS = {  # of U(-bound, bound), per tensor of (2, 32, 32, 1); a bound of 0: exactly zero
    "siren": {
        "layers.0.weight": 1 / 2,
        "layers.0.bias": TORCH[2],
        "layers.1.weight": HIDDEN[32],
        "layers.1.bias": TORCH[32],
        "layers.2.weight": HIDDEN[32],
        "layers.2.bias": TORCH[32],
    },
    "dws": {
        "layers.0.weight": HIDDEN[2],
        "layers.0.bias": 0.0,
        "layers.1.weight": HIDDEN[32],
        "layers.1.bias": 0.0,
        "layers.2.weight": TORCH[32],
        "layers.2.bias": TORCH[32],
    },
}
BOUNDS["nfn"] = BOUNDS["siren"]


def initial(name: str, start: int, stop: int, *, seed: int = 0) -> torch.Tensor:
    preset = inr_preset(name)
    spec = preset.make_spec((2, 32, 32, 1))
    return preset.initial_params(spec, start=start, stop=stop, seed=seed)


def test_every_preset_is_tested():
    assert set(PRESETS) == set(BOUNDS)
    assert all(preset.name == name for name, preset in PRESETS.items())


@pytest.mark.parametrize("name", PRESETS)
def test_initial_values_are_uniform_within_the_published_bounds(name):
    params = initial(name, 0, 2048)
    tensors = inr_preset(name).make_spec((2, 32, 32, 1)).parameters.unflatten(params)
    assert list(tensors) == list(BOUNDS[name])
    for slot, bound in BOUNDS[name].items():
        values = tensors[slot]
        assert values.abs().max() <= bound
        if bound:  # 2,048 draws or more: the extremes and the spread show the bound
            assert values.max() > 0.99 * bound
            assert values.min() < -0.99 * bound
            assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
            assert abs(values.mean().item()) < 0.05 * bound


def test_dws_starts_at_the_spread_that_its_published_last_layer_still_shows():
    # Published after fitting: weights 0.118, biases 0.100 (neural-graphs, inr_classification).
    params = initial("dws", 0, 2048)
    tensors = inr_preset("dws").make_spec((2, 32, 32, 1)).parameters.unflatten(params)
    assert tensors["layers.2.weight"].std().item() == pytest.approx(0.102, rel=0.02)
    assert tensors["layers.2.bias"].std().item() == pytest.approx(0.102, rel=0.05)


@pytest.mark.parametrize(
    ("name", "offset", "order", "target_range"),
    [
        ("dws", 0.5, "xy", (0.0, 1.0)),
        ("nfn", 0.0, "ij", (-1.0, 1.0)),
        ("siren", 0.0, "ij", (-1.0, 1.0)),
    ],
)
def test_conventions_differ_exactly_as_published(name, offset, order, target_range):
    preset = inr_preset(name)
    sine, *rest = (layer.activation for layer in preset.make_spec((2, 32, 32, 3)).layers)
    assert [sine, *rest] == [Activation("sine", 30.0), Activation("sine", 30.0), Activation()]
    assert [layer.offset for layer in preset.make_spec((2, 8, 3)).layers] == [0.0, offset]
    assert (preset.coordinate_order, preset.target_range) == (order, target_range)


@pytest.mark.parametrize(("name", "column_place"), [("dws", 0), ("nfn", 1), ("siren", 1)])
def test_coordinates_are_row_major_in_the_order_of_the_preset(name, column_place):
    coordinates = inr_preset(name).coordinates(3, 5)
    columns, rows = coordinates[:, column_place], coordinates[:, 1 - column_place]
    assert columns.reshape(3, 5).tolist() == [[-1.0, -0.5, 0.0, 0.5, 1.0]] * 3
    assert rows.reshape(3, 5).tolist() == [[-1.0] * 5, [0.0] * 5, [1.0] * 5]


@pytest.mark.parametrize("name", PRESETS)
def test_pixels_to_targets_and_back(name):
    preset, pixels = inr_preset(name), torch.tensor([0.0, 0.25, 1.0])
    low, high = preset.target_range
    assert preset.to_targets(pixels).tolist() == [low, low + 0.25 * (high - low), high]
    assert torch.equal(preset.to_pixels(preset.to_targets(pixels)), pixels)


@pytest.mark.parametrize("name", PRESETS)
def test_rendering_is_each_module_at_each_pixel(name):
    preset = inr_preset(name)
    spec = preset.make_spec((2, 4, 3))
    params = preset.initial_params(spec, start=0, stop=2, seed=0)
    images = preset.render(spec, params, height=3, width=5)
    assert images.shape == (2, 3, 5, 3)
    points = preset.coordinates(3, 5).reshape(3, 5, 2)
    for image, row in zip(images, params, strict=True):
        module = spec.make_module()
        module.load_state_dict(spec.parameters.unflatten(row))
        torch.testing.assert_close(image[1, 4], preset.to_pixels(module(points[1, 4])))
        torch.testing.assert_close(image[2, 0], preset.to_pixels(module(points[2, 0])))


@pytest.mark.parametrize("name", PRESETS)
def test_psnr_is_measured_in_pixels_whatever_the_range(name):
    preset = inr_preset(name)
    low, high = preset.target_range
    error = 0.1 * (high - low)  # a tenth of white: 20 dB
    assert preset.psnr(torch.tensor(error**2)).item() == pytest.approx(20.0)
    assert preset.mse_at(20.0) == pytest.approx(error**2)
    assert preset.psnr(torch.tensor(preset.mse_at(37.5))).item() == pytest.approx(37.5)


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 1),
        (5, 17),
        (INITIAL_BLOCK - 1, INITIAL_BLOCK + 1),
        (INITIAL_BLOCK, INITIAL_BLOCK + 3),
        (INITIAL_BLOCK - 3, INITIAL_BLOCK),
        (INITIAL_BLOCK - 1, 2 * INITIAL_BLOCK + 2),
    ],
)
def test_initial_values_depend_on_the_network_not_on_the_range(start, stop):
    every = initial("dws", 0, 3 * INITIAL_BLOCK)
    assert torch.equal(initial("dws", start, stop), every[start:stop])


def test_every_network_and_every_seed_starts_elsewhere():
    params = torch.cat([initial("siren", 0, INITIAL_BLOCK + 50, seed=seed) for seed in range(3)])
    assert len(params[:, :4].unique(dim=0)) == len(params)
    assert torch.equal(initial("siren", 7, 9, seed=2), initial("siren", 7, 9, seed=2))


def test_drawing_leaves_the_global_stream_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    initial("dws", 0, 1)
    assert torch.equal(torch.rand(2), expected)


def test_unknown_preset(raises_saying):
    with raises_saying(asked="INR preset 'wire'", found="no 'wire'", do="siren, nfn, dws"):
        inr_preset("wire")
