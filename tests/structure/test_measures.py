"""Measures against networkx on random graphs, and against counts made by hand."""

import networkx as nx
import numpy as np
import pytest

from nn_graphs.structure import (
    GENERATORS,
    MEASURES,
    average_clustering,
    average_path_length,
    betweenness,
    degree_assortativity,
    degrees,
    diameter,
    distances,
    global_efficiency,
    local_clustering,
    measure_graphs,
    modularity,
    spectral_gap,
)
from tests.structure.graphs import networkx_of, path_graph, random_graphs

SIZES = [1, 2, 3, 9, 20]
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def plain_distances(graph: nx.Graph) -> np.ndarray:
    found = np.full((len(graph), len(graph)), np.inf)
    for source, lengths in nx.all_pairs_shortest_path_length(graph):
        for target, length in lengths.items():
            found[source, target] = length
    return found


@pytest.mark.parametrize("is_directed", [False, True], ids=["undirected", "directed"])
@pytest.mark.parametrize("num_nodes", SIZES)
class TestAgainstNetworkx:
    def test_clustering(self, num_nodes, is_directed):
        graphs = random_graphs(num_nodes, is_directed=is_directed)
        for graph, local, mean in zip(
            graphs, local_clustering(graphs), average_clustering(graphs), strict=True
        ):
            expected = nx.clustering(networkx_of(graph))
            np.testing.assert_allclose(local, list(expected.values()), **CLOSE)
            np.testing.assert_allclose(mean, np.mean(list(expected.values())), **CLOSE)

    def test_distances(self, num_nodes, is_directed):
        graphs = random_graphs(num_nodes, is_directed=is_directed)
        lengths = average_path_length(graphs, if_disconnected="inf")
        for graph, found, mean, longest in zip(
            graphs, distances(graphs), lengths, diameter(graphs), strict=True
        ):
            expected = plain_distances(networkx_of(graph))
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_allclose(
                mean, expected.sum() / max(num_nodes * (num_nodes - 1), 1), **CLOSE
            )
            assert longest == expected.max()

    def test_betweenness(self, num_nodes, is_directed):
        graphs = random_graphs(num_nodes, is_directed=is_directed)
        for graph, found in zip(graphs, betweenness(graphs), strict=True):
            expected = nx.betweenness_centrality(networkx_of(graph))
            np.testing.assert_allclose(found, list(expected.values()), **CLOSE)

    def test_efficiency(self, num_nodes, is_directed):
        graphs = random_graphs(num_nodes, is_directed=is_directed)
        for graph, found in zip(graphs, global_efficiency(graphs), strict=True):
            steps = plain_distances(networkx_of(graph))
            shares = [1 / step for step in steps[~np.eye(num_nodes, dtype=bool)]]
            assert found == pytest.approx(np.mean(shares) if shares else 0)
            if not is_directed:
                assert found == pytest.approx(nx.global_efficiency(networkx_of(graph)))


@pytest.mark.parametrize("num_nodes", SIZES)
def test_undirected_measures_against_networkx(num_nodes):
    graphs = random_graphs(num_nodes, seed=1)
    gaps, found_degrees = spectral_gap(graphs), degrees(graphs)
    for number, graph in enumerate(map(networkx_of, graphs)):
        assert found_degrees[number].tolist() == [degree for _, degree in graph.degree]
        if num_nodes > 1:
            spectrum = np.sort(nx.normalized_laplacian_spectrum(graph))
            assert gaps[number] == pytest.approx(spectrum[1], abs=1e-9)


def test_assortativity_against_networkx():
    graphs = random_graphs(20, seed=2)[:-1]
    for graph, found in zip(graphs, degree_assortativity(graphs), strict=True):
        expected = nx.degree_pearson_correlation_coefficient(networkx_of(graph))
        assert found == pytest.approx(expected, abs=1e-9)


def test_sparse_graphs_of_several_pieces_are_among_the_random_ones():
    graphs = random_graphs(20)
    is_connected = np.isfinite(average_path_length(graphs, if_disconnected="inf"))
    assert not is_connected.all()
    assert is_connected.any()


def test_counts_by_hand():
    """A triangle 0, 1, 2 with a tail 2 - 3."""
    graph = np.zeros((4, 4), bool)
    for a, b in [(0, 1), (1, 2), (0, 2), (2, 3)]:
        graph[[a, b], [b, a]] = True
    assert local_clustering(graph).tolist() == [1, 1, 1 / 3, 0]
    assert float(average_clustering(graph)) == (0 + 1 / 3 + 1 + 1) / 4
    assert float(average_path_length(graph)) == pytest.approx((4 * 1 + 2 * 2) / 6)
    assert float(diameter(graph)) == 2
    assert float(global_efficiency(graph)) == pytest.approx((4 * 1 + 2 / 2) / 6)
    assert betweenness(graph).tolist() == [0, 0, 2 / 3, 0]
    assert degrees(graph).tolist() == [2, 2, 3, 1]
    table = measure_graphs(graph)
    assert {name: float(value) for name, value in table.items()} == pytest.approx(
        {
            "average_clustering": 7 / 12,
            "average_path_length": 4 / 3,
            "diameter": 2,
            "global_efficiency": 5 / 6,
            "mean_degree": 2,
            "min_degree": 1,
            "max_degree": 3,
            "degree_deviation": 0.5**0.5,
            # ends of edges have degrees (2,2) (2,3) (2,3) (3,1), and back
            "degree_assortativity": -5 / 7,
            # a walk's eigenvalues: 1, -1/2 and the roots of 6 x^2 + 3 x - 1
            "spectral_gap": 1 - (33**0.5 - 3) / 12,
            "max_betweenness": 2 / 3,
            "betweenness_deviation": np.std([0, 0, 2 / 3, 0]),
            "modularity": 0,
        },
        abs=1e-6,
    )


def test_modularity_of_two_cliques():
    """Two cliques of five with one edge between: each community has 10 of 21 edges."""
    graph = nx.to_numpy_array(nx.disjoint_union(nx.complete_graph(5), nx.complete_graph(5))) > 0
    graph[4, 5] = graph[5, 4] = True
    assert float(modularity(graph)) == pytest.approx(2 * (10 / 21 - (21 / 42) ** 2))
    assert modularity(np.zeros((2, 3, 3), bool)).tolist() == [0, 0]


def test_clustering_does_not_depend_on_the_order_of_nodes():
    graph = GENERATORS["ws_flex"](40, sparsity=0.2, p=0.3)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(40)
        assert average_clustering(graph[order][:, order]) == average_clustering(graph)


@pytest.mark.parametrize("name", MEASURES)
def test_one_graph_as_in_any_batch(name, monkeypatch):
    """Alone, among others, in chunks of any size."""
    graphs = np.stack([GENERATORS["ws_flex"](12, sparsity=0.3, p=0.5, seed=s) for s in range(6)])
    measure = MEASURES[name]
    together = measure(graphs)
    assert together.shape == (6,)
    assert measure(graphs.reshape(2, 3, 12, 12)).shape == (2, 3)
    assert measure(graphs[0]).shape == ()
    assert measure(graphs[:0]).shape == (0,)
    alone = [float(measure(graph)) for graph in graphs]
    np.testing.assert_allclose(alone, together, **CLOSE)
    monkeypatch.setattr("nn_graphs.structure.paths.CHUNK_ENTRIES", 4 * 12**2)
    np.testing.assert_allclose(measure(graphs), together, **CLOSE)


def test_measures_of_one_node():
    graph = np.zeros((1, 1), bool)
    values = {name: float(value) for name, value in measure_graphs(graph).items()}
    assert np.isnan(values.pop("degree_assortativity"))
    assert set(values.values()) == {0}


def test_regular_graphs_have_no_assortativity():
    ring, star = GENERATORS["ring"](6), GENERATORS["star"](6)
    found = degree_assortativity(np.stack([ring, star, path_graph(6)]))
    assert np.isnan(found[0])
    assert found[1:].tolist() == pytest.approx([-1, -0.25])


def test_large_numbers_of_triangles_are_exact():
    """A complete graph of 400 nodes has more triangles at a node than float32 can count in one."""
    assert average_clustering(GENERATORS["complete"](400)) == 1


def test_unknown_measures(raises_saying):
    with raises_saying(asked="measure girth", found="no 'girth'", do="average_clustering, "):
        measure_graphs(path_graph(4), ("diameter", "girth"))


def test_disconnected_graphs(raises_saying):
    graphs = np.stack([path_graph(4), np.zeros((4, 4), bool)])
    with raises_saying(
        asked="average path lengths", found="graph 1 of 2 is disconnected", do="global_efficiency"
    ):
        average_path_length(graphs)
    assert average_path_length(graphs, if_disconnected="inf").tolist() == [10 / 6, np.inf]
    assert average_path_length(np.triu(path_graph(3)), if_disconnected="inf") == np.inf


@pytest.mark.parametrize("measure", [degrees, degree_assortativity, spectral_gap, modularity])
def test_directed_where_undirected_is_expected(raises_saying, measure):
    with raises_saying(asked="compute", found="a graph is directed", do="symmetrised"):
        measure(np.triu(path_graph(3)))


@pytest.mark.parametrize("matrix", [np.zeros((2, 3), bool), np.zeros((3, 3))])
def test_matrices_that_are_not_boolean_or_not_square(raises_saying, matrix):
    shape = f"{matrix.dtype} {list(matrix.shape)}"
    for measure in MEASURES.values():
        with raises_saying(asked="measure graphs", found=shape, do="adjacency_matrix"):
            measure(matrix)


@pytest.mark.parametrize(
    ("matrix", "found"),
    [(np.eye(3, dtype=bool), "self loops"), (np.zeros((0, 0), bool), "no nodes")],
)
def test_matrices_that_no_graph_of_ours_has(raises_saying, matrix, found):
    for measure in MEASURES.values():
        with raises_saying(asked="measure graphs", found=found, do="adjacency_matrix"):
            measure(matrix)
