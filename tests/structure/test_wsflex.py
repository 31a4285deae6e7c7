"""WS-flex graphs come back from (nodes, sparsity, p, seed), as published."""

import random

import networkx as nx
import numpy as np
import pytest

from nn_graphs.datasets import data_root
from nn_graphs.structure import average_clustering, average_path_length, ws_flex, ws_flex_graphs
from nn_graphs.structure.wsflex import draw_ws_flex, num_edges_of
from tests.structure.published import BEST_MLP, ROWS_16, ROWS_64


def plain_ws_flex(num_nodes: int, sparsity: float, p: float, seed: int) -> np.ndarray:
    """The specification word for word, on sets of neighbours."""
    generator = random.Random(seed)
    nodes = list(range(num_nodes))
    each, rest = divmod(round(num_nodes * sparsity * num_nodes / 2), num_nodes)
    targets = [
        [(node + offset) % num_nodes for offset in range(1, each + (node < rest) + 1)]
        for node in nodes
    ]
    for _ in range(100):
        graph = nx.Graph((node, target) for node in nodes for target in targets[node])
        for node in nodes:
            for target in targets[node]:
                if generator.random() < p:
                    new = generator.choice(nodes)
                    is_full = False
                    while not is_full and (new == node or graph.has_edge(node, new)):
                        new = generator.choice(nodes)
                        is_full = graph.degree(node) >= num_nodes - 1
                    if not is_full:
                        graph.remove_edge(node, target)
                        graph.add_edge(node, new)
        if nx.is_connected(graph):
            return nx.to_numpy_array(graph, nodelist=nodes) > 0
    raise AssertionError("no try is connected")


@pytest.mark.parametrize("num_nodes", [2, 3, 7, 8, 16, 33, 64, 70])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.4, 0.9, 0.99, 1.0])
def test_equal_to_the_specification(num_nodes, p, share):
    """From the ring (`share` 0) to the complete graph, whose nodes have nowhere to go."""
    sparsity = 2 / num_nodes + share * (1 - 2 / num_nodes)
    for seed in range(3):
        graph = ws_flex(num_nodes, sparsity=sparsity, p=p, seed=seed)
        np.testing.assert_array_equal(graph, plain_ws_flex(num_nodes, sparsity, p, seed))


@pytest.mark.parametrize("rows", [ROWS_64, ROWS_16], ids=["64", "16"])
def test_published_graphs_come_back(rows):
    graphs = ws_flex_graphs(int(rows[0, 0]), rows[:, 1], rows[:, 2], rows[:, 3].astype(int))
    np.testing.assert_array_equal(average_clustering(graphs), rows[:, 4])
    np.testing.assert_array_equal(average_path_length(graphs), rows[:, 5])
    assert not (graphs == graphs[:1]).all()


def test_the_best_graph_of_the_study():
    num_nodes, sparsity, p, seed = BEST_MLP[:4]
    graph = ws_flex(int(num_nodes), sparsity=sparsity, p=p, seed=int(seed))
    assert graph.sum() == 2 * 262
    assert not graph.diagonal().any()
    np.testing.assert_array_equal(graph, graph.T)


def test_halves_of_edges_are_rounded_to_even():
    assert [num_edges_of(4, edges / 8) for edges in (4.5, 5.5, 6.5)] == [4, 6, 6]


def test_without_rewiring_the_lattice_stays():
    graph = ws_flex(5, sparsity=7 / 12.5, p=0.0)
    edges = {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (3, 4), (0, 4)}
    assert {tuple(pair) for pair in np.argwhere(np.triu(graph)).tolist()} == edges


def test_the_random_stream_goes_on_over_tries(monkeypatch, raises_saying):
    """Seeds whose first try falls apart give what the plain twin gives: a later try."""
    sparsity, later = 2 / 64, []
    for seed in range(60):
        with monkeypatch.context() as patch:
            patch.setattr("nn_graphs.structure.wsflex.NUM_TRIES", 1)
            if draw_ws_flex(64, sparsity, 0.9, seed) is None:
                later.append(seed)
    assert len(later) >= 5
    for seed in later[:5]:
        graph = ws_flex(64, sparsity=sparsity, p=0.9, seed=seed)
        np.testing.assert_array_equal(graph, plain_ws_flex(64, sparsity, 0.9, seed))
    monkeypatch.setattr("nn_graphs.structure.wsflex.NUM_TRIES", 1)
    found = f"none of 1 tries of seed {later[0]} is connected"
    with raises_saying(asked="WS-flex graph of 64 nodes", found=found, do="another seed"):
        ws_flex(64, sparsity=sparsity, p=0.9, seed=later[0])


@pytest.mark.parametrize(
    ("num_nodes", "options", "found", "do"),
    [
        (64, {"sparsity": 0.02, "p": 0.1}, "41 edges, fewer than a ring", "2 / 64"),
        (64, {"sparsity": -0.2, "p": 0.1}, "-410 edges", "2 / 64"),
        (1, {"sparsity": 1.0, "p": 0.1}, "fewer than a ring", "2 / 1"),
        (64, {"sparsity": 1.01, "p": 0.1}, "more neighbours than there are nodes", "up to 1"),
        (64, {"sparsity": float("nan"), "p": 0.1}, "more neighbours", "up to 1"),
        (64, {"sparsity": 0.2, "p": -0.1}, "p is no probability", "0 to 1"),
        (64, {"sparsity": 0.2, "p": 1.1}, "p is no probability", "0 to 1"),
        (64, {"sparsity": 0.2, "p": float("nan")}, "p is no probability", "0 to 1"),
    ],
)
def test_impossible_arguments(raises_saying, num_nodes, options, found, do):
    asked = f"make a WS-flex graph of {num_nodes} nodes"
    with raises_saying(asked=asked, found=found, do=do):
        ws_flex(num_nodes, **options)


@pytest.mark.data
@pytest.mark.parametrize("name", ["n64_3942", "n64_449", "n64_52", "n16_2698", "n16_326", "n16_48"])
def test_all_published_graphs(name):
    table = np.load(data_root() / "graph2nn" / f"graphs_{name}.npy")
    sparsity, p, seed = table[:, 1], table[:, 2], table[:, 3].astype(int)
    graphs = ws_flex_graphs(int(table[0, 0]), sparsity, p, seed)
    np.testing.assert_array_equal(average_clustering(graphs), table[:, 4])
    np.testing.assert_array_equal(average_path_length(graphs), table[:, 5])


@pytest.mark.data
@pytest.mark.parametrize(("name", "num_changed"), [("n64_3942", 0), ("n16_2698", 1)])
def test_graphs_from_printed_digits(name, num_changed):
    """Configurations of the study print sparsity and p with six digits."""
    table = np.load(data_root() / "graph2nn" / f"graphs_{name}.npy")
    sparsity, p, seed = table[:, 1], table[:, 2], table[:, 3].astype(int)
    exact = ws_flex_graphs(int(table[0, 0]), sparsity, p, seed)
    printed = ws_flex_graphs(int(table[0, 0]), sparsity.round(6), p.round(6), seed)
    assert (exact != printed).any((1, 2)).sum() == num_changed
