"""Adjacency matrices and components of neural graphs, against networkx; norms of kernels."""

from itertools import pairwise

import networkx as nx
import torch
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.undirected_graphs import GraphEdges, edge_norms
from nn_graphs.networks.cnn import wild_park_spec
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
        found = edges.chosen([0, 1, 2, 3]).matrices()
        for matrix, graph in zip(found, members, strict=True):
            expected = nx.to_numpy_array(as_networkx(graph, is_weighted=is_weighted))
            assert_close(matrix, torch.from_numpy(expected), rtol=1e-15, atol=0)


def test_some_of_a_batch():
    members = [random_graph(5, 6, seed=3), *GRAPHS]
    edges = GraphEdges(Batch.from_data_list(members), is_weighted=True)
    assert edges.num_nodes == [5, 7, 7, 7]
    alone = [GraphEdges(members[number], is_weighted=True).chosen([0]) for number in (3, 1)]
    expected = torch.cat([graphs.matrices() for graphs in alone])
    assert torch.equal(edges.chosen([3, 1]).matrices(), expected)


def test_components():
    edges = GraphEdges(Batch.from_data_list(GRAPHS), is_weighted=False)
    labels = edges.chosen([0, 1, 2]).components()
    for number, graph in enumerate(GRAPHS):
        found = {
            frozenset((labels[number] == label).nonzero()[:, 0].tolist())
            for label in labels[number].tolist()
        }
        known = as_networkx(graph, is_weighted=False)
        assert found == set(map(frozenset, nx.connected_components(known)))


def test_a_long_path_is_one_component():
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0)).tolist()
    path = hand_made(200, [*pairwise(order)])
    labels = GraphEdges(path, is_weighted=False).chosen([0]).components()
    assert (labels == 0).all()


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
