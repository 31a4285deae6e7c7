"""Stages that many graphs share: every edge leads to a later one, and few places stay empty."""

import numpy as np
import pytest

from nn_graphs.networks.dag.common_stages import common_stages
from nn_graphs.structure.framing import complete_layers, frame
from nn_graphs.structure.layered_graph import LayeredGraph
from tests.networks.dag.structures import random_structure, small_world


@pytest.mark.parametrize("first", range(0, 60, 6))
def test_every_edge_leads_to_a_later_stage_with_places_enough(first):
    graphs = [frame(random_structure(seed), 3, 2) for seed in range(first, first + 6)]
    sizes, stages = common_stages(graphs)
    assert (sizes > 0).all()
    for graph, own in zip(graphs, stages, strict=True):
        assert (own[graph.sources] < own[graph.targets]).all()
        assert (np.bincount(own, minlength=len(sizes)) <= sizes).all()
        assert np.array_equal(own == 0, graph.layers == 0)
        assert np.array_equal(own == len(sizes) - 1, graph.layers == graph.num_layers - 1)


def test_a_graph_alone_needs_no_more_places_than_nodes():
    for graph in (small_world(50), complete_layers([4, 4, 4])):
        sizes, _ = common_stages([frame(graph, 3, 2)])
        assert graph.num_nodes <= sizes[1:-1].sum() <= 1.2 * graph.num_nodes
        assert len(sizes) <= 1.1 * (graph.num_layers + 2)


def test_nodes_that_may_wait_leave_their_places_to_others():
    """A path of four and, beside it, one node and its three followers: layers are 2, 4, 1, 1."""
    graph = LayeredGraph.from_edges([0, 1, 2, 4, 4, 4], [1, 2, 3, 5, 6, 7])
    sizes, (stages,) = common_stages([frame(graph, 1, 1)])
    assert sizes.tolist() == [1, 2, 2, 2, 2, 1]
    assert stages[1:5].tolist() == [1, 2, 3, 4]
    wide = complete_layers([1, 1, 1, 1])
    sizes, _ = common_stages([frame(graph, 1, 1), frame(wide, 1, 1)])
    assert sizes.tolist() == [1, 2, 2, 2, 2, 1]


def test_many_graphs_share_narrower_stages_than_layers():
    graphs = [frame(small_world(60, degree=6, seed=seed), 4, 2) for seed in range(12)]
    sizes, _ = common_stages(graphs)
    depth = max(graph.num_layers for graph in graphs)
    layers = np.zeros(depth, int)
    for graph in graphs:
        own = graph.layer_sizes
        layers[: len(own)] = np.maximum(layers[: len(own)], own)
    assert sizes[1:-1].sum() < 0.85 * layers[1:-1].sum()
