"""Pairs of neurons against a plain list: their numbers, and those without an edge."""

from itertools import combinations

import pytest
import torch
from torch_geometric.data import Batch

from nn_graphs.encoders.vgae.pairs import NodePairs
from tests.graphs.hand_made import hand_made, random_graph

COMPLETE = [(i, j) for j in range(6) for i in range(j)]
GRAPHS = {
    "sparse": lambda: random_graph(9, 10, seed=1),
    "one node": lambda: hand_made(1, []),
    "no edges": lambda: hand_made(4, []),
    "complete": lambda: hand_made(6, COMPLETE),
    "nearly complete": lambda: hand_made(6, COMPLETE[:-1]),
    "two nodes": lambda: hand_made(2, [(0, 1)]),
    "parallel and back": lambda: hand_made(5, [(0, 1), (1, 0), (0, 1), (3, 4)]),
}


def pairs_of(graph) -> NodePairs:
    graph_id = graph.topology.graph_id
    return NodePairs(graph.edge_index, graph_id, num_graphs=graph.num_graphs)


def listed(pairs: NodePairs, numbers: torch.Tensor) -> list[tuple[int, int]]:
    first, second = pairs.ends(numbers)
    return list(zip(first.tolist(), second.tolist(), strict=True))


def plain(graph, start: int = 0) -> tuple[set, set]:
    """Pairs with an edge and without, of neurons counted from `start`."""
    joined = {tuple(sorted(pair)) for pair in graph.edge_index.T.tolist()}
    apart = set(combinations(range(graph.num_nodes), 2)) - joined
    return tuple({(i + start, j + start) for i, j in pairs} for pairs in (joined, apart))


@pytest.mark.parametrize("name", GRAPHS)
def test_one_graph(name):
    graph = GRAPHS[name]()
    pairs, (joined, apart) = pairs_of(graph), plain(graph)
    assert (int(pairs.num_joined), int(pairs.num_apart)) == (len(joined), len(apart))
    found = listed(pairs, pairs.joined)
    assert len(found) == len(joined)
    assert set(found) == joined
    found = listed(pairs, pairs.apart(torch.arange(len(apart))))
    assert len(found) == len(apart)
    assert set(found) == apart


def test_a_batch():
    members = [make() for make in GRAPHS.values()]
    pairs = pairs_of(Batch.from_data_list(members))
    all_apart, start = pairs.apart(torch.arange(int(pairs.num_apart.sum()))), 0
    for number, graph in enumerate(members):
        joined, apart = plain(graph, start)
        start += graph.num_nodes
        assert set(listed(pairs, pairs.joined[pairs.graph(pairs.joined) == number])) == joined
        first = int(pairs.first_apart[number])
        own = all_apart[first : first + int(pairs.num_apart[number])]
        assert (pairs.graph(own) == number).all()
        assert set(listed(pairs, own)) == apart


def test_numbers_of_a_large_graph():
    """Roots of large numbers are rounded: every pair near such a place is found."""
    count = 40_000
    pairs = NodePairs(
        torch.zeros(2, 0, dtype=torch.long), torch.zeros(count, dtype=torch.long), num_graphs=1
    )
    second = torch.tensor([1, 2, 3, 1000, count - 2, count - 1])
    for first in (torch.zeros_like(second), second - 1):
        numbers = second * (second - 1) // 2 + first
        assert listed(pairs, numbers) == list(zip(first.tolist(), second.tolist(), strict=True))
