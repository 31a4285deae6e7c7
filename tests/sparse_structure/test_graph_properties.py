"""Properties by hand, and numbers of paths against networkx."""

import networkx as nx
import numpy as np
import pytest

from nn_graphs.sparse_structure import (
    log_num_paths,
    property_table,
    sample_structures,
    structural_properties,
)
from nn_graphs.structure import LayeredGraph

DIAMOND = LayeredGraph.from_edges([0, 0, 1, 2, 0], [1, 2, 3, 3, 3], 5)  # a skip; node 4 is alone


def test_properties_by_hand():
    found = structural_properties(DIAMOND)
    expected = {
        "num_nodes": 5, "num_edges": 5, "density": 0.5, "num_layers": 3, "max_layer_size": 2,
        "num_sources": 2, "num_sinks": 2, "mean_layer_of_sources": 0, "mean_layer_of_sinks": 1,
        "mean_layer": 0.8, "max_in_degree": 3, "max_out_degree": 3, "mean_span": 1.2,
        "max_span": 2, "share_of_skips": 0.2, "log_num_paths": np.log(4), "mean_path_edges": 1.25,
        "layer_size_deviation": np.std([2, 2, 1]),
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert np.isnan(found["average_path_length"])  # node 4 is reached from none


def test_a_graph_of_one_node():
    found = structural_properties(LayeredGraph.from_edges([], [], 1))
    assert found["num_layers"] == 1
    assert found["log_num_paths"] == found["mean_span"] == 0


@pytest.mark.parametrize("seed", range(8))
def test_paths_are_those_of_networkx(seed):
    structure = sample_structures(8, num_nodes=(12, 14), seed=seed)[seed % 6].make()
    graph = structure.to_networkx()
    is_source, is_sink = structure.in_degrees == 0, structure.out_degrees == 0
    sources, sinks = (np.flatnonzero(ends).tolist() for ends in (is_source, is_sink))
    paths = [p for s in sources for t in sinks for p in nx.all_simple_paths(graph, s, t)]
    before = log_num_paths(structure, is_source)
    behind = log_num_paths(structure, is_sink, is_back=True)
    through = np.zeros(len(before))
    for path in paths:
        through[path] += 1
    np.testing.assert_allclose(np.exp(before + behind), through, rtol=1e-9)
    found = structural_properties(structure)
    assert found["log_num_paths"] == pytest.approx(np.log(len(paths)))
    assert found["mean_path_edges"] == pytest.approx(np.mean([len(path) - 1 for path in paths]))


def test_paths_of_deep_graphs_do_not_overflow():
    count = 3000  # the number of paths has hundreds of digits
    sources = np.repeat(np.arange(count - 2), 2)
    targets = np.stack([np.arange(1, count - 1), np.arange(2, count)], 1).ravel()
    found = log_num_paths(LayeredGraph.from_edges(sources, targets, count), np.arange(count) == 0)
    fibonacci = (count - 2) * np.log((1 + 5**0.5) / 2) - np.log(5) / 2
    assert found[-1] == pytest.approx(fibonacci, rel=1e-12)


def test_a_table_has_a_row_a_graph():
    graphs = [one.make() for one in sample_structures(12)]
    table = property_table(graphs)
    assert len(table) == 12
    assert table["num_nodes"].tolist() == [graph.num_nodes for graph in graphs]
    assert np.isfinite(table.drop(columns="degree_assortativity")).all().all()
