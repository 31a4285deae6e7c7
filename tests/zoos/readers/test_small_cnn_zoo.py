"""The Small CNN Zoo from files as published: rows become networks that compute what Keras would."""

import logging
import random
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.zoos.readers.read_report import Reason
from nn_graphs.zoos.readers.read_zoo import open_or_read_zoo, read_zoo
from nn_graphs.zoos.readers.small_cnn_zoo import SmallCNNZoo, split_names
from nn_graphs.zoos.zoo import Zoo
from tests.zoos.readers.small_cnns import LAYOUT, STEPS, layout_table, metrics_table, write_zoo


@pytest.fixture
def folder(tmp_path):
    return write_zoo(tmp_path)


def published_splits(root) -> dict[str, list[int]]:
    """Rows of `weights.npy` per split, as the public code finds them, step by step."""
    metrics = pd.read_csv(root / "metrics.csv.gz")
    order = pd.read_csv(root.parent / "cifar10_split.csv", header=None).to_numpy().flatten()
    last = order[metrics["step"].iloc[order] == 86].tolist()
    point = int(0.5 * len(last))
    others = list(range(point))
    random.Random(0).shuffle(others)
    num_train = int(0.8 * len(others))
    return {
        "train": sorted(last[place] for place in others[:num_train]),
        "val": sorted(last[place] for place in others[num_train:]),
        "test": sorted(last[point:]),
    }


def keras_outputs(weights: np.ndarray, images: np.ndarray, activation) -> np.ndarray:
    """The network in TensorFlow's order of axes: `images [B, height, width, channels]`."""
    tensors, start = {}, 0
    for name, shape in LAYOUT:
        size = int(np.prod(shape))
        tensors[name.removeprefix("sequential/")] = weights[start : start + size].reshape(shape)
        start += size
    values = images
    for layer in ("conv2d", "conv2d_1", "conv2d_2"):
        kernel, size = tensors[f"{layer}/kernel:0"], (np.array(values.shape[1:3]) - 3) // 2 + 1
        total = np.zeros((len(values), *size, kernel.shape[-1]))
        for row in range(3):
            for column in range(3):
                seen = values[:, row : row + 2 * size[0] - 1 : 2, column : column + 2 * size[1] : 2]
                total += seen[:, : size[0], : size[1]] @ kernel[row, column]
        values = activation(total + tensors[f"{layer}/bias:0"])
    return values.mean(axis=(1, 2)) @ tensors["dense/kernel:0"] + tensors["dense/bias:0"]


def test_networks_compute_what_keras_would(folder):
    zoo, _ = read_zoo(SmallCNNZoo(folder))
    weights = np.load(folder / "weights.npy")
    images = np.random.default_rng(1).normal(size=(4, 17, 17, 1))
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2)
    rows = np.flatnonzero(np.tile(np.array(STEPS) == 86, 10))
    functions = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}
    for _, network in zoo.table.iterrows():
        params = zoo.params[network["spec"]][network["row"]].double().unsqueeze(0)
        ours = stacked_forward(zoo.specs[network["spec"]], params, inputs)[0]
        expected = keras_outputs(
            weights[rows[network["run"]]].astype(float), images, functions[network["activation"]]
        )
        np.testing.assert_allclose(ours.numpy(), expected, atol=1e-12)


def test_table_and_published_splits(folder):
    zoo, report = read_zoo(SmallCNNZoo(folder))
    assert (len(zoo), report.num_read, report.skips) == (10, 10, ())
    assert zoo.specs == (small_cnn_zoo_spec("relu"), small_cnn_zoo_spec("tanh"))
    expected = published_splits(folder)
    for split, rows in expected.items():
        found = zoo.table["run"][zoo.table["split"] == split]
        assert sorted(9 * found + 8) == rows
    assert {split: len(rows) for split, rows in expected.items()} == {
        "train": 4,
        "val": 1,
        "test": 5,
    }
    table = zoo.table.set_index("run").sort_index()
    metrics = metrics_table(10).query("step == 86")
    np.testing.assert_allclose(table["label"], metrics["test_accuracy"])
    assert table["activation"].tolist() == metrics["config.activation"].tolist()
    np.testing.assert_allclose(table["learning_rate"], metrics["config.learning_rate"])
    assert table["w_init"].tolist() == ["he_normal", ""] * 5
    assert set(table["step"]) == {86}


def test_sizes_of_the_published_splits():
    """CIFAR10-GS: 12,000 networks to train on, 3,000 to choose by, 15,000 to test."""
    names = split_names(30_000)
    assert [names.count(name) for name in ("train", "val", "test")] == [12_000, 3_000, 15_000]
    assert names[15_000:] == ["test"] * 15_000
    assert "test" not in names[:15_000]


@pytest.mark.parametrize(("activation", "count"), [("relu", 7), ("tanh", 3)])
def test_one_activation(folder, activation, count):
    zoo, _ = read_zoo(SmallCNNZoo(folder, activation=activation))
    both, _ = read_zoo(SmallCNNZoo(folder))
    assert len(zoo) == count
    assert zoo.spec == small_cnn_zoo_spec(activation)
    is_same = both.table["activation"] == activation
    assert zoo.table["split"].tolist() == both.table["split"][is_same].tolist()
    assert torch.equal(zoo.params[0], both.params[both.specs.index(zoo.spec)])


def test_other_checkpoints_share_the_split_of_their_network(folder):
    zoo, _ = read_zoo(SmallCNNZoo(folder, steps=(0, 20, 86)))
    assert len(zoo) == 30
    assert set(zoo.table["step"]) == {0, 20, 86}
    assert (zoo.table.groupby("run")["split"].nunique() == 1).all()
    last, _ = read_zoo(SmallCNNZoo(folder))
    splits = last.table.set_index("run")["split"]
    assert (zoo.table["split"] == zoo.table["run"].map(splits)).all()


def test_zoo_file(folder, tmp_path):
    path = tmp_path / "zoos" / "zoo.h5"
    zoo = open_or_read_zoo(SmallCNNZoo(folder), path)
    expected, _ = read_zoo(SmallCNNZoo(folder))
    shutil.rmtree(folder)  # the files are needed no more
    again = open_or_read_zoo(SmallCNNZoo(folder), path)
    for part, other, third in zip(zoo.params, expected.params, again.params, strict=True):
        assert torch.equal(part, other)
        assert torch.equal(part, third)
    assert zoo.metadata["recipe"]["dataset"] == "cifar10"
    assert len(Zoo.open(path)) == 10
    assert list(path.parent.iterdir()) == [path]


def poison(folder) -> None:
    """NaN weights in the last checkpoint of network 1, no accuracy for network 4."""
    weights = np.load(folder / "weights.npy")
    weights[17, 5] = np.nan
    np.save(folder / "weights.npy", weights)
    metrics = metrics_table(10)
    metrics.loc[44, "test_accuracy"] = np.nan
    metrics.to_csv(folder / "metrics.csv.gz")


def test_diverged_networks_are_dropped_and_counted(folder, caplog):
    before, _ = read_zoo(SmallCNNZoo(folder))
    poison(folder)
    with caplog.at_level(logging.INFO, logger="nn_graphs"):
        zoo, report = read_zoo(SmallCNNZoo(folder))
    assert sorted(zoo.table["run"]) == [0, 2, 3, 5, 6, 7, 8, 9]
    assert report.counts() == {Reason.NOT_FINITE.value: 1, Reason.LABEL.value: 1}
    assert "row 17 of it" in str(report.examples()[Reason.NOT_FINITE])
    assert "8 networks read, 2 files skipped" in caplog.text
    splits = before.table.set_index("run")["split"]
    assert (zoo.table["split"] == zoo.table["run"].map(splits)).all()
    assert all(params.isfinite().all() for params in zoo.params)


def test_diverged_networks_can_be_kept(folder, caplog):
    poison(folder)
    with caplog.at_level(logging.INFO, logger="nn_graphs"):
        zoo, report = read_zoo(SmallCNNZoo(folder, diverged="keep"))
    assert (len(zoo), report.num_diverged) == (10, 2)
    assert "2 with NaN or infinite weights kept" in caplog.text
    assert zoo.metadata["report"]["diverged"] == 2


def test_strict(folder, raises_saying):
    poison(folder)
    with raises_saying(asked=str(folder), found="row 17", do="diverged"):
        read_zoo(SmallCNNZoo(folder), strict=True)


def test_weights_and_metrics_of_different_length(folder, raises_saying):
    metrics_table(10)[:-1].to_csv(folder / "metrics.csv.gz")
    with raises_saying(asked="metrics.csv.gz", found="89 rows, ", do="archive again"):
        read_zoo(SmallCNNZoo(folder))


@pytest.mark.parametrize(
    ("row", "column", "value", "found"),
    [
        (7, "end_idx", 4971, "dense/kernel:0 is columns 4810 to 4971 of 4970"),
        (0, "start_idx", -1, "conv2d/bias:0 is columns -1 to 16 of 4970"),
        (1, "shape", "(3, 3, 1, 15)", "[3, 3, 1, 15] is 144 columns"),
        (1, "shape", "__import__('os').getcwd()", "no tuple of numbers"),
        (1, "varname", "sequential/conv2d/gamma:0", "neither a kernel nor a bias"),
        (3, "shape", "(16, 3, 3, 16)", "a tensor [16, 3, 16, 3] for layers.1.weight"),
    ],
)
def test_wrong_layout(folder, raises_saying, row, column, value, found):
    layout = layout_table().astype({column: object})
    layout.loc[row, column] = value
    layout.to_csv(folder / "layout.csv")
    with raises_saying(asked="layout.csv", found=found, do="as its publisher packed it"):
        read_zoo(SmallCNNZoo(folder))


def test_layout_with_a_row_too_few_or_twice(folder, raises_saying):
    layout = layout_table()
    layout[:-1].to_csv(folder / "layout.csv")
    with raises_saying(asked="layout.csv", found="nothing for layers.3.weight", do="packed"):
        read_zoo(SmallCNNZoo(folder))
    layout.iloc[[*range(8), 4]].to_csv(folder / "layout.csv")
    with raises_saying(asked="layout.csv", found="9 tensors hold 4970", do="packed"):
        read_zoo(SmallCNNZoo(folder))


@pytest.mark.parametrize(
    ("name", "content", "asked", "found"),
    [
        ("weights.npy", b"", "as a Small CNN Zoo", None),
        ("weights.npy", b"no array", "weights.npy", "no array that can be mapped"),
        ("metrics.csv.gz", b"no gzip", "metrics.csv.gz", "no packed CSV file"),
        ("../cifar10_split.csv", b"0\n1\n2\n", "cifar10_split.csv", "3 different numbers up to 2"),
        ("../cifar10_split.csv", b"a\nb\n", "cifar10_split.csv", "no list of row numbers"),
    ],
)
def test_damaged_files(folder, raises_saying, name, content, asked, found):
    (folder / name).write_bytes(content)
    if found is None:
        (folder / name).unlink()
        found = "it holds no weights.npy"
    with raises_saying(asked=asked, found=found, do=""):
        read_zoo(SmallCNNZoo(folder))


def test_what_can_be_asked_for(folder, tmp_path, raises_saying):
    with raises_saying(asked="steps [85]", found="steps 0, 1, 2, 3, 20", do="one of them"):
        read_zoo(SmallCNNZoo(folder, steps=[85]))
    moved = folder.rename(tmp_path / "mine")
    with raises_saying(asked=str(moved), found="images is not clear", do="image_dataset"):
        read_zoo(SmallCNNZoo(moved))
    zoo, _ = read_zoo(SmallCNNZoo(moved, image_dataset="cifar10"))
    assert len(zoo) == 10
    (tmp_path / "cifar10_split.csv").unlink()
    with raises_saying(asked="splits", found="no ", do="(`splits`)"):
        read_zoo(SmallCNNZoo(moved, image_dataset="cifar10"))
    found = "an architecture is given"
    with raises_saying(asked=str(moved), found=found, do="Leave it out"):
        read_zoo(SmallCNNZoo(moved), architecture=small_cnn_zoo_spec())


def test_only_rows_that_are_asked_for_are_read(folder, monkeypatch):
    """The array stays on disk: each row is read once, in order, a block at a time."""
    rows, load = [], np.load

    class Watched(np.ndarray):
        def __getitem__(self, key):
            rows.extend(np.atleast_1d(key).tolist())
            return np.asarray(self)[key]

    def watched_load(path, **options):
        assert options["mmap_mode"] == "r"
        return load(path, **options).view(Watched)

    monkeypatch.setattr(np, "load", watched_load)
    monkeypatch.setattr("nn_graphs.zoos.readers.small_cnn_zoo.BLOCK_ROWS", 3)
    zoo, _ = read_zoo(SmallCNNZoo(folder))
    assert sorted(rows) == list(range(8, 90, 9))
    assert len(zoo) == 10
