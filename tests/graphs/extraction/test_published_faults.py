"""Faults of the published extraction (deepstruct, GraphTransform), each shown not to be ours."""

import copy
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from nn_graphs.graphs.extraction import TracedNetwork, extract_graph, to_scipy
from nn_graphs.networks.masked import MaskedLinear
from tests.graphs.convolutional import Net


def masked_mlp(density: float) -> nn.Sequential:
    torch.manual_seed(0)
    masks = [torch.rand(5, 4) < density, torch.rand(3, 5) < density]
    return nn.Sequential(
        MaskedLinear(4, 5, mask=masks[0]), nn.ReLU(), MaskedLinear(5, 3, mask=masks[1])
    )


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_masks_are_edges_and_stay_as_they_are(density):
    module = masked_mlp(density)
    before = [layer.mask.clone() for layer in (module[0], module[2])]
    graph = extract_graph(module, torch.zeros(2, 4))
    assert graph.num_edges == sum(int(mask.sum()) for mask in before)
    first = to_scipy(graph, values="count").toarray()[:4, 4:9]
    np.testing.assert_array_equal(first.T, before[0].numpy())
    for mask, layer in zip(before, (module[0], module[2]), strict=True):
        assert torch.equal(mask, layer.mask)


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.2, None])
def test_a_threshold_is_the_one_that_is_given_and_touches_no_weight(threshold):
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 10))
    before = copy.deepcopy(module.state_dict())
    graph = extract_graph(module, torch.zeros(1, 20), threshold=threshold)
    weights = torch.cat([before["0.weight"].flatten(), before["2.weight"].flatten()])
    expected = 900 if threshold is None else int((weights.abs() > threshold).sum())
    assert graph.num_edges == expected
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_skip_is_an_edge_around_and_no_further_layer():
    module = Net(
        lambda m, x: m.last(torch.relu(m.first(x)) + x),
        first=nn.Linear(4, 4),
        last=nn.Linear(4, 2),
    )
    graph = extract_graph(module, torch.zeros(1, 4))
    inputs = set(range(4))
    beyond = graph.layer_id()[graph.target[np.isin(graph.source, [*inputs])]]
    assert len(set(beyond)) == 2
    assert (graph.weight == 1).sum() == 8  # both terms of the sum


CONVOLUTIONS = {
    "padding": (nn.Conv2d(1, 2, 3, padding=1), (5, 5), 2 * 169),
    "wide": (nn.Conv2d(1, 1, 2), (4, 6), 15 * 4),
    "high": (nn.Conv2d(1, 1, 2), (6, 4), 15 * 4),
    "groups": (nn.Conv2d(2, 2, 3, groups=2), (5, 5), 162),
    "no groups": (nn.Conv2d(2, 2, 3), (5, 5), 324),
    "stride": (nn.Conv2d(2, 2, 3, stride=2), (7, 7), 324),
    "dilation": (nn.Conv2d(1, 1, 3, dilation=2), (7, 7), 81),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_have_all_of_their_edges(name):
    module, sizes, expected = CONVOLUTIONS[name]
    graph = extract_graph(module, torch.zeros(1, module.in_channels, *sizes))
    assert graph.num_edges == expected
    assert set(graph.target) == {*graph.layers[-1].node_ids().flatten()}


def test_a_kernel_of_zeros_has_no_edges():
    module = nn.Conv2d(2, 2, 3)
    module.weight.data[0] = 0
    graph = extract_graph(module, torch.zeros(1, 2, 5, 5))
    assert graph.num_edges == 162
    assert extract_graph(module, torch.zeros(1, 2, 5, 5), threshold=None).num_edges == 324


class Nested(nn.Module):
    """Submodules inside of others, registered in another order than they run."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(12, 2)
        self.inner = Net(
            lambda m, x: torch.relu(m.norm(m.convolution(x))),
            norm=nn.BatchNorm2d(3),
            convolution=nn.Conv2d(1, 3, 3),
        )
        self.pool = nn.MaxPool2d(2)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.pool(self.inner(images)).flatten(1))


@pytest.mark.parametrize("batch", [1, 4])
def test_pooling_nested_modules_and_any_order_or_batch(batch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = extract_graph(Nested(), torch.zeros(batch, 1, 6, 6))
    names = [layer.name for layer in graph.layers]
    assert names == ["input", "inner.convolution", "inner.norm", "inner.norm/max_pool2d", "last"]
    assert graph.num_edges == 48 * 9 + 48 + 48 + 24


def test_layer_norms_are_in_the_graph():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    graph = extract_graph(module, torch.zeros(1, 3))
    assert "inverse_deviation" in [layer.kind for layer in graph.layers]


def test_a_module_is_left_as_it_was():
    module = Nested().train()
    seen = []
    module.pool.register_forward_hook(lambda *_: seen.append(1))
    module(torch.randn(2, 1, 6, 6)).sum().backward()
    state = copy.deepcopy(module.state_dict())
    gradients = [parameter.grad.clone() for parameter in module.parameters()]
    attributes = {name: set(vars(own)) for name, own in module.named_modules()}
    hooks = [dict(own._forward_hooks) for own in module.modules()]
    forwards = [own.forward for own in module.modules()]
    random_state = torch.get_rng_state()
    for _ in range(3):
        for level in ("unit", "neuron", "layer", "module"):
            extract_graph(module, torch.zeros(2, 1, 6, 6), level=level)
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())
    for before, parameter in zip(gradients, module.parameters(), strict=True):
        assert torch.equal(before, parameter.grad)
        assert parameter.requires_grad
    assert attributes == {name: set(vars(own)) for name, own in module.named_modules()}
    assert hooks == [dict(own._forward_hooks) for own in module.modules()]
    assert forwards == [own.forward for own in module.modules()]
    assert all(own.training for own in module.modules())
    assert torch.equal(random_state, torch.get_rng_state())
    count = len(seen)
    module(torch.randn(2, 1, 6, 6))
    assert len(seen) == count + 1


def test_a_pruned_module_keeps_its_masks():
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    prune.l1_unstructured(module[0], "weight", amount=20)
    graph = extract_graph(module, torch.zeros(1, 6))
    assert graph.num_edges == 10 + 10
    assert prune.is_pruned(module)
    assert int(module[0].weight_mask.sum()) == 10


def test_inputs_are_nodes_once():
    """A network of 7 inputs, 4 hidden neurons and 2 outputs has 13 nodes."""
    module = nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 2))
    graph = extract_graph(module, torch.zeros(1, 7))
    assert (graph.num_nodes, graph.num_edges) == (13, 36)


def test_deep_networks_have_exact_counts():
    """A network 50-[100] * 100-10, as in the published tests."""
    widths = [50, *[100] * 100, 10]
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    size = TracedNetwork(nn.Sequential(*layers), torch.zeros(1, 50)).size("unit")
    assert size.num_nodes == sum(widths)
    assert size.num_edges == 50 * 100 + 99 * 10_000 + 1000
