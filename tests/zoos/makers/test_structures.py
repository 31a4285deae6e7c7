"""Architectures by name, for tables and images."""

import pytest

from nn_graphs.datasets import load_dataset
from nn_graphs.zoos.makers.structures import CNNStructures, EqualMLPStructures, MLPStructures

DIGITS, MOONS = load_dataset("digits"), load_dataset("moons")


def test_mlps_read_all_values_of_an_input():
    structures = MLPStructures({"narrow": (8,), "deep": [4, 4, 4], "linear": ()}, "tanh")
    layouts = {name: spec.layer_layout for name, spec in structures.specs(DIGITS).items()}
    assert layouts == {"narrow": (64, 8, 10), "deep": (64, 4, 4, 4, 10), "linear": (64, 10)}
    spec = structures.specs(MOONS)["narrow"]
    assert spec.layer_layout == (2, 8, 2)
    assert str(spec.layers[0].activation) == "tanh"


@pytest.mark.parametrize("num_params", [3000, 3500, 5000, 20_000])
@pytest.mark.parametrize("dataset", [DIGITS, MOONS], ids=lambda one: one.name)
def test_deeper_and_wider_mlps_have_equal_numbers_of_parameters(dataset, num_params):
    specs = EqualMLPStructures(num_params).specs(dataset)
    counts = {spec.num_params for spec in specs.values()}
    assert min(counts) >= 0.99 * num_params
    assert max(counts) <= 1.01 * num_params
    hidden = {name: spec.layer_layout[1:-1] for name, spec in specs.items()}
    assert {name: len(widths) for name, widths in hidden.items()} == {
        "regular": 2,
        "deeper": 4,
        "wider": 1,
    }
    assert max(hidden["deeper"]) < min(hidden["regular"]) < min(hidden["wider"])
    for widths in hidden.values():
        assert max(widths) - min(widths) <= 1


def test_depths_that_cannot_have_so_many_parameters(raises_saying):
    with raises_saying(asked="'wider' with 1 hidden", found="64-1-10, has 85", do="num_params=85"):
        EqualMLPStructures(100, {"wider": 1}).specs(DIGITS)
    assert EqualMLPStructures(85, {"wider": 1}).specs(DIGITS)["wider"].num_params == 85
    with raises_saying(asked="'flat' with 0 hidden", found="64-10, has 650", do="another depth"):
        EqualMLPStructures(3000, {"flat": 0}).specs(DIGITS)


def test_cnns_are_for_images(raises_saying):
    structures = CNNStructures({"a": (4, 8), "b": [6]}, kernel_size=5, stride=1, padding=2)
    specs = structures.specs(DIGITS)
    assert {name: spec.layer_layout for name, spec in specs.items()} == {
        "a": (1, 4, 8, 10),
        "b": (1, 6, 10),
    }
    conv = specs["a"].layers[0].conv
    assert (conv.kernel_size, conv.stride, conv.padding) == ((5, 5), (1, 1), (2, 2))
    with raises_saying(asked="inputs of moons", found="[2], no images", do="MLPStructures"):
        structures.specs(MOONS)
