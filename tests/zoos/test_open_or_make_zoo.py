"""One way to the zoo of a recipe: of INRs, of CNNs, and of a user's own."""

from dataclasses import asdict, dataclass, replace

import pandas as pd
import pytest
import torch

from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from nn_graphs.zoos.makers import inr_zoos, stacked_zoos
from nn_graphs.zoos.makers.inr_zoos import INRRecipe
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.small_cnns import SmallCNNRecipe
from nn_graphs.zoos.makers.wild_cnns import WildCNNRecipe
from nn_graphs.zoos.recipes import ZooRecipe, open_or_make_zoo, save_made_zoo
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


def zoo_of(**metadata) -> Zoo:
    spec = NetworkSpec(2, (LayerSpec(1),))
    table = pd.DataFrame({"label": [0]})
    return Zoo.single(spec, torch.zeros(1, 3), table, metadata)


def test_a_file_made_earlier_still_opens(tmp_path, raises_saying):
    zoo_of(recipe=KEPT).save(tmp_path / "zoo.h5")
    assert len(open_or_make_zoo(INRS, tmp_path / "zoo.h5")) == 1
    with raises_saying(asked="for this recipe", found="(seed was 0, now 1)", do="another path"):
        open_or_make_zoo(replace(INRS, seed=1), tmp_path / "zoo.h5")
    with raises_saying(asked="for this recipe", found="preset was 'dws', now None", do="path"):
        open_or_make_zoo(SMALL, tmp_path / "zoo.h5")


@pytest.mark.parametrize("recipe", [INRS, SMALL, WILD], ids=["inr", "small", "wild"])
def test_what_is_missing_is_made(tmp_path, monkeypatch, recipe):
    made = []

    def maker(name):
        def make(recipe, path, **options):
            made.append((name, recipe, path, options))
            return save_made_zoo(zoo_of(maker=name), recipe, path)

        return make

    monkeypatch.setattr(inr_zoos, "make_inr_zoo", maker("make_inr_zoo"))
    monkeypatch.setattr(stacked_zoos, "make_stacked_zoo", maker("make_stacked_zoo"))
    zoo = open_or_make_zoo(recipe, str(tmp_path / "zoo.h5"), data_root=tmp_path)
    name = "make_inr_zoo" if recipe is INRS else "make_stacked_zoo"
    options = {"data_root": tmp_path, "device": "cpu"}
    assert made == [(name, recipe, tmp_path / "zoo.h5", options)]
    assert zoo.metadata["maker"] == name
    assert zoo.metadata["kind"] == type(recipe).__name__
    open_or_make_zoo(recipe, tmp_path / "zoo.h5")
    assert len(made) == 1  # the second time it is opened


@dataclass(frozen=True)
class NoiseRecipe:
    """A recipe of a user's own: nothing of ours knows it."""

    widths: tuple[int, ...] = (2, 4, 1)
    num_networks: int = 3
    seed: int = 0

    def make(self, path, *, data_root=None, device="cpu") -> Zoo:
        generator = torch.Generator().manual_seed(self.seed)
        spec = NetworkSpec.mlp(self.widths, activation="relu")
        params = torch.randn(self.num_networks, spec.num_params, generator=generator)
        table = pd.DataFrame({"label": range(self.num_networks)})
        return save_made_zoo(Zoo.single(spec, params, table, {"by": "me"}), self, path)


def test_a_recipe_of_ones_own(tmp_path, raises_saying):
    path = tmp_path / "noise.h5"
    zoo = open_or_make_zoo(NoiseRecipe(), path)
    again = open_or_make_zoo(NoiseRecipe(), path)
    assert torch.equal(zoo.params[0], again.params[0])
    assert again.metadata == {
        "by": "me",
        "kind": "NoiseRecipe",
        "recipe": {**asdict(NoiseRecipe()), "widths": [2, 4, 1]},
    }
    with raises_saying(asked="for this recipe", found="(seed was 0, now 1)", do="another path"):
        open_or_make_zoo(NoiseRecipe(seed=1), path)


@pytest.mark.parametrize("recipe", [INRS, SMALL, WILD, NoiseRecipe()], ids=lambda one: str(one)[:5])
def test_they_are_recipes(recipe):
    assert isinstance(recipe, ZooRecipe)


@dataclass(frozen=True)
class Forgetful:
    """A recipe that saves its zoo without itself, or not at all."""

    saves: bool

    def make(self, path, *, data_root=None, device="cpu") -> Zoo:
        zoo = zoo_of()
        if self.saves:
            zoo.save(path)
        return zoo


@pytest.mark.parametrize(("saves", "found"), [(True, "holds no recipe"), (False, "not written")])
def test_a_recipe_that_does_not_keep_itself_is_told_so_at_once(
    tmp_path, raises_saying, saves, found
):
    with raises_saying(asked="made", found=found, do="save_made_zoo"):
        open_or_make_zoo(Forgetful(saves), tmp_path / "zoo.h5")
