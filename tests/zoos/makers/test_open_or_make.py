"""One way to the zoo of a recipe, of INRs and of CNNs."""

from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch

from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from nn_graphs.zoos.makers.inr_zoos import INRRecipe
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.open_or_make import open_or_make_zoo
from nn_graphs.zoos.makers.small_cnns import SmallCNNRecipe
from nn_graphs.zoos.makers.wild_cnns import WildCNNRecipe
from nn_graphs.zoos.zoo import Zoo

INRS = INRRecipe(num_train=3, num_val=1, num_test=1)
SMALL = SmallCNNRecipe(LabelledImages(num_train=40, num_test=10), num_runs=2)
WILD = WildCNNRecipe(LabelledImages(num_train=40, num_test=10), num_architectures=2)
# What the first zoo files hold.
KEPT = {
    "dataset": "digits",
    "preset": "dws",
    "hidden_widths": [32, 32],
    "num_steps": 1000,
    "learning_rate": 0.0005,
    "target_psnr": 40.0,
    "num_train": 3,
    "num_val": 1,
    "num_test": 1,
    "num_inits": 1,
    "seed": 0,
}


def zoo_of(recipe: dict) -> Zoo:
    spec = NetworkSpec(2, (LayerSpec(1),))
    table = pd.DataFrame({"label": [0]})
    return Zoo.single(spec, torch.zeros(1, 3), table, {"recipe": recipe})


def test_a_file_made_earlier_still_opens(tmp_path, raises_saying):
    zoo_of(KEPT).save(tmp_path / "zoo.h5")
    assert len(open_or_make_zoo(INRS, tmp_path / "zoo.h5")) == 1
    with raises_saying(asked="for this recipe", found="(seed was 0, now 1)", do="another path"):
        open_or_make_zoo(replace(INRS, seed=1), tmp_path / "zoo.h5")
    with raises_saying(asked="for this recipe", found="preset was 'dws', now None", do="path"):
        open_or_make_zoo(SMALL, tmp_path / "zoo.h5")


@pytest.mark.parametrize("recipe", [INRS, SMALL, WILD], ids=["inr", "small", "wild"])
def test_what_is_missing_is_made(tmp_path, monkeypatch, recipe):
    made = []

    def make(name, *args, **options):
        made.append((name, args, options))
        return zoo_of({})

    for name in ("make_inr_zoo", "make_cnn_zoo"):
        monkeypatch.setattr(opening, name, partial(make, name))
    open_or_make_zoo(recipe, str(tmp_path / "zoo.h5"), data_root=tmp_path)
    name = "make_inr_zoo" if recipe is INRS else "make_cnn_zoo"
    options = {"data_root": tmp_path, "device": "cpu"}
    assert made == [(name, (recipe, tmp_path / "zoo.h5"), options)]
