"""The way in: levels, sizes known before, limits, and what is told of bad input."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction import LEVELS, TracedNetwork, extract_graph
from tests.graphs.convolutional import CASES


def small_cnn() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    )


IMAGES = torch.zeros(5, 2, 6, 6)


@cache
def traced(name: str) -> TracedNetwork:
    return TracedNetwork(CASES[name].module(), CASES[name].inputs())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("threshold", [0.0, 0.1, None])
@pytest.mark.parametrize("name", ["ResNet-50", "transposed with groups", "joined places"])
def test_the_size_is_known_before(level, threshold, name):
    network = traced(name)
    size = network.size(level, threshold=threshold)
    assert size == network.graph(level, threshold=threshold).size


def test_a_limit_tells_the_numbers_and_the_level_that_fits():
    network = TracedNetwork(small_cnn(), IMAGES)
    size = network.size("unit")
    with pytest.raises(NNGraphsError) as caught:
        network.graph("unit", max_edges=size.num_edges - 1)
    assert f"{size.num_edges:,}" in str(caught.value)
    assert "neuron: " in str(caught.value)
    assert "stream_edges" in str(caught.value)
    assert network.graph("unit", max_edges=size.num_edges).num_edges == size.num_edges
    assert network.graph("unit", max_edges=None).num_edges == size.num_edges
    with pytest.raises(NNGraphsError, match="No coarser level fits"):
        network.graph("unit", max_edges=0)


def test_a_graph_too_large_for_memory_is_refused_at_once():
    module = nn.Sequential(nn.Conv2d(64, 256, 7), nn.ReLU(), nn.Conv2d(256, 256, 7))
    network = TracedNetwork(module, torch.zeros(1, 64, 512, 512))
    size = network.size("unit")
    assert size.num_edges == 506**2 * 49 * 64 * 256 + 500**2 * 49 * 256 * 256
    with pytest.raises(NNGraphsError, match=r"1,008,..*neuron"):
        network.graph("unit")


@pytest.mark.parametrize(
    ("level", "near"), [("units", "unit"), ("neurons", "neuron"), ("Layer", "layer"), ("x", "unit")]
)
def test_an_unknown_level_is_told_with_the_nearest(level, near):
    with pytest.raises(NNGraphsError, match=repr(near)):
        extract_graph(small_cnn(), IMAGES, level=level)


@pytest.mark.parametrize("threshold", [float("nan"), -0.1, -float("inf")])
def test_thresholds_that_mean_nothing_are_refused(threshold):
    with pytest.raises(NNGraphsError, match="at least 0"):
        extract_graph(small_cnn(), IMAGES, threshold=threshold)


def test_a_threshold_may_remove_every_weight():
    graph = extract_graph(small_cnn(), IMAGES, threshold=float("inf"))
    assert graph.num_nodes > 0
    assert (graph.parameter_id == -1).all()


class Branching(nn.Module):
    def forward(self, values):
        return values if values.sum() > 0 else -values


def test_the_error_of_the_tracer_passes():
    with pytest.raises(NNGraphsError, match="not branch on their values"):
        extract_graph(Branching(), torch.zeros(1, 3))
    with pytest.raises(NNGraphsError, match=r"cummax|unknown"):
        extract_graph(Cumulative(), torch.zeros(1, 3))


class Cumulative(nn.Module):
    def forward(self, values):
        return torch.cummax(values, 1)[0]


def test_weights_that_are_nan_are_refused():
    module = small_cnn()
    module[0].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(NNGraphsError, match=r"NaN.*0.weight"):
        extract_graph(module, IMAGES)


def test_precision_is_the_modules():
    assert extract_graph(small_cnn().double(), IMAGES.double()).weight.dtype == np.float64
    assert extract_graph(small_cnn(), IMAGES).weight.dtype == np.float32
    half = small_cnn().bfloat16()
    assert extract_graph(half, IMAGES.bfloat16()).weight.dtype == np.float32
