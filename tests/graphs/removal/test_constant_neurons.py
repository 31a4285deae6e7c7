"""Which neurons are constant, and what is not followed."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nn_graphs.graphs.removal.constant_neurons import constant_neurons
from nn_graphs.graphs.tracing import trace
from tests.graphs.convolutional import Net


def constants(module: nn.Module, *shape: int) -> list[list[float | None]]:
    """Of every group but inputs what its neurons are, None where they vary."""
    module = module.double().eval()
    template = trace(module, torch.zeros(shape, dtype=torch.float64))
    found = constant_neurons(template.stack(template.parameters.flatten(module)[None]))
    values = [
        round(value, 6) if is_constant else None
        for value, is_constant in zip(found.value.tolist(), found.is_constant.tolist(), strict=True)
    ]
    return [values[group.start : group.stop] for group in template.groups[1:]]


def layer(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    linear = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(weight))
        linear.bias.copy_(torch.tensor(bias))
    return linear


def test_neurons_that_nothing_reaches():
    module = nn.Sequential(
        layer([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [2.0, 5.0, -3.0]),
        nn.ReLU(),
        layer([[2.0, 0.0, 9.0], [1.0, 1.0, 1.0]], [0.5, 0.0]),
    )
    assert constants(module, 2, 2) == [[2.0, None, 0.0], [4.5, None]]


def test_norms_with_running_statistics_and_without_gains():
    norm = nn.BatchNorm1d(2, eps=0.0)
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([1.0, 0.0]))
        norm.running_var.copy_(torch.tensor([4.0, 1.0]))
        norm.weight.copy_(torch.tensor([3.0, 0.0]))
        norm.bias.copy_(torch.tensor([0.5, 7.0]))
    module = nn.Sequential(layer([[0.0, 0.0], [1.0, 0.0]], [2.0, 0.0]), norm, nn.Linear(2, 1))
    assert constants(module, 2, 2)[:2] == [[2.0, None], [3 * 0.5 + 0.5, 7.0]]


def test_a_gate_that_is_shut():
    layers = {"a": layer([[1.0, 1.0]] * 2, [0.0, 0.0]), "b": layer([[0.0, 0.0]] * 2, [0.0, 4.0])}
    net = Net(lambda m, x: m.c(m.a(x) * m.b(x)), c=nn.Linear(2, 1), **layers)
    found = constants(net, 2, 2)
    assert [0.0, None] in found  # nothing times zero, something times four


def convolved(**settings) -> list:
    first, second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 3, **settings)
    with torch.no_grad():
        first.weight.zero_()
        first.bias.copy_(torch.tensor([1.0, 0.0]))
        second.weight.fill_(0.5)
        second.bias.zero_()
    return constants(nn.Sequential(first, second, nn.Conv2d(1, 1, 1)), 2, 1, 6, 6)[1]


def test_padding_makes_constants_vary():
    assert convolved() == [4.5]
    assert convolved(padding=1) == [None]


def test_zeros_pass_a_padding():
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.Conv2d(2, 1, 3, padding=1))
    with torch.no_grad():
        module[0].weight.zero_()
        module[1].bias.fill_(3.0)
    assert constants(nn.Sequential(module, nn.Conv2d(1, 1, 1)), 2, 1, 6, 6)[:2] == [
        [0.0, 0.0],
        [3.0],
    ]


@pytest.mark.parametrize(
    ("pool", "value"),
    [
        (lambda x: F.max_pool2d(x, 2), 1.0),
        (lambda x: F.adaptive_avg_pool2d(x, 2), 1.0),
        (lambda x: F.avg_pool2d(x, 3, 2, 1), None),  # zeros are averaged in
        (lambda x: F.pad(x, (1, 1)), None),
        (lambda x: torch.exp(x), None),  # not followed
    ],
)
def test_constants_on_their_way(pool, value):
    layers = {"a": nn.Conv2d(1, 1, 1), "b": nn.Conv2d(1, 1, 1), "c": nn.Conv2d(1, 1, 1)}
    net = Net(lambda m, x: m.c(m.b(pool(m.a(x)))), **layers)
    with torch.no_grad():
        net.a.weight.zero_()
        net.a.bias.fill_(1.0)
        net.b.weight.fill_(1.0)
        net.b.bias.zero_()
    assert constants(net, 2, 1, 6, 6)[1] == [value]
