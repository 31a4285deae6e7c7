"""Spectra of graphs with two sides, by the square of one, against the whole matrix."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from nn_graphs.graphs import adjacency_spectra, positional
from nn_graphs.graphs.adjacency_spectra import IS_MOVED, LEAST_SINGULAR, largest_eigenvectors
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.positional import LaplacianEncoding
from nn_graphs.graphs.undirected_graphs import GraphEdges, UndirectedGraphs
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.spec import NetworkSpec
from tests.graphs.hand_made import hand_made


def two_sided(num_one: int, num_other: int, num_edges: int, *, seed: int = 0) -> NeuralGraph:
    """Normal weights between random neurons of two sides."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.cartesian_prod(torch.arange(num_one), torch.arange(num_other) + num_one)
    chosen = torch.randperm(len(pairs), generator=generator)[:num_edges]
    weights = torch.randn(num_edges, dtype=torch.float64, generator=generator)
    return hand_made(num_one + num_other, pairs[chosen].tolist(), weights)


def apart(*graphs: NeuralGraph, num_isolated: int = 0) -> NeuralGraph:
    edges, weights, start = [], [], 0
    for graph in graphs:
        edges += (graph.edge_index + start).T.tolist()
        weights += graph.edge_attr.flatten().tolist()
        start += graph.num_nodes
    return hand_made(start + num_isolated, edges, weights)


GRAPHS = {
    "square": lambda: two_sided(9, 9, 81),
    "rectangular": lambda: two_sided(8, 30, 200),
    "upright": lambda: two_sided(30, 8, 200),
    "sparse": lambda: two_sided(16, 16, 40),  # with neurons without edges
    "disconnected": lambda: apart(two_sided(6, 9, 54, seed=1), two_sided(7, 5, 35, seed=2)),
    "isolated": lambda: apart(two_sided(8, 9, 72), num_isolated=5),
    "twins": lambda: apart(*[two_sided(5, 6, 30)] * 3),  # every eigenvalue three times
    "tied weakly": lambda: hand_made(20, [*pairwise(range(20))], [1.0] * 9 + [1e-13] + [2.0] * 9),
}


def graphs_of(graph: NeuralGraph) -> UndirectedGraphs:
    return GraphEdges(graph, is_weighted=True).chosen([0])


def assert_same_spaces(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> None:
    """Equal eigenvalues, and vectors that span the same spaces; of the last one, a part maybe."""
    assert_close(one[0], other[0], rtol=0, atol=1e-9)
    vectors, expected = one[1][0], other[1][0]
    assert_close(vectors.T @ vectors, torch.eye(vectors.shape[1]).double(), rtol=0, atol=1e-9)
    values = other[0][0]
    for value in values[values - values[-1] > 1e-6]:
        chosen = (values - value).abs() < 1e-6
        projectors = [each[:, chosen] @ each[:, chosen].T for each in (vectors, expected)]
        assert_close(*projectors, rtol=0, atol=1e-8)


def of_whole(graphs: UndirectedGraphs, count: int, monkeypatch) -> tuple[Tensor, Tensor]:
    with monkeypatch.context() as patch:
        patch.setattr(adjacency_spectra, "_of_sides", None)
        patch.setitem(vars(graphs.joined), "sides", None)
        return largest_eigenvectors(graphs, count)


@pytest.mark.parametrize("name", GRAPHS)
def test_by_sides_as_by_the_whole_matrix(name, monkeypatch):
    graphs = graphs_of(GRAPHS[name]())
    expected = of_whole(graphs, 6, monkeypatch)
    assert graphs.joined.sides is not None
    with monkeypatch.context() as patch:
        patch.setattr(adjacency_spectra, "_of_whole", None)  # the sides are enough
        found = largest_eigenvectors(graphs, 6)
    assert_same_spaces(found, expected)


@pytest.mark.parametrize("count", [3, 9, 17, 18, 40])
@pytest.mark.parametrize("name", GRAPHS)
def test_more_than_a_side_tells(name, count, monkeypatch):
    """Then kernels, negative and trivial ones follow."""
    graphs = graphs_of(GRAPHS[name]())
    assert_same_spaces(largest_eigenvectors(graphs, count), of_whole(graphs, count, monkeypatch))


def test_graphs_without_edges():
    values, vectors = largest_eigenvectors(graphs_of(hand_made(4, [])), 3)
    assert (values < IS_MOVED).all()
    assert vectors.shape == (1, 4, 3)


def stack_of(spec: NetworkSpec, count: int) -> UndirectedGraphs:
    template = template_from_spec(spec)
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(count, template.num_params, generator=generator)
    return GraphEdges(template.stack(params), is_weighted=True).chosen(range(count))


@pytest.mark.parametrize(
    "spec", [NetworkSpec.mlp((2, 16, 16, 1), activation="relu"), small_cnn_zoo_spec()]
)
def test_networks_without_skips_are_solved_by_sides(spec, monkeypatch):
    graphs = stack_of(spec, 5)
    expected = of_whole(graphs, 9, monkeypatch)
    monkeypatch.setattr(adjacency_spectra, "_of_whole", None)
    found = largest_eigenvectors(graphs, 9)
    for number in range(5):
        pair = (tuple(each[number : number + 1] for each in side) for side in (found, expected))
        assert_same_spaces(*pair)


def test_graphs_with_small_values_alone_are_solved_as_a_whole(monkeypatch):
    graphs = stack_of(NetworkSpec.mlp((2, 16, 16, 1), activation="relu"), 4)
    graphs.weight[2] = 1.0  # of rank 3: most eigenvalues are 0
    asked = []
    whole = adjacency_spectra._of_whole

    def noted(chosen, count):
        asked.append(chosen.num_graphs)
        return whole(chosen, count)

    monkeypatch.setattr(adjacency_spectra, "_of_whole", noted)
    values, vectors = largest_eigenvectors(graphs, 6)
    assert asked == [1]
    assert (values[2, 2:].abs() < 1e-12).all()
    assert (values[[0, 1, 3]] > LEAST_SINGULAR).all()
    alone = of_whole(graphs.of(torch.tensor([False, False, True, False])), 6, monkeypatch)
    assert_close(vectors[2:3], alone[1])


def test_skips_close_odd_circles():
    plain = NetworkSpec.mlp((2, 4, 4, 4, 1), activation="relu")
    assert stack_of(plain, 2).joined.sides is not None
    skipping = hand_made(4, [(0, 1), (1, 2), (2, 3), (0, 2)])
    assert graphs_of(skipping).joined.sides is None


@pytest.mark.parametrize("name", ["rectangular", "disconnected", "isolated"])
def test_encodings_by_sides(name, monkeypatch):
    graph = GRAPHS[name]()
    encoding = LaplacianEncoding(5, is_weighted=True)
    found = encoding(graph)
    monkeypatch.setattr(positional, "largest_eigenvectors", adjacency_spectra._of_whole)
    assert_close(found, encoding(graph), rtol=0, atol=1e-8)  # signs too
