"""What becomes a graph, and what is said about matrices that cannot."""

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

from nn_graphs.structure import adjacency_matrix, is_undirected, networkx_graph, symmetrised

PATH = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
ARCS = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    "graph",
    [
        PATH,
        np.array(PATH),
        np.array(PATH, dtype=float),
        np.array(PATH, dtype=bool),
        sparse.csr_array(PATH),
        sparse.coo_matrix(PATH),
        nx.path_graph(3),
        nx.Graph([("b", "a"), ("a", "c")]),
        nx.Graph([(0, 1, {"weight": 0.0}), (1, 2, {"weight": -3.0})]),
        nx.MultiGraph([(0, 1), (0, 1), (1, 2)]),
    ],
    ids=lambda graph: type(graph).__name__,
)
def test_all_kinds_of_graphs(graph):
    adjacency = adjacency_matrix(graph)
    assert adjacency.dtype == bool
    assert adjacency.tolist() == (np.array(PATH) == 1).tolist()


def test_arcs_run_from_row_to_column():
    adjacency = adjacency_matrix(nx.DiGraph([(0, 1), (1, 2)]), is_directed=True)
    assert np.argwhere(adjacency).tolist() == [[0, 1], [1, 2]]
    assert np.argwhere(symmetrised(adjacency)).tolist() == [[0, 1], [1, 0], [1, 2], [2, 1]]
    assert not is_undirected(adjacency)
    assert is_undirected(symmetrised(adjacency))


@pytest.mark.parametrize(
    ("graph", "found", "do"),
    [
        ([[0, 1, 0], [1, 0, 1]], "[2, 3], not square", "one row and one column"),
        ([[0, 1], [1]], "rows differ in length", "one row and one column"),
        ([0, 1], "[2], not square", "one row"),
        (np.zeros((0, 0)), "[0, 0], empty", "one row"),
        ([[0, 0.5], [0.5, 0]], "other values than 0 and 1", "matrix != 0"),
        ([[0, np.nan], [np.nan, 0]], "other values than 0 and 1", "matrix != 0"),
        ([[1, 1], [1, 1]], "2 nodes have self loops, the first is node 0", "Leave them out"),
        (nx.Graph([(0, 1), (1, 1)]), "1 nodes have self loops, the first is node 1", "Leave"),
        (ARCS, "an arc goes from 0 to 1, none comes back", "is_directed=True"),
        (nx.DiGraph([(0, 1), (1, 2), (1, 0)]), "from 1 to 2", "symmetrised"),
        (nx.Graph([(0, 1), (2, 3)]), "disconnected: 2 pieces", "largest piece"),
        (nx.empty_graph(3), "disconnected: 3 pieces", "largest piece"),
    ],
)
def test_what_cannot_be_a_relational_graph(raises_saying, graph, found, do):
    with raises_saying(asked="use this as a relational graph", found=found, do=do):
        adjacency_matrix(graph)


def test_what_may_be_allowed():
    assert adjacency_matrix(ARCS, is_directed=True).sum() == 3
    assert adjacency_matrix(nx.empty_graph(3), is_connected=False).sum() == 0


def test_pieces_of_directed_graphs_are_counted_with_arcs_both_ways(raises_saying):
    one_way = nx.DiGraph([(0, 1), (2, 1)])
    assert adjacency_matrix(one_way, is_directed=True).sum() == 2
    one_way.add_node(3)
    with raises_saying(asked="relational", found="disconnected: 2 pieces", do="connect"):
        adjacency_matrix(one_way, is_directed=True)


def test_back_to_networkx():
    graph = networkx_graph(adjacency_matrix(PATH))
    assert nx.utils.graphs_equal(graph, nx.path_graph(3))
    arcs = networkx_graph(adjacency_matrix(ARCS, is_directed=True))
    assert nx.utils.graphs_equal(arcs, nx.DiGraph([(0, 1), (1, 2), (2, 0)]))
