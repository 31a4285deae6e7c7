"""The zoo that a config names."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from support.checks import check_config
from support.launch import Run

from nn_graphs.by_name.configured_zoo import at_steps, open_configured_zoo
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.zoos.recipes import save_made_zoo
from nn_graphs.zoos.zoo import Zoo


@pytest.fixture
def zoo() -> Zoo:
    spec = small_cnn_zoo_spec()
    table = pd.DataFrame({"run": [0, 0, 1, 1], "step": [0, 86, 0, 86]})
    return Zoo.single(spec, torch.arange(4.0)[:, None].expand(4, spec.num_params), table)


def test_some_checkpoints_alone(zoo):
    last = at_steps(zoo, [86])
    assert last.table["run"].tolist() == [0, 1]
    np.testing.assert_array_equal(last.take([0, 1])[:, 0], [1.0, 3.0])
    assert len(at_steps(zoo, [0, 86])) == 4


def test_checkpoints_that_are_not_there(zoo, raises_saying):
    with raises_saying(asked="[80]", found="[0, 86]", do="zoo.steps"):
        at_steps(zoo, [80])


def test_epochs_of_trajectories(zoo, raises_saying):
    table = zoo.table.rename(columns={"step": "epoch"})
    trajectories = Zoo(zoo.specs, zoo.params, table, zoo.metadata)
    assert at_steps(trajectories, [86]).table["run"].tolist() == [0, 1]
    with raises_saying(asked="[80]", found="[0, 86] (epoch)", do="zoo.steps"):
        at_steps(trajectories, [80])


def test_zoos_that_do_not_tell_when(zoo, raises_saying):
    timeless = Zoo(zoo.specs, zoo.params, zoo.table.drop(columns="step"), zoo.metadata)
    with raises_saying(asked="[86]", found="run", do="zoo.steps"):
        at_steps(timeless, [86])


@dataclass(frozen=True)
class OwnRecipe:
    """A recipe in a file of one's own."""

    num_networks: int = 2

    def make(self, path, *, data_root=None, device="cpu") -> Zoo:
        spec = small_cnn_zoo_spec()
        table = pd.DataFrame({"step": [0] * self.num_networks})
        zoo = Zoo.single(spec, torch.zeros(self.num_networks, spec.num_params), table)
        return save_made_zoo(zoo, self, path)


def test_a_recipe_of_ones_own_is_named_by_its_path(tmp_path):
    recipe = {"_target_": f"{__name__}.OwnRecipe", "num_networks": 5}
    zoo = {"path": str(tmp_path / "own.h5"), "recipe": recipe}
    others = {"data_root": str(tmp_path), "num_train": None, "canonical": []}
    config = OmegaConf.create({**others, "zoo": zoo})
    assert check_config(config) == 1
    run = Run(config, tmp_path, command="", options="")
    assert len(open_configured_zoo(run.config)) == len(open_configured_zoo(run.config)) == 5
