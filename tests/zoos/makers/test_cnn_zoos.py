"""Zoos of CNNs: what is in them, and that interruptions leave no trace."""

import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from nn_graphs.datasets import load_images
from nn_graphs.networks.classifiers import stack_chunks
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.tasks.generalization import Generalization
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.small_cnns import SmallCNNRecipe
from nn_graphs.zoos.makers.stacked_runs import training_chunk_size
from nn_graphs.zoos.makers.stacked_zoos import make_stacked_zoo
from nn_graphs.zoos.makers.wild_cnns import WildCNNRecipe
from nn_graphs.zoos.zoo import Zoo
from tests.zoos.makers.interruptions import assert_equal, assert_goes_on_bit_for_bit

SCORES = ("train_accuracy", "train_loss", "test_accuracy", "test_loss")

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = LabelledImages(num_train=160, num_test=40)
SMALL = SmallCNNRecipe(
    IMAGES,
    num_runs=16,
    num_epochs=3,
    checkpoint_epochs=(0, 1),
    batch_size=16,
    padding=1,
    test_share=0.25,
)
WILD = WildCNNRecipe(
    replace(IMAGES, scale="standard"),
    num_architectures=4,
    num_seeds=2,
    channels=(2, 4),
    num_epochs=4,
    checkpoint_every=2,
    batch_size=32,
)
RECIPES = {"small": SMALL, "wild": WILD}


def make(recipe, path, **options) -> Zoo:
    return make_stacked_zoo(recipe, path, is_compiled=False, num_workers=1, **options)


@pytest.fixture(scope="module")
def zoos(tmp_path_factory) -> dict[str, Zoo]:
    folder = tmp_path_factory.mktemp("cnns")
    torch.set_num_threads(1)
    return {name: make(recipe, folder / f"{name}.h5") for name, recipe in RECIPES.items()}


def test_columns_of_the_small_cnns(zoos):
    table = zoos["small"].table
    needed = {"run", "step", "split", "label", *SCORES, "has_diverged", "spec", "row"}
    needed |= {"activation", "optimizer", "w_init", "b_init", "train_fraction"}
    needed |= {"learning_rate", "l2reg", "dropout", "init_std"}
    assert set(table) == needed
    assert table["run"].tolist() == np.repeat(np.arange(16), 3).tolist()
    assert table["step"].tolist() == [0, 1, 3] * 16
    assert (table["label"] == table["test_accuracy"]).all()
    assert table.groupby("run").nunique()[["split", "optimizer", "dropout"]].eq(1).all(axis=None)


def test_columns_of_the_wild_cnns(zoos):
    zoo = zoos["wild"]
    table = zoo.table
    assert {"channels", "kernel_sizes", "activations", "residuals", "weight_decay"} <= set(table)
    assert table["step"].tolist() == [2, 4] * 8
    for _, row in table.iterrows():
        spec = zoo.specs[row["spec"]]
        assert row["channels"] == " ".join(map(str, spec.layer_layout[:-1]))
        kernels = [layer.conv.kernel_size[0] for layer in spec.layers[:-1]]
        assert row["kernel_sizes"] == " ".join(map(str, kernels))
    assert table.groupby("spec")["run"].nunique().min() >= 2


@pytest.mark.parametrize("kind", RECIPES)
def test_scores_are_those_of_the_networks(zoos, kind):
    zoo, recipe = zoos[kind], RECIPES[kind]
    data = recipe.images.labelled(recipe.images.load())
    tests = torch.arange(data.num_train, len(data.labels))
    for number in (0, 5, len(zoo) - 1):
        spec = zoo.specs[zoo.table["spec"][number]]
        logits = stacked_forward(spec, zoo.take([number]), data.take(tests))[0]
        loss = torch.nn.functional.cross_entropy(logits, data.labels[tests])
        accuracy = (logits.argmax(1) == data.labels[tests]).float().mean()
        row = zoo.table.iloc[number]
        assert row["test_loss"] == pytest.approx(loss.item(), rel=1e-4)
        assert row["test_accuracy"] == pytest.approx(accuracy.item())


@pytest.mark.parametrize("kind", RECIPES)
def test_splits_are_by_run(zoos, kind):
    zoo = zoos[kind]
    group = "spec" if kind == "wild" else "run"
    assert (zoo.table.groupby(group)["split"].nunique() == 1).all()
    assert set(zoo.table["split"]) == {"train", "val", "test"}
    Generalization(zoo)  # finds what it needs


def test_networks_learn(tmp_path):
    recipe = replace(
        SMALL,
        num_runs=4,
        num_epochs=15,
        learning_rate=(1e-2, 2e-2),
        activations=("relu",),
        dropout=(0.0, 0.1),
        optimizers=("adam",),
        initializers=("he_normal",),
        train_fractions=(1.0,),
    )
    table = make(recipe, tmp_path / "zoo.h5").table
    assert table[table["step"] == 0]["test_accuracy"].mean() < 0.3
    assert table[table["step"] == 15]["train_accuracy"].mean() > 0.4


@pytest.mark.parametrize("kind", RECIPES)
def test_equal_recipes_make_equal_zoos(zoos, kind, tmp_path):
    again = make(RECIPES[kind], tmp_path / "again.h5")
    assert_equal(again, zoos[kind])
    other = make(replace(RECIPES[kind], seed=1), tmp_path / "other.h5")
    assert other.params[0].shape != again.params[0].shape or not torch.equal(
        other.params[0], again.params[0]
    )


@pytest.mark.parametrize("kind", RECIPES)
def test_interrupted_zoos_go_on_bit_for_bit(zoos, kind, tmp_path, monkeypatch):
    assert_goes_on_bit_for_bit(
        partial(make, RECIPES[kind]), tmp_path / "zoo.h5", zoos[kind], monkeypatch
    )


def test_parts_of_another_recipe_are_refused(tmp_path, monkeypatch, raises_saying):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    path = tmp_path / "zoo.h5"
    with monkeypatch.context() as patch:
        patch.setattr(stack_chunks, "train_classifiers", interrupt)
        with pytest.raises(KeyboardInterrupt):
            make(SMALL, path)
    with raises_saying(asked="zoo.h5", found="seed was 0, now 1", do="delete"):
        make(replace(SMALL, seed=1), path)


def test_diverged_networks_are_counted_and_dropped_or_kept(tmp_path, caplog):
    wild = replace(SMALL, learning_rate=(1e18, 1e20), optimizers=("sgd",), activations=("relu",))
    with caplog.at_level(logging.WARNING, "nn_graphs.zoos.makers.stacked_zoos"):
        kept = make(replace(wild, diverged="keep"), tmp_path / "kept.h5")
        dropped = make(wild, tmp_path / "dropped.h5")
    is_lost = kept.table["has_diverged"]
    number, runs = is_lost.sum(), kept.table["run"][is_lost].nunique()
    assert len(kept) == 48
    assert 0 < number < 48
    said = f"{number} of 48 networks, of {runs} of 16 runs, have diverged and are"
    assert [record.getMessage() for record in caplog.records] == [
        f"{said} kept.",
        f"{said} left out.",
    ]
    is_finite = kept.params[0].isfinite().all(1)[torch.tensor(kept.table["row"].tolist())]
    assert (is_lost == (~is_finite.numpy() | ~np.isfinite(kept.table["test_loss"]))).all()
    assert len(dropped) == 48 - number
    assert all(values.isfinite().all() for values in dropped.params)
    good = np.flatnonzero(~is_lost)
    assert torch.equal(dropped.take(range(len(dropped))), kept.take(good))


def test_stacks_are_of_one_architecture_and_share_of_the_data():
    images = load_images("digits")
    runs = replace(SMALL, num_runs=200).make_runs(images)
    parts = runs.chunks(num_pixels=64, batch_size=16, chunk_size=10)
    assert sorted(np.concatenate(parts)) == list(range(200))
    for part in parts:
        assert len(part) <= 10
        assert (runs.table.loc[part, ["spec", "train_fraction"]].nunique() == 1).all()
    spec = runs.specs[0]
    assert training_chunk_size(spec, 64 * 64) == 32
    assert training_chunk_size(spec, 64 * 1024) == 7
    assert training_chunk_size(spec, 512 * 1024) == 4


def test_filled_stacks_make_the_same_zoo(zoos, tmp_path, monkeypatch):
    """As they are where stacks are compiled, which is left out here."""
    sizes, train = [], stack_chunks.train_classifiers

    def watched(model, params, *args, **options):
        sizes.append((model.spec, len(params)))
        return train(model, params, *args, **options)

    monkeypatch.setattr(stack_chunks, "train_classifiers", watched)
    with torch.compiler.set_stance("force_eager"):
        found = make_stacked_zoo(SMALL, tmp_path / "zoo.h5", num_workers=1)
    assert len(set(sizes)) == 2  # one per architecture
    assert len(sizes) > 2
    expected = zoos["small"]
    for ours, theirs in zip(found.params, expected.params, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    others = [name for name in expected.table if name not in SCORES and name != "label"]
    pd.testing.assert_frame_equal(found.table[others], expected.table[others])


def test_images_that_are_too_small(tmp_path, raises_saying):
    with raises_saying(asked="8 x 8 pixels", found="convolution 3", do="padding"):
        make(replace(SMALL, padding=0), tmp_path / "zoo.h5")
    assert list(tmp_path.iterdir()) == []


def test_shares_of_the_data_that_are_too_small(tmp_path, raises_saying):
    with raises_saying(asked="batches of 64", found="of 160", do="smaller batches"):
        make(replace(SMALL, batch_size=64), tmp_path / "zoo.h5")
    assert list(tmp_path.iterdir()) == []


def test_scales_of_images():
    data = IMAGES.labelled(IMAGES.load())
    assert isinstance(data, LabelledData)
    values = data.take(torch.arange(data.num_train))
    assert (values.min().item(), values.max().item()) == (-1.0, 1.0)
    standard = replace(IMAGES, scale="standard")
    values = standard.labelled(standard.load()).take(torch.arange(160))
    torch.testing.assert_close(values.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.std(correction=0), torch.tensor(1.0))


def test_workers_make_the_same_zoo(zoos, tmp_path):
    found = make_stacked_zoo(SMALL, tmp_path / "zoo.h5", is_compiled=False, num_workers=2)
    assert_equal(found, zoos["small"])
