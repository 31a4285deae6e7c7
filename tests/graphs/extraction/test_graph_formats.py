"""Graphs for other programs hold the same nodes, edges and attributes."""

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction import (
    extract_graph,
    to_edge_index,
    to_geometric,
    to_networkx,
    to_scipy,
    write_graph,
)
from nn_graphs.graphs.extraction.network_graph import NetworkGraph


@pytest.fixture(scope="module")
def graph() -> NetworkGraph:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)]
    return extract_graph(nn.Sequential(*layers), torch.zeros(1, 1, 5, 5))


def test_a_sparse_matrix_has_a_row_for_each_source(graph):
    matrix = to_scipy(graph)
    assert matrix.shape == (graph.num_nodes, graph.num_nodes)
    np.testing.assert_array_equal(matrix[graph.source, graph.target], graph.weight)
    with pytest.raises(NNGraphsError, match="'weight' or 'count'"):
        to_scipy(graph, values="bias")


def test_edge_arrays(graph):
    np.testing.assert_array_equal(to_edge_index(graph), [graph.source, graph.target])


def test_a_geometric_graph(graph):
    data = to_geometric(graph)
    data.validate()
    assert data.num_nodes == graph.num_nodes
    assert data.num_edges == graph.num_edges
    np.testing.assert_array_equal(data.edge_attr[:, 0], graph.weight)
    np.testing.assert_array_equal(data.x[:, 0], graph.bias())
    np.testing.assert_array_equal(data.kernel_position, graph.kernel_position())
    assert not data.has_self_loops()


def test_networkx_has_all_attributes(graph):
    found = to_networkx(graph)
    assert nx.is_directed_acyclic_graph(found)
    assert not found.is_multigraph()
    assert (found.number_of_nodes(), found.number_of_edges()) == (graph.num_nodes, graph.num_edges)
    source, target = int(graph.source[7]), int(graph.target[7])
    edge = found.edges[source, target]
    assert edge["weight"] == pytest.approx(float(graph.weight[7]))
    assert edge["parameter_id"] == graph.parameter_id[7]
    assert edge["kernel_position"] == graph.kernel_position()[7]
    node = found.nodes[graph.num_nodes - 1]
    assert (node["kind"], node["is_output"], node["name"]) == ("sum", True, "4")
    assert found.nodes[30]["activation"] == "relu"


class Doubled(nn.Module):
    def forward(self, values):
        return values * values


def test_parallel_edges_make_a_multigraph():
    graph = extract_graph(nn.Sequential(nn.Linear(2, 2), Doubled()), torch.zeros(1, 2))
    found = to_networkx(graph)
    assert found.is_multigraph()
    assert found.number_of_edges() == graph.num_edges == 8
    assert to_scipy(graph, values="count").max() == 2
    assert sorted(graph.argument().tolist()) == [0] * 6 + [1] * 2


@pytest.mark.parametrize("ending", ["graphml", "gexf"])
def test_files_can_be_read_again(graph, tmp_path, ending):
    path = tmp_path / f"graph.{ending}"
    write_graph(graph, path)
    found = getattr(nx, f"read_{ending}")(path, node_type=int)
    assert (found.number_of_nodes(), found.number_of_edges()) == (graph.num_nodes, graph.num_edges)
    edge = found.edges[int(graph.source[3]), int(graph.target[3])]
    assert edge["weight"] == pytest.approx(float(graph.weight[3]))
    assert found.nodes[0]["kind"] == "input"


def test_unknown_endings_are_told(graph, tmp_path):
    with pytest.raises(NNGraphsError, match=r"\.graphml or \.gexf"):
        write_graph(graph, tmp_path / "graph.txt")
    with pytest.raises(NNGraphsError, match="Make the folder"):
        write_graph(graph, tmp_path / "none" / "graph.gexf")
