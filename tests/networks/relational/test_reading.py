"""The relational graph comes back out of the masks of a network."""

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn

from nn_graphs.networks.masked import MaskedLinear
from nn_graphs.networks.relational.architectures import ARCHITECTURES
from nn_graphs.networks.relational.graph import RelationalGraph
from nn_graphs.networks.relational.network import RelationalNetwork
from nn_graphs.networks.relational.reading import read_relational_graph
from tests.networks.relational.cases import small, small_graph


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_graph_comes_back(name):
    graph = small_graph()
    network = RelationalNetwork(small(name), graph)
    assert np.array_equal(read_relational_graph(network, graph.num_nodes), graph.adjacency)


@pytest.mark.parametrize(
    ("graph", "is_directed"),
    [
        (nx.complete_graph(6), False),
        (nx.path_graph(6), False),
        (nx.DiGraph([(0, 1), (2, 1)]), True),
    ],
)
def test_graphs_whose_nodes_look_alike_and_directed_ones(graph, is_directed):
    relational = RelationalGraph(graph, is_directed=is_directed)
    network = RelationalNetwork(small("mlp"), relational, widths=(20,))
    adjacency = read_relational_graph(network, len(graph))
    assert np.array_equal(adjacency, nx.to_numpy_array(graph, weight=None) != 0)


def test_layers_with_fewer_channels_are_left_out():
    graph = small_graph(12)
    network = RelationalNetwork(small("efficientnet_b0"), graph, widths=(9, 9, 16, 16, 16, 16, 16))
    assert np.array_equal(read_relational_graph(network, 12), graph.adjacency)


def make_linear(mask: np.ndarray) -> MaskedLinear:
    return MaskedLinear(*mask.shape[::-1], mask=torch.from_numpy(mask))


def test_what_is_no_relational_graph(raises_saying):
    mask = RelationalGraph(nx.path_graph(4)).mask(10, 9)
    pruned, deaf = mask.copy(), mask.copy()
    pruned[0, 0] = False
    deaf[:2, :2] = False
    for broken, found in [(pruned, "nodes 0 and 0 only in part"), (deaf, "not every node hears")]:
        with raises_saying(asked="of 4 nodes out of a MaskedLinear", found=found, do="made from"):
            read_relational_graph(make_linear(broken), 4)
    with raises_saying(asked="of 20 nodes", found="no masked layer", do="number of nodes"):
        read_relational_graph(make_linear(mask), 20)
    with raises_saying(asked="of 4 nodes", found="no masked layer", do="number of nodes"):
        read_relational_graph(nn.Linear(9, 9), 4)


def test_layers_of_different_graphs(raises_saying):
    masks = [RelationalGraph(graph).mask(8, 8) for graph in (nx.path_graph(4), nx.star_graph(3))]
    network = nn.Sequential(*map(make_linear, masks))
    with raises_saying(asked="out of a Sequential", found="0 and 1 follow different", do="a layer"):
        read_relational_graph(network, 4)
