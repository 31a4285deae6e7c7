"""Sets of graphs to train: what they hold, and that they survive a trip to another process."""

import pickle

import numpy as np
import pytest

from nn_graphs.datasets import data_root
from nn_graphs.relational_results.graphs import COMPLETE, GraphSet
from nn_graphs.structure import small_selection


def test_all_graphs_and_the_complete_one(tmp_path):
    graphs = GraphSet(16).read(tmp_path)
    assert [graph.graph_id for graph in graphs] == [*range(48), -1]
    assert graphs[-1] is COMPLETE
    for graph, row in zip(graphs[:3], small_selection(16), strict=False):
        again = pickle.loads(pickle.dumps(graph)).make()
        assert np.array_equal(again.adjacency, graph.make().adjacency)
        assert (graph.clustering, graph.path_length) == tuple(row[4:])


def test_the_best_one(tmp_path):
    graphs = GraphSet(64, division="best", best_of="resnet34_imagenet").read(tmp_path)
    assert [graph.graph_id for graph in graphs] == [37, -1]


@pytest.mark.data
def test_connectomes_are_directed():
    graphs = GraphSet(division="bio").read(data_root())
    assert [graph.name for graph in graphs][-1] == "complete"
    sizes = [graph.make().num_nodes for graph in graphs[:-1]]
    assert sizes == [71, 30, 52]
    assert graphs[0].clustering == pytest.approx(0.503283, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "found", "do"),
    [
        ({"division": "worst"}, "no 'worst'", "bio"),
        ({"division": "best", "best_of": "mlp_cifar10"}, "no published task", "efficientnet"),
        ({"num_nodes": 32}, "no published selection", "sweep"),
        ({"division": "bio"}, "no file", "Put"),
    ],
)
def test_bad_sets(tmp_path, raises_saying, options, found, do):
    with raises_saying(asked="", found=found, do=do):
        GraphSet(**options).read(tmp_path)
