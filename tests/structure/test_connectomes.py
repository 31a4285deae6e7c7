"""Readers of connectomes, on files written in both layouts."""

import numpy as np
import pytest

from nn_graphs.datasets import data_root
from nn_graphs.structure import (
    average_clustering,
    average_path_length,
    connectome_names,
    read_connectome,
)

ROWS = "0110\n1000\n0001\n0000\n"
ARCS = [[0, 1], [0, 2], [1, 0], [2, 3]]


def write_archive(root, **arrays):
    mine = {
        "worm/edges": np.array([[0, 0, 2, 2], [1, 1, 0, 2]], np.int32),
        "worm/weight": np.array([3, 1, 2, 9], np.float32),
        "worm/labels": np.array(["  A", " B ", "C", "unlinked"]),
        "fly/edges": np.array([[0, 3], [1, 0]]),
    }
    np.savez(root / "connectomes.npz", **{**mine, **arrays})


@pytest.mark.parametrize("folder", ["graph2nn", "."])
def test_text_rows(tmp_path, folder):
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "mcvisual.txt").write_text(ROWS)
    connectome = read_connectome("macaque_visual", tmp_path)
    assert np.argwhere(connectome.adjacency).tolist() == ARCS
    assert connectome.labels == ()
    both = connectome.symmetrised.adjacency
    assert np.argwhere(np.triu(both)).tolist() == [[0, 1], [0, 2], [2, 3]]
    np.testing.assert_array_equal(both, both.T)


def test_archive(tmp_path):
    write_archive(tmp_path)
    worm = read_connectome("worm", tmp_path)
    assert worm.adjacency.shape == (4, 4)
    assert np.argwhere(worm.adjacency).tolist() == [[0, 1], [2, 0]]  # twice, and a self loop
    assert worm.labels == ("A", "B", "C", "unlinked")
    assert worm.weights[worm.adjacency].tolist() == [4, 2]  # two arcs of 3 and 1
    assert worm.weights.sum() == 6
    assert worm.symmetrised.weights[1, 0] == 4
    fly = read_connectome("fly", tmp_path)
    assert np.argwhere(fly.adjacency).tolist() == [[0, 1], [3, 0]]
    assert fly.labels == ()
    assert fly.weights is None
    assert fly.symmetrised.weights is None


@pytest.mark.parametrize("weight", [np.ones(3), np.array([1, 2, 3, np.nan])])
def test_archive_of_other_weights(tmp_path, raises_saying, weight):
    write_archive(tmp_path, **{"worm/weight": weight})
    with raises_saying(asked="'worm'", found="not a finite number for each of 4", do="again"):
        read_connectome("worm", tmp_path)


def test_names_of_what_is_there(tmp_path):
    assert connectome_names(tmp_path) == ()
    (tmp_path / "cat.txt").write_text(ROWS)
    assert connectome_names(tmp_path) == ("cat",)
    write_archive(tmp_path)
    assert connectome_names(tmp_path) == ("cat", "worm", "fly")


def test_missing_connectomes(tmp_path, raises_saying):
    with raises_saying(asked="'cat'", found=f"{tmp_path} has no file of it", do="Put cat.txt"):
        read_connectome("cat", tmp_path)
    write_archive(tmp_path)
    with raises_saying(asked="'mouse'", found="what it has: worm, fly", do="connectomes.npz"):
        read_connectome("mouse", tmp_path)


@pytest.mark.parametrize("content", ["01\n10\n11\n", "012\n100\n000\n", "", "é1\n10\n"])
def test_damaged_text(tmp_path, raises_saying, content):
    path = tmp_path / "cat.txt"
    path.write_text(content, encoding="utf-8")
    with raises_saying(asked=f"read {path}", found="characters 0 and 1 each", do="again"):
        read_connectome("cat", tmp_path)


def test_text_with_self_loops(tmp_path, raises_saying):
    (tmp_path / "cat.txt").write_text("11\n10\n")
    with raises_saying(asked="relational graph", found="1 nodes have self loops", do="Leave"):
        read_connectome("cat", tmp_path)


@pytest.mark.parametrize(
    "edges", [np.array([[0], [4]]), np.array([[-1], [0]]), np.array([0, 1]), np.zeros((3, 2), int)]
)
def test_archive_of_other_edges(tmp_path, raises_saying, edges):
    write_archive(tmp_path, **{"worm/edges": edges})
    with raises_saying(asked="'worm'", found="not pairs of nodes 0 to 3", do="again"):
        read_connectome("worm", tmp_path)


def test_damaged_archive(tmp_path, raises_saying):
    path = tmp_path / "connectomes.npz"
    path.write_bytes(b"no archive")
    with raises_saying(asked=f"read {path}", found="no archive of arrays", do="again"):
        read_connectome("worm", tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "num_nodes", "num_arcs", "num_edges", "clustering", "path_length"),
    [
        ("macaque_whole_cortex", 71, 746, 438, 0.503283, 2.244668),
        ("macaque_visual", 30, 308, 190, 0.633771, 1.588506),
        ("cat", 52, 820, 519, 0.666337, 1.632730),
    ],
)
def test_published_connectomes(name, num_nodes, num_arcs, num_edges, clustering, path_length):
    connectome = read_connectome(name, data_root())
    both = connectome.symmetrised.adjacency
    assert connectome.adjacency.shape == (num_nodes, num_nodes)
    assert connectome.adjacency.sum() == num_arcs
    assert both.sum() == 2 * num_edges
    assert float(average_clustering(both)) == pytest.approx(clustering, abs=5e-7)
    assert float(average_path_length(both)) == pytest.approx(path_length, abs=5e-7)


@pytest.mark.data
def test_directed_measures_of_published_connectomes():
    for name, clustering, path_length in [
        ("macaque_visual", 0.546241, 1.721839),
        ("cat", 0.586441, 1.807692),
    ]:
        arcs = read_connectome(name, data_root()).adjacency
        assert float(average_clustering(arcs)) == pytest.approx(clustering, abs=5e-7)
        assert float(average_path_length(arcs)) == pytest.approx(path_length, abs=5e-7)


@pytest.mark.data
def test_the_archive_has_the_macaque_cortex_too():
    text = read_connectome("macaque_whole_cortex", data_root())
    archived = read_connectome("macaque71_CIJ", data_root())
    assert archived.labels[:3] == ("V1", "V2", "V3")
    assert archived.adjacency.sum() == text.adjacency.sum()
    for name in connectome_names(data_root()):
        assert read_connectome(name, data_root()).adjacency.any()
