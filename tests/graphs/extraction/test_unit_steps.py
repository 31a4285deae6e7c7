"""Steps between layers become nodes, or move the numbers of nodes; zeros count where they must."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nn_graphs.graphs.extraction import extract_graph
from tests.graphs.convolutional import Net
from tests.graphs.extraction.test_unit_level import TOLERANCE, largest_difference

STEPS = {
    "zeros in a maximum": lambda x: F.max_pool2d(F.pad(x, (1, 2, 0, 1)) - 5.0, 2),
    "zeros, then a maximum": lambda x: F.max_pool2d(F.pad(-x.abs(), (1, 2, 0, 1)), 2),
    "a constant around": lambda x: F.pad(x, (1, 0, 2, 1), value=0.7),
    "maximum with padding": lambda x: F.max_pool2d(x, 3, 2, 1),
    "maximum with dilation": lambda x: F.max_pool2d(x, 2, 1, 0, 2),
    "maximum with a rim": lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
    "average with padding": lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0)),
    "average without the padding": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "average with a rim": lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True),
    "average of a sum": lambda x: F.avg_pool2d(x, 2, divisor_override=1),
    "adaptive maximum": lambda x: F.adaptive_max_pool2d(x, (3, 4)),
    "adaptive average": lambda x: F.adaptive_avg_pool2d(x, (4, 3)),
    "corners": lambda x: F.interpolate(x, (9, 5), mode="bilinear", align_corners=True),
    "resized": lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
    "nearest": lambda x: F.interpolate(x, (9, 5), mode="nearest"),
    "variance": lambda x: x.var((2, 3), keepdim=True) * x,
    "deviation": lambda x: x.std((2, 3), correction=0, keepdim=True) + x,
    "smallest": lambda x: x.amin((2, 3), keepdim=True) + x,
    "norm": lambda x: x / (torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True) + 1),
    "softmax over places": lambda x: torch.softmax(x, 3),
    "its logarithm": lambda x: torch.log_softmax(x, 2),
    "turned": lambda x: x.flip(2).roll(1, 3),
    "every second": lambda x: x[:, :, ::2, 1:],
    "two readers": lambda x: torch.cat([F.max_pool2d(x, 2), -F.max_pool2d(x, 2)], 1)[:, :4],
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_runs(name):
    torch.manual_seed(1)
    module = Net(
        lambda m, x: m.last(STEPS[name](m.first(x))),
        first=nn.Conv2d(2, 4, 2),
        last=nn.Conv2d(4, 3, 2),
    ).double()
    inputs = torch.randn(3, 2, 7, 8).double()
    assert largest_difference(extract_graph(module, inputs), module, inputs) < TOLERANCE


def test_one_pooling_that_two_read_is_one_layer():
    def forward(m, x):
        pooled = F.max_pool2d(m.first(x), 2)
        return m.left(pooled) + m.right(pooled[:, :2])

    layers = {"left": nn.Conv2d(4, 3, 1), "right": nn.Conv2d(2, 3, 1)}
    module = Net(forward, first=nn.Conv2d(2, 4, 2), **layers).double()
    inputs = torch.randn(2, 2, 5, 5).double()
    graph = extract_graph(module, inputs)
    assert [layer.kind for layer in graph.layers].count("maximum") == 1
    assert largest_difference(graph, module, inputs) < TOLERANCE


def test_a_window_of_a_pooling_is_what_it_sees():
    graph = extract_graph(nn.Sequential(nn.MaxPool2d(2), nn.ReLU()), torch.zeros(1, 1, 4, 6))
    pooled = next(layer for layer in graph.layers if layer.kind == "maximum")
    into = (graph.target >= pooled.start) & (graph.target < pooled.stop)
    first = np.sort(graph.source[into & (graph.target == pooled.start)])
    np.testing.assert_array_equal(first, [0, 1, 6, 7])
    assert into.sum() == 24


def test_zeros_of_padding_have_no_edges():
    module = nn.Sequential(nn.ZeroPad2d(2), nn.Conv2d(1, 1, 3))
    plain = nn.Conv2d(1, 1, 3, padding=2)
    inputs = torch.zeros(1, 1, 4, 5)
    first, second = (extract_graph(own, inputs) for own in (module, plain))
    np.testing.assert_array_equal(first.source, second.source)
    np.testing.assert_array_equal(first.target, second.target)
