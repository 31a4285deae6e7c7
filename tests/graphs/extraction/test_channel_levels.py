"""Graphs of channels, layers and modules."""

import numpy as np
import torch
from torch import nn

from nn_graphs.graphs.extraction import extract_graph, to_scipy
from tests.graphs.convolutional import CASES, Net


def residual() -> nn.Module:
    torch.manual_seed(0)
    return Net(
        lambda m, x: m.head(torch.relu(m.norm(m.inner(x)) + x).mean((2, 3))),
        inner=nn.Conv2d(4, 4, 3, padding=1, groups=2),
        norm=nn.BatchNorm2d(4),
        head=nn.Linear(4, 2),
    ).eval()


IMAGES = torch.zeros(1, 4, 5, 5)


def test_a_kernel_is_one_edge_with_its_size_for_a_weight():
    module = residual()
    graph = extract_graph(module, IMAGES, level="neuron")
    first = next(own for own in graph.ranges if own.parameter == "inner.weight")
    kernels = module.inner.weight.detach().flatten(1, 1).reshape(4, 2, 9).numpy()
    edges = graph.edges(first.start, first.stop)
    np.testing.assert_allclose(edges.weight, np.linalg.norm(kernels, axis=2).reshape(-1), rtol=1e-6)
    np.testing.assert_array_equal(edges.source, [0, 1, 0, 1, 2, 3, 2, 3])
    np.testing.assert_array_equal(edges.parameter - first.first_parameter, range(0, 72, 9))


def test_channels_have_the_edges_of_the_template():
    graph = extract_graph(residual(), IMAGES, level="neuron")
    assert [layer.shape for layer in graph.layers] == [(4,), (4,), (4,), (4,), (2,)]
    assert graph.num_edges == 8 + 4 + 4 + 4 + 8
    assert graph.num_nodes == 18


def test_every_kind_of_network_has_channels_layers_and_modules():
    for name in ("transposed with groups", "flattened join", "tokens", "layer norm of channels"):
        module, inputs = CASES[name].module(), CASES[name].inputs()
        for level in ("neuron", "layer", "module"):
            graph = extract_graph(module, inputs, level=level)
            layers = graph.layer_id()
            assert (layers[graph.source] < layers[graph.target]).all()
            assert graph.is_output().any()


def test_columns_of_a_joined_weight_are_those_of_the_matrix():
    module, inputs = CASES["flattened join"].module(), CASES["flattened join"].inputs()
    graph = extract_graph(module, inputs, level="neuron")
    last = [own for own in graph.ranges if own.target_layer == len(graph.layers) - 1]
    found = np.concatenate([graph.edges(own.start, own.stop).weight for own in last])
    slot = graph.parameters.slot(last[0].parameter)
    weight = dict(module.named_parameters())[slot.name].detach().numpy()
    np.testing.assert_allclose((found**2).sum(), (weight**2).sum())


def test_a_layer_is_a_node():
    module = residual()
    graph = extract_graph(module, IMAGES, level="layer")
    assert [layer.name for layer in graph.layers] == ["input", "inner", "norm", "sum", "head"]
    assert (to_scipy(graph).toarray() != 0).astype(int).tolist() == [
        [0, 1, 0, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0],
    ]
    weight = to_scipy(graph).toarray()[0, 1]
    np.testing.assert_allclose(weight, module.inner.weight.detach().norm(), rtol=1e-6)


def test_a_call_of_a_submodule_is_a_node():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.later, self.layer, self.act = nn.Linear(3, 1), nn.Linear(3, 3), nn.ReLU()

        def forward(self, x):
            return self.later(self.act(self.layer(self.act(self.layer(x)))) + x)

    graph = extract_graph(Twice(), torch.zeros(2, 3), level="module")
    names = [layer.name for layer in graph.layers]
    assert names == ["x", "layer", "act", "layer#2", "act#2", "add", "later"]
    pairs = sorted(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
    assert pairs == [(0, 1), (0, 5), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)]
    assert [layer.name for layer in graph.layers if layer.is_output] == ["later"]


def test_modules_that_no_rule_knows_are_nodes_all_the_same():
    module = nn.Sequential(nn.Linear(3, 4), Sorted())
    graph = extract_graph(module, torch.zeros(1, 3), level="module")
    assert [layer.name for layer in graph.layers][1:] == ["0", "1"]


class Sorted(nn.Module):
    def forward(self, values):
        return values.sort(1)[0]
