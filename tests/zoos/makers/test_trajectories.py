"""Zoos of trajectories: a network per epoch, of classes and of numbers, of MLPs and CNNs."""

import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from nn_graphs.datasets import TableDataset
from nn_graphs.datasets.dataset_registry import TABLES
from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.tasks.generalization import Generalization
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.labelled_tables import LabelledTable
from nn_graphs.zoos.makers.stacked_zoos import make_stacked_zoo
from nn_graphs.zoos.makers.structures import CNNStructures, EqualMLPStructures, MLPStructures
from nn_graphs.zoos.makers.trajectories import TrajectoryRecipe
from nn_graphs.zoos.recipes import open_or_make_zoo
from nn_graphs.zoos.zoo import Zoo
from tests.zoos.makers.interruptions import (
    assert_equal,
    assert_goes_on_bit_for_bit,
    third_stack_interrupted,
)

pytestmark = pytest.mark.usefixtures("one_thread", "waves")

CLASSES = {"train_accuracy", "train_loss", "test_accuracy", "test_loss"}
NUMBERS = {"train_r2", "train_mse", "test_r2", "test_mse"}
OTHERS = {"run", "epoch", "split", "structure", "hidden", "num_params", "optimizer"}
OTHERS |= {"learning_rate", "weight_decay", "train_fraction", "has_diverged"}
OTHERS |= {"label", "spec", "row"}

MOONS = TrajectoryRecipe(
    LabelledTable("moons", num_train=96, num_test=40),
    MLPStructures({"regular": (6,), "deeper": (4, 4)}),
    num_runs=7,
    num_epochs=4,
    batch_size=16,
    test_share=0.3,
)
WAVES = replace(MOONS, data=LabelledTable("waves"), learning_rate=(1e-2, 2e-2))
IMAGES = LabelledImages(num_train=64, num_test=20, scale="standard")
CNNS = replace(MOONS, data=IMAGES, structures=CNNStructures({"small": (2, 3)}))
FLAT = replace(MOONS, data=IMAGES, structures=EqualMLPStructures(3010, {"a": 1, "b": 2}))
RECIPES = {"moons": MOONS, "waves": WAVES, "cnns": CNNS, "flat": FLAT}


def make_waves(targets=None) -> TableDataset:
    """A regression: the product of two sines of three features."""
    features = np.random.default_rng(0).normal(0, 2, (160, 3))
    targets = 7 + 3 * np.sin(features[:, 0]) * features[:, 1] if targets is None else targets
    return TableDataset.shuffled("waves", features, targets, feature_names=("a", "b", "c"))


@pytest.fixture(scope="module")
def waves():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TABLES, "waves", lambda root: make_waves())
        yield


def make(recipe: TrajectoryRecipe, path, **options) -> Zoo:
    options = {"chunk_size": 2, "num_workers": 1} | options
    return make_stacked_zoo(recipe, path, **options)


@pytest.fixture(scope="module")
def zoos(tmp_path_factory, waves) -> dict[str, Zoo]:
    folder = tmp_path_factory.mktemp("trajectories")
    torch.set_num_threads(1)
    return {name: make(recipe, folder / f"{name}.h5") for name, recipe in RECIPES.items()}


@pytest.mark.parametrize("kind", RECIPES)
def test_columns(zoos, kind):
    table = zoos[kind].table
    assert set(table) == OTHERS | (NUMBERS if kind == "waves" else CLASSES)
    assert table["run"].tolist() == np.repeat(np.arange(7), 4).tolist()
    assert table["epoch"].tolist() == [1, 2, 3, 4] * 7
    of_a_run = ["split", "structure", "hidden", "num_params", "learning_rate", "spec"]
    assert table.groupby("run").nunique()[of_a_run].eq(1).all(axis=None)
    assert table.groupby("run")["learning_rate"].first().nunique() == 7
    assert set(table["split"]) == {"train", "val", "test"}
    quality = "test_r2" if kind == "waves" else "test_accuracy"
    assert (table["label"] == table[quality]).all()
    assert zoos[kind].metadata["maker"] == "trajectories"


def test_structures_have_as_many_runs(zoos):
    for kind, counts in (("moons", {"regular": 4, "deeper": 3}), ("cnns", {"small": 7})):
        zoo = zoos[kind]
        runs = zoo.table.groupby("run").first()
        assert runs["structure"].value_counts().to_dict() == counts
        for _, row in zoo.table.iterrows():
            spec = zoo.specs[row["spec"]]
            assert row["hidden"] == " ".join(map(str, spec.layer_layout[1:-1]))
            assert row["num_params"] == spec.num_params


@pytest.mark.parametrize("kind", RECIPES)
def test_scores_are_those_of_the_networks(zoos, kind):
    zoo, recipe = zoos[kind], RECIPES[kind]
    data = recipe.labelled(recipe.load())
    parts = {
        "train": torch.arange(data.num_train),
        "test": torch.arange(data.num_train, data.num_all),
    }
    for number in (0, 5, len(zoo) - 1):
        row = zoo.table.iloc[number]
        for part, places in parts.items():
            outputs = stacked_forward(
                zoo.specs[row["spec"]], zoo.take([number]), data.take(places)
            )[0]
            labels = data.labels[places]
            if kind == "waves":
                loss = F.mse_loss(outputs[:, 0], labels).item()
                assert row[f"{part}_mse"] == pytest.approx(loss, rel=1e-4)
                variance = labels.var(correction=0).item()
                assert row[f"{part}_r2"] == pytest.approx(1 - loss / variance, rel=1e-3, abs=1e-4)
            else:
                loss = F.cross_entropy(outputs, labels).item()
                assert row[f"{part}_loss"] == pytest.approx(loss, rel=1e-4)
                accuracy = (outputs.argmax(1) == labels).float().mean().item()
                assert row[f"{part}_accuracy"] == pytest.approx(accuracy)


def test_epochs_of_a_run_follow_each_other(zoos, tmp_path):
    """A run of fewer epochs is the beginning of a longer one."""
    short = make(replace(MOONS, num_epochs=2), tmp_path / "short.h5")
    longer = zoos["moons"]
    rows = np.flatnonzero(longer.table["epoch"] <= 2).tolist()
    for ours, theirs in zip(range(len(short)), rows, strict=True):
        assert torch.equal(short.take([ours]), longer.take([theirs]))


def test_any_epochs_may_be_kept(tmp_path):
    recipe = replace(MOONS, checkpoint_epochs=(0, 3), num_runs=4)
    table = make(recipe, tmp_path / "zoo.h5").table
    assert table["epoch"].tolist() == [0, 3, 4] * 4


@pytest.mark.parametrize("kind", ["moons", "waves"])
def test_networks_learn(kind, tmp_path):
    recipe = replace(RECIPES[kind], num_epochs=40, learning_rate=(1e-2, 2e-2))
    table = make(recipe, tmp_path / "zoo.h5", chunk_size=None).table
    first, last = (table[table["epoch"] == epoch]["label"].mean() for epoch in (1, 40))
    assert last > max(first + 0.05, 0.85 if kind == "moons" else 0.3)


@pytest.mark.parametrize("kind", ["moons", "waves", "cnns"])
def test_interrupted_zoos_go_on_bit_for_bit(zoos, kind, tmp_path, monkeypatch):
    assert_goes_on_bit_for_bit(
        partial(make, RECIPES[kind]), tmp_path / "zoo.h5", zoos[kind], monkeypatch
    )


def test_parts_of_another_recipe_are_refused(tmp_path, monkeypatch, raises_saying):
    path = tmp_path / "zoo.h5"
    with third_stack_interrupted(monkeypatch):
        make(MOONS, path)
    with raises_saying(asked="zoo.h5", found="structures", do="delete"):
        make(replace(MOONS, structures=MLPStructures()), path)


def test_a_recipe_makes_itself(zoos, tmp_path, raises_saying):
    recipe = replace(MOONS, num_runs=4, num_epochs=1)
    path = tmp_path / "zoo.h5"
    zoo = open_or_make_zoo(recipe, path)
    assert_equal(open_or_make_zoo(recipe, path), zoo)
    with raises_saying(asked="for this recipe", found="num_epochs was 1, now 2", do="another path"):
        open_or_make_zoo(replace(recipe, num_epochs=2), path)


def test_accuracies_are_a_task(zoos):
    task = Generalization(zoos["moons"])
    assert len(task.dataset("train")) == (zoos["moons"].table["split"] == "train").sum()


def test_workers_make_the_same_zoo(zoos, tmp_path):
    assert_equal(make(MOONS, tmp_path / "zoo.h5", num_workers=2), zoos["moons"])


def test_a_trajectory_ends_where_it_diverges(tmp_path, caplog):
    """Runs that diverge at one of their epochs keep those before it, or all.

    A step multiplies weights by 1 - rate * decay, so that they overflow after some epochs.
    """
    wild = replace(
        MOONS, optimizer="sgd", learning_rate=(0.05, 0.5), weight_decay=400.0, num_epochs=6
    )
    with caplog.at_level(logging.WARNING, "nn_graphs.zoos.makers.stacked_zoos"):
        kept = make(replace(wild, diverged="keep"), tmp_path / "kept.h5")
        dropped = make(wild, tmp_path / "dropped.h5")
    is_lost = kept.table["has_diverged"]
    assert len(kept) == 42
    assert 0 < is_lost.sum() < 42
    assert f"{is_lost.sum()} of 42 networks" in caplog.records[0].getMessage()
    for _, run in kept.table.groupby("run"):
        assert run["has_diverged"].is_monotonic_increasing
    partly = kept.table.groupby("run")["has_diverged"].nunique().eq(2)
    assert partly.any()
    pd.testing.assert_frame_equal(
        dropped.table.drop(columns="row"),
        kept.table[~is_lost].reset_index(drop=True).drop(columns="row"),
    )
    assert all(values.isfinite().all() for values in dropped.params)
    assert np.isfinite(dropped.table["test_loss"]).all()


@pytest.mark.parametrize(
    ("change", "asked", "found", "do"),
    [
        ({"structures": MLPStructures({})}, "7 trajectories on moons", "0 structures", "one run"),
        ({"num_runs": 1}, "1 trajectories on moons", "2 structures", "one run for each"),
        ({"num_runs": 2}, "split 2 runs", "none for training", "smaller shares"),
        ({"batch_size": 97}, "batches of 97", "96 of 96", "smaller batches"),
        ({"checkpoint_epochs": (1, 9)}, "4 epochs", "[9]", "among them"),
        ({"data": LabelledTable("moons", num_train=900)}, "900 training", "800", "fewer"),
        ({"data": LabelledTable("digits")}, "table 'digits'", "no 'digits'", "moons"),
        ({"structures": CNNStructures()}, "inputs of moons", "no images", "MLPStructures"),
    ],
)
def test_recipes_that_cannot_be_made(tmp_path, raises_saying, change, asked, found, do):
    with raises_saying(asked=asked, found=found, do=do):
        make(replace(MOONS, **change), tmp_path / "zoo.h5")


def test_images_that_are_too_small(tmp_path, raises_saying):
    structures = CNNStructures({"a": (2, 2, 2)}, padding=0)
    with raises_saying(asked="8 x 8 pixels", found="convolution 3", do="padding"):
        make(replace(CNNS, structures=structures), tmp_path / "zoo.h5")


@pytest.mark.parametrize("data", ["california_housing", "covertype"])
def test_missing_files_are_named(tmp_path, raises_saying, data):
    with raises_saying(asked=data, found=str(tmp_path), do=f"download.py {data}"):
        make(replace(MOONS, data=LabelledTable(data)), tmp_path / "zoo.h5", data_root=tmp_path)


def test_targets_that_are_all_the_same(tmp_path, monkeypatch, raises_saying):
    monkeypatch.setitem(TABLES, "waves", lambda root: make_waves(np.full(160, 2.5)))
    with raises_saying(asked="numbers of waves", found="2.5", do="Take more"):
        make(WAVES, tmp_path / "zoo.h5")
    assert list(tmp_path.iterdir()) == []
