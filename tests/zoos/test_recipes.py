"""A zoo is opened for the recipe that made it, whenever that was, and for no other."""

import pandas as pd
import pytest
import torch

from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from nn_graphs.zoos.recipes import open_zoo_made_by
from nn_graphs.zoos.zoo import Zoo

RECIPE = {"dataset": "digits", "widths": (8, 8), "seed": 0, "options": {"shares": (0.1, 0.5)}}


@pytest.fixture
def save(tmp_path):
    """Saves a zoo of one network with these metadata."""
    spec = NetworkSpec(2, (LayerSpec(1),))

    def saved(**metadata):
        table = pd.DataFrame({"label": [0]})
        zoo = Zoo.single(spec, torch.zeros(1, spec.num_params), table, metadata)
        return zoo.save(tmp_path / "zoo.h5")

    return saved


def test_the_recipe_that_made_it(save):
    assert len(open_zoo_made_by(RECIPE, save(recipe=RECIPE))) == 1


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"seed": 1}, "(seed was 0, now 1)"),
        ({"widths": (8,), "seed": 2}, "(seed was 0, now 2, widths was [8, 8], now [8])"),
        ({"new": 3}, "(new was None, now 3)"),
    ],
)
def test_another_recipe(save, raises_saying, change, found):
    path = save(recipe=RECIPE)
    with raises_saying(asked=f"use {path}", found=found, do="delete the file"):
        open_zoo_made_by({**RECIPE, **change}, path)


def test_a_zoo_that_no_recipe_made(save, raises_saying):
    with raises_saying(asked="for this recipe", found="dataset was None", do="another path"):
        open_zoo_made_by(RECIPE, save())


def test_a_new_option_that_is_off_changes_nothing(save):
    assert len(open_zoo_made_by({**RECIPE, "new": None}, save(recipe=RECIPE))) == 1
