"""Layered graphs as data of torch-geometric."""

import pytest
from torch_geometric.data import Batch, Data

from nn_graphs.graphs.layered_data import layered_graph_data, layered_graph_of_data
from nn_graphs.structure.layered_graph import LayeredGraph

GRAPHS = [
    LayeredGraph.from_edges([0, 1, 0], [1, 2, 2], 4),
    LayeredGraph.from_edges([2], [0], 3, layers=[2, 1, 0]),
    LayeredGraph.from_edges([], [], 2),
]


@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
def test_graphs_come_back(graph):
    data = layered_graph_data(graph)
    assert data.edge_index.shape == (2, graph.num_edges)
    assert layered_graph_of_data(data).equals(graph)


def test_graphs_come_back_out_of_a_batch():
    """Nodes are renumbered there, layers are not."""
    batch = Batch.from_data_list([layered_graph_data(graph) for graph in GRAPHS])
    assert batch.layer_id.tolist() == [layer for graph in GRAPHS for layer in graph.layers]
    assert all(layered_graph_of_data(batch[n]).equals(graph) for n, graph in enumerate(GRAPHS))


def test_data_without_layers_get_those_of_the_longest_path():
    data = layered_graph_data(GRAPHS[0])
    del data.layer_id
    assert layered_graph_of_data(data).equals(GRAPHS[0])


def test_data_without_edges(raises_saying):
    with raises_saying(asked="from data", found="no edge_index, only num_nodes", do="edge_index"):
        layered_graph_of_data(Data(num_nodes=2))
