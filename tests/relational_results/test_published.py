"""The reader of the published raw results, on files in their layout."""

import shutil

import numpy as np
import pandas as pd
import pytest

from nn_graphs.relational_results import (
    BASELINE,
    EVERY_EPOCH,
    TASKS,
    check_runs,
    missing_runs,
    nested_ids,
    read_graphs,
    read_published,
)
from tests.relational_results.published_files import GRAPHS, write_published, zip_results

MLP = ("names_mlp_cifar10_epoch200.npy", "results_mlp_cifar10_epoch200.npy")
SIZE = {"mlp_cifar10": 4 * 5, "efficientnet_imagenet": 3 * 3}


@pytest.fixture
def root(tmp_path):
    write_published(tmp_path / "graph2nn")
    return tmp_path / "graph2nn"


def test_the_last_epochs_of_all_tasks(root):
    runs = read_published(root)
    check_runs(runs)
    assert missing_runs(runs).empty
    counts = runs.groupby("task").size().to_dict()
    assert counts == {name: SIZE.get(name, 3 * 3) for name in TASKS}
    assert runs.groupby("task")["epoch"].unique().explode().to_dict() == {
        name: task.epochs[-1] for name, task in TASKS.items()
    }


def test_rows_are_joined_to_their_graphs(root):
    runs = read_published(root, tasks=["mlp_cifar10"])
    for run in runs.itertuples():
        number = 3 if run.graph_id == BASELINE else run.graph_id
        expected = (40 if number == 3 else 30 + number) + run.train_seed / 10 - 0.2
        assert run.top1_error == pytest.approx(expected)
        assert run.top5_error == pytest.approx(expected / 10)
        assert run.width == 500 + number
        structure = [run.num_nodes, run.sparsity, run.rewiring, run.graph_seed]
        structure += [run.clustering, run.path_length]
        assert structure == ([64, 1, 0, 1, 1, 1] if number == 3 else GRAPHS[number].tolist())
    assert sorted(runs["train_seed"].unique()) == [1, 2, 3, 4, 5]
    assert set(runs["params_millions"]) == {2.5}
    assert set(runs["flops_billions"]) == {0.002}
    assert set(read_published(root, tasks=["efficientnet_imagenet"])["num_nodes"]) == {16}


def test_a_packed_and_an_unpacked_repository_are_the_same(root, tmp_path):
    expected = read_published(root)
    zip_results(root)
    pd.testing.assert_frame_equal(read_published(root), expected)
    moved = tmp_path / "download" / "b6a67" / "analysis"
    shutil.move(root, moved)
    pd.testing.assert_frame_equal(read_published(tmp_path / "download"), expected)
    pd.testing.assert_frame_equal(read_published(moved.parent), expected)


def test_epochs_are_chosen(root):
    runs = read_published(root, epochs=[0, 1, 200])
    epochs = runs.groupby("task")["epoch"].unique().map(sorted).to_dict()
    assert epochs == {name: [200] if name == "mlp_cifar10" else [0, 1] for name in TASKS}
    assert (min(EVERY_EPOCH), max(EVERY_EPOCH)) == (1, 100)


def test_a_missing_run_is_missing(root):
    for kind in ("names", "results"):
        path = root / f"final_results/cnn6_imagenet_seed2/{kind}_cnn6_imagenet_seed2_epoch100.npy"
        np.save(path, np.load(path)[1:])
    missing = missing_runs(read_published(root))
    assert missing[["task", "epoch", "train_seed"]].to_numpy().tolist() == [
        ["cnn6_imagenet", 100, 2]
    ]


def test_nested_graphs(root, raises_saying):
    larger, smaller = read_graphs(root, "n64_3942"), read_graphs(root, "n64_52")
    assert nested_ids(smaller.iloc[::-1], larger) == [1, 0]
    with raises_saying(asked="3 graphs among 2", found="1 are not there", do="same family"):
        nested_ids(larger, smaller)


def test_what_is_not_there(root, raises_saying):
    with raises_saying(asked="published results", found="no final_results", do="--root"):
        read_published(root / "elsewhere")
    with raises_saying(asked="'vgg'", found="no task", do="mlp_cifar10, cnn6_imagenet"):
        read_published(root, tasks=["vgg"])
    with raises_saying(asked="mlp_cifar10", found="none of the epochs", do="epoch 200"):
        read_published(root, tasks=["mlp_cifar10"], epochs=EVERY_EPOCH)
    with raises_saying(asked="resnet34_imagenet_seed1", found="no names of epoch 2", do="again"):
        read_published(root, tasks=["resnet34_imagenet"], epochs=[2])
    (root / "graphs_n64_52.npy").unlink()
    with raises_saying(asked="graphs_n64_52.npy", found="cannot be read", do="download.py"):
        read_published(root, tasks=["cnn6_imagenet"])


def names(change):
    return MLP[0], change


def results(change):
    return MLP[1], change


def put(array, place, value):
    array[place] = value
    return array


CONTRADICTIONS = {
    "one file is shorter": (results(lambda array: array[1:]), "the names beside it ask for"),
    "a seed too few": (results(lambda array: array[:, 1:]), "the names beside it ask for"),
    "other seeds": (results(lambda array: put(array, (0, 0, 7), 9)), "seeds are not (1, 2"),
    "other nodes": (results(lambda array: put(array, (..., 5), 16)), "numbers of nodes"),
    "nan": (results(lambda array: put(array, (1, 2, 3), np.nan)), "not finite"),
    "no percentage": (results(lambda array: put(array, (1, 2, 3), 101)), "no percentages"),
    "texts": (results(lambda array: array.astype(str)), "it holds <U"),
    "unknown graph": (names(lambda array: put(array, (2, 7), "23.0")), "none of the graphs"),
    "no number": (names(lambda array: put(array, (2, 4), "much")), "is no number"),
    "twice": (names(lambda array: put(array, 1, array[0])), "same graph"),
    "other transform": (names(lambda array: put(array, (slice(None), 0), "linear")), "'linear'"),
    "no baseline": (names(lambda array: np.where(array == "linear", "talk", array)), "'talk'"),
    "a column less": (names(lambda array: array[:, 1:]), "not rows of 15 texts"),
    "pickled": (names(lambda array: array.astype(object)), "allow_pickle=False"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("change", "found"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradicting_files(root, raises_saying, change, found, packed):
    name, edit = change
    path = root / "final_results" / "mlp_cifar10" / name
    np.save(path, edit(np.load(path)))
    if packed:
        zip_results(root)
    asked = f"final_results/mlp_cifar10/{name}"
    with raises_saying(asked=asked, found=found, do="again"):
        read_published(root, tasks=["mlp_cifar10"])


@pytest.mark.parametrize("name", MLP)
def test_truncated_files(root, raises_saying, name):
    path = root / "final_results" / "mlp_cifar10" / name
    path.write_bytes(path.read_bytes()[:-50])
    with raises_saying(asked=str(path), found="cannot be read as an array", do="Delete it"):
        read_published(root, tasks=["mlp_cifar10"])
    path.unlink()
    with raises_saying(asked="mlp_cifar10", found="of epoch 200", do="again"):
        read_published(root, tasks=["mlp_cifar10"])


def test_damaged_archives(root, raises_saying):
    zip_results(root)
    path = root / "final_results.zip"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with raises_saying(asked=str(path), found="zip", do="Delete it"):
        read_published(root)
    middle = content.index(b"results_mlp") + 150
    path.write_bytes(content[:middle] + b"damage" + content[middle + 6 :])
    with raises_saying(asked="results_mlp", found="cannot be read", do="Delete it"):
        read_published(root, tasks=["mlp_cifar10"])


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (GRAPHS[:, :5], "not rows of 6"),
        (np.concatenate([GRAPHS, GRAPHS[:1]]), "the same sparsity"),
        (np.where(GRAPHS == 64, np.inf, GRAPHS), "not finite"),
        (GRAPHS.astype(str), "not rows of 6"),
    ],
)
def test_arrays_that_are_no_graphs(root, raises_saying, array, found):
    np.save(root / "graphs_n64_3942.npy", array)
    with raises_saying(asked="graphs_n64_3942.npy", found=found, do="again"):
        read_graphs(root, "n64_3942")
