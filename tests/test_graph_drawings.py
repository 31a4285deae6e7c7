"""Drawings of graphs: where nodes stand, what is drawn, what is refused."""

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graph_drawings import (
    layered_positions,
    plot_layered_graph,
    plot_masks,
    plot_network_graph,
    plot_survivors,
    surviving_nodes,
)
from nn_graphs.graphs.extraction import NetworkGraph, extract_graph


def pruned() -> NetworkGraph:
    """2-3-1, without the edges of the last hidden neuron out and of the second into it."""
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    module[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.5, -1.0]])
    module[2].weight.data = torch.tensor([[1.0, 1.0, 0.0]])
    return extract_graph(module, torch.zeros(1, 2))


def num_lines(figure: Figure) -> int:
    collections = figure.axes[0].collections
    return sum(len(c.get_paths()) for c in collections if isinstance(c, LineCollection))


def crossings(positions: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> int:
    """Pairs of edges between the same two layers that cross."""
    start, end = positions[sources], positions[targets]
    same = (start[:, None, 0] == start[None, :, 0]) & (end[:, None, 0] == end[None, :, 0])
    turned = (start[:, None, 1] - start[None, :, 1]) * (end[:, None, 1] - end[None, :, 1]) < 0
    return int((same & turned).sum()) // 2


def test_columns_are_layers_and_heights_are_apart():
    rng = np.random.default_rng(0)
    layers = np.repeat(np.arange(4), [3, 6, 5, 2])
    sources, targets = rng.integers(0, 9, 30), rng.integers(9, 16, 30)
    positions = layered_positions(sources, targets, layers)
    np.testing.assert_array_equal(positions[:, 0], layers)
    assert (positions[:, 1] > 0).all()
    assert (positions[:, 1] < 1).all()
    assert len(np.unique(positions, axis=0)) == 16


def test_barycentres_untangle_chains():
    """Six chains whose nodes are shuffled in every layer are drawn without a crossing."""
    rng = np.random.default_rng(1)
    orders = [rng.permutation(6) + 6 * layer for layer in range(5)]
    sources, targets = np.concatenate(orders[:-1]), np.concatenate(orders[1:])
    layers = np.repeat(np.arange(5), 6)
    assert crossings(layered_positions(sources, targets, layers), sources, targets) == 0


def test_a_graph_is_drawn_edge_by_edge():
    graph = pruned()
    figure = plot_network_graph(graph, title="small")
    assert num_lines(figure) == graph.num_edges
    assert len(figure.axes[0].collections[-1].get_offsets()) == graph.num_nodes
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        "input\n2",
        "0\n3",
        "2\n1",
    ]


def test_edges_over_a_layer_are_bent():
    ends = np.array([0, 0, 1]), np.array([1, 2, 2])
    figure = plot_layered_graph(*ends, np.arange(3))
    paths = figure.axes[0].collections[0].get_segments()
    heights = [np.ptp(path[:, 1]) for path in paths]
    assert heights[0] == heights[2] == 0
    assert heights[1] > 0.1


def test_survivors_lie_on_paths():
    graph = pruned()
    assert surviving_nodes(graph).tolist() == [True, False, True, False, False, True]
    figure = plot_survivors(graph)
    assert num_lines(figure) == graph.num_edges
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == ["2 edges on paths", "3 dead edges", "3 nodes off all paths"]


def test_masks_are_shares_of_kernels():
    mask = np.zeros((2, 3, 2, 2), dtype=bool)
    mask[0, 0], mask[1, 2, 0] = True, True
    figure = plot_masks({"convolution": mask, "linear": np.eye(3)})
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(image, [[1, 0, 0], [0, 0, 0.5]])
    assert figure.axes[0].get_title() == "convolution: 25.0% left"


def test_what_cannot_be_drawn_is_told():
    many = np.zeros(20_001, dtype=int)
    with pytest.raises(NNGraphsError, match="coarser level"):
        plot_layered_graph(many, many + 1, np.arange(2))
    with pytest.raises(NNGraphsError, match="later layer"):
        plot_layered_graph(np.array([1]), np.array([0]), np.arange(2))
    with pytest.raises(NNGraphsError, match="no nodes"):
        plot_layered_graph(np.array([], int), np.array([], int), np.array([], int))
    with pytest.raises(NNGraphsError, match=r"bias is \[3\]"):
        plot_masks({"bias": np.ones(3)})
    with pytest.raises(NNGraphsError, match="there are none"):
        plot_masks({})
