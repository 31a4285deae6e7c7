"""Adjacency matrices and components of neural graphs, against networkx; norms of kernels."""

from itertools import pairwise

import networkx as nx
import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.undirected_graphs import GraphEdges, edge_norms
from nn_graphs.networks.cnn import wild_park_spec
from nn_graphs.networks.spec import NetworkSpec
from tests.graphs.hand_made import hand_made, random_graph

GRAPHS = [random_graph(7, 9, seed=1), random_graph(7, 4, seed=2), hand_made(7, [])]


def as_networkx(graph, *, is_weighted: bool) -> nx.Graph:
    """Parallel edges add up."""
    result = nx.Graph()
    result.add_nodes_from(range(graph.num_nodes))
    for (first, second), weight in zip(graph.edge_index.T.tolist(), graph.edge_attr, strict=True):
        before = result.get_edge_data(first, second, {"weight": 0.0})["weight"]
        total = before + abs(weight.item()) if is_weighted else 1.0
        result.add_edge(first, second, weight=total)
    return result


def test_matrices():
    parallel = hand_made(7, [(0, 1), (0, 1), (1, 3), (2, 6)], [0.5, -2.0, 3.0, 1.0])
    members = [*GRAPHS, parallel]
    for is_weighted in (False, True):
        edges = GraphEdges(Batch.from_data_list(members), is_weighted=is_weighted)
        for number, graph in enumerate(members):
            (matrix,) = edges.chosen([number]).matrices()
            expected = nx.to_numpy_array(as_networkx(graph, is_weighted=is_weighted))
            assert_close(matrix, torch.from_numpy(expected), rtol=1e-15, atol=0)


def test_some_of_a_batch():
    twin = hand_made(7, GRAPHS[0].edge_index.T.tolist(), torch.arange(9.0))
    members = [random_graph(5, 6, seed=3), *GRAPHS, twin]
    edges = GraphEdges(Batch.from_data_list(members), is_weighted=True)
    assert edges.num_nodes == [5, 7, 7, 7, 7]
    alone = [GraphEdges(members[number], is_weighted=True).chosen([0]) for number in (4, 1)]
    expected = torch.cat([graphs.matrices() for graphs in alone])
    assert torch.equal(edges.chosen([4, 1]).matrices(), expected)
    assert torch.equal(edges.chosen([3]).matrices(), torch.zeros(1, 7, 7, dtype=torch.float64))


def test_components():
    edges = GraphEdges(Batch.from_data_list(GRAPHS), is_weighted=False)
    for number, graph in enumerate(GRAPHS):
        (labels,) = edges.chosen([number]).components()
        found = {frozenset((labels == label).nonzero()[:, 0].tolist()) for label in labels.tolist()}
        known = as_networkx(graph, is_weighted=False)
        assert found == set(map(frozenset, nx.connected_components(known)))


def test_a_long_path_is_one_component():
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0)).tolist()
    path = hand_made(200, [*pairwise(order)])
    labels = GraphEdges(path, is_weighted=False).chosen([0]).components()
    assert (labels == 0).all()


def test_components_by_weights():
    """Those of zero join nothing, in the graph that they are in."""
    template = template_from_spec(NetworkSpec.mlp((2, 3, 1), activation="relu"))
    params = torch.ones(3, template.num_params)
    params[1] = 0
    labels = GraphEdges(template.stack(params), is_weighted=True).chosen(range(3)).components()
    assert labels.tolist() == [[0] * 6, [*range(6)], [0] * 6]
    labels = GraphEdges(template.stack(params), is_weighted=True).chosen([0, 2]).components()
    assert labels.tolist() == [[0] * 6]


SIDES = {
    "path": (hand_made(5, [*pairwise(range(5))]), [1, 3], [0, 2, 4]),
    "even circle": (hand_made(4, [(0, 1), (1, 2), (2, 3), (0, 3)]), [0, 2], [1, 3]),
    "parallel": (hand_made(3, [(0, 1), (0, 1), (2, 1)]), [1], [0, 2]),
    "two parts": (hand_made(6, [(0, 5), (1, 2), (2, 3)]), [2, 5], [0, 1, 3, 4]),
    "no edges": (hand_made(2, []), [], [0, 1]),
}


@pytest.mark.parametrize("name", SIDES)
def test_sides(name):
    graph, *expected = SIDES[name]
    joined = GraphEdges(graph, is_weighted=False).chosen([0]).joined
    assert [side.tolist() for side in joined.sides] == expected


def test_odd_circles_have_no_sides():
    triangle = [(0, 1), (1, 2), (0, 2)]
    for edges in (triangle, [(3, 4), *triangle], [(1, 1)], [*pairwise(range(5)), (0, 4)]):
        assert GraphEdges(hand_made(5, edges), is_weighted=False).chosen([0]).joined.sides is None


def test_sides_are_networkxs():
    count = 0
    for seed in range(40):
        graph = random_graph(8, 7, seed=seed)
        sides = GraphEdges(graph, is_weighted=False).chosen([0]).joined.sides
        assert (sides is not None) == nx.is_bipartite(as_networkx(graph, is_weighted=False))
        count += sides is not None
        if sides is not None:
            assert not (torch.isin(graph.edge_index, sides[0]).sum(0) != 1).any()
    assert 0 < count < 40


def test_what_is_joined_is_found_once_for_a_template():
    template = template_from_spec(NetworkSpec.mlp((2, 3, 1), activation="relu"))
    stacks = [template.stack(torch.ones(count, template.num_params)) for count in (1, 4)]
    one, other = (GraphEdges(stack, is_weighted=True).chosen([0]).joined for stack in stacks)
    assert one is other


def test_weights_of_zero_join_nothing():
    graph = hand_made(3, [(0, 1), (1, 2)], [1.0, 0.0])
    weighted = GraphEdges(graph, is_weighted=True).chosen([0]).components()
    assert weighted.tolist() == [[0, 0, 2]]
    assert GraphEdges(graph, is_weighted=False).chosen([0]).components().tolist() == [[0, 0, 0]]


def test_norms_of_kernels():
    spec = wild_park_spec((2, 3, 4, 3), (3, 1, 5), activations=("relu",) * 3, residuals=(-1, -1, 0))
    template = template_from_spec(spec)
    params = torch.randn(2, template.num_params, generator=torch.Generator().manual_seed(0))
    stack = template.stack(params)
    centred = template.centred(stack, (5, 5))
    first = template.parameters.unflatten(params)["layers.0.weight"]
    norms = edge_norms(centred)
    assert_close(norms[:, :6], first.flatten(-2).norm(dim=-1).flatten(1))
    assert_close(norms, edge_norms(stack))
