"""Masks of relational graphs: against an edge list, counted without making them, bad graphs."""

import networkx as nx
import numpy as np
import pytest

from nn_graphs.networks.relational.graph import RelationalGraph
from nn_graphs.networks.relational.partition import group_sizes
from nn_graphs.structure.generators import GraphRecipe
from tests.networks.relational.cases import BEST_MLP, graph_of_row

PATH = nx.to_numpy_array(nx.path_graph(4), weight=None) != 0


def plain_mask(graph: nx.Graph, in_channels: int, out_channels: int) -> np.ndarray:
    """The mask, weight by weight."""
    of_in, of_out = (
        [node for node, size in enumerate(group_sizes(channels, len(graph))) for _ in range(size)]
        for channels in (in_channels, out_channels)
    )
    return np.array(
        [[to == source or graph.has_edge(to, source) for source in of_in] for to in of_out]
    )


@pytest.mark.parametrize("is_directed", [False, True])
@pytest.mark.parametrize("channels", [(7, 7), (9, 14), (23, 8)])
def test_mask_is_that_of_the_edge_list(is_directed, channels):
    kind = nx.DiGraph if is_directed else nx.Graph
    graph = nx.gnp_random_graph(7, 0.4, seed=3, directed=is_directed)
    assert nx.is_connected(graph.to_undirected())
    relational = RelationalGraph(kind(graph), is_directed=is_directed)
    mask = relational.mask(*channels)
    assert mask.shape == channels[::-1]
    assert np.array_equal(mask, plain_mask(graph, *channels))


def test_connections_are_counted_without_the_mask():
    graph = RelationalGraph(nx.gnp_random_graph(7, 0.4, seed=3, directed=True), is_directed=True)
    for channels in [(7, 7), (7, 30), (21, 22), (50, 13)]:
        assert graph.num_connections(*channels) == graph.mask(*channels).sum()


def test_connections_of_a_published_layer():
    graph = graph_of_row(BEST_MLP)
    assert graph.adjacency.sum() // 2 == 262
    assert graph.num_connections(512, 1522) == 111_872


def test_complete_graph_is_dense():
    assert RelationalGraph(nx.complete_graph(5)).mask(11, 12).all()


def test_fewer_channels_than_nodes_take_a_smaller_graph_of_the_same_recipe():
    recipe = GraphRecipe("ws_flex", 16, {"sparsity": 0.35, "p": 0.2}, seed=2)
    graph = RelationalGraph.from_recipe(recipe)
    smaller = RelationalGraph(recipe.resized(14).make())
    assert np.array_equal(graph.mask(14, 96), smaller.mask(14, 96))
    assert graph.num_connections(96, 14) == smaller.num_connections(96, 14)
    assert not np.array_equal(smaller.adjacency, graph.adjacency[:14, :14])  # not a part of it


def test_fewer_channels_than_nodes_of_a_graph_of_one_size(raises_saying):
    graph = RelationalGraph(PATH)
    for count in (graph.mask, graph.num_connections):
        with raises_saying(
            asked="3 and 8 channels of a layer over the 4 nodes",
            found="more nodes than channels",
            do="RelationalGraph.from_recipe",
        ):
            count(3, 8)


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        (PATH[:3], "[3, 4], not square"),
        (PATH | np.eye(4, dtype=bool), "4 nodes have self loops"),
        (np.triu(PATH), "it is directed"),
        (nx.to_numpy_array(nx.empty_graph(3)) != 0, "disconnected: 3 pieces"),
    ],
)
def test_bad_graphs(raises_saying, graph, found):
    with raises_saying(asked="use this as a relational graph", found=found, do=""):
        RelationalGraph(graph)
