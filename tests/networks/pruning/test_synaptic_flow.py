"""Synaptic flow: conserved, without layers that collapse, and finite where float32 is not."""

import copy

import pytest
import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning import (
    Density,
    SynapticFlow,
    magnitude,
    prunable_names,
    prune,
    prune_in_rounds,
    pruning_masks,
)
from tests.networks.pruning.modules import cnn, mlp


def test_flow_is_the_product_of_absolute_weights_along_paths():
    module = mlp(2, 2, 1, bias=False)
    first, second = torch.tensor([[1.0, -2.0], [3.0, 4.0]]), torch.tensor([[-5.0, 6.0]])
    with torch.no_grad():
        module[0].weight.copy_(first)
        module[2].weight.copy_(second)
    found = SynapticFlow(torch.zeros(7, 2))(module, ["0.weight", "2.weight"])
    assert found["0.weight"].tolist() == [[5.0, 10.0], [18.0, 24.0]]
    assert found["2.weight"].tolist() == [[15.0, 42.0]]


def test_flow_is_conserved_from_layer_to_layer():
    """Theorem 2 of Tanaka et al.: every layer carries the same, biases or not."""
    module = mlp(5, 7, 6, 4)
    prune(module, Density(0.5))
    found = SynapticFlow(torch.zeros(1, 5))(module, prunable_names(module))
    masks = pruning_masks(module)
    sums = torch.stack([(found[name] * mask).sum() for name, mask in masks.items()])
    torch.testing.assert_close(sums, sums[:1].expand(3))


def test_deep_networks_do_not_overflow():
    module = nn.Sequential(*(nn.Linear(100, 100, bias=False) for _ in range(60)))
    with torch.no_grad():
        for layer in module:
            layer.weight.abs_()
        assert (
            module(torch.ones(1, 100)).sum().isinf()
            or not module(50 * torch.ones(1, 100)).sum().isnan()
        )
        for layer in module:
            layer.weight.mul_(10)
        assert module(torch.ones(1, 100)).sum().isinf()  # in float32, as published
    found = SynapticFlow(torch.zeros(1, 100))(module, prunable_names(module))
    assert all(value.isfinite().all() and (value > 0).all() for value in found.values())


def test_what_overflows_in_float64_is_told():
    module = mlp(3, 3, 3, bias=False)
    with torch.no_grad():
        module[0].weight.fill_(1e30)
        module[2].weight.fill_(1e38)
    big = nn.Sequential(*(copy.deepcopy(module) for _ in range(6)))
    with pytest.raises(NNGraphsError, match="not finite in float64"):
        SynapticFlow(torch.zeros(1, 3))(big, prunable_names(big))


def test_no_layer_collapses_in_many_rounds():
    """Magnitudes cut this network in two at that density; synaptic flow does not."""
    widths, density = (20, 100, 10, 100, 5), 0.02
    module = mlp(*widths)
    with torch.no_grad():
        module[2].weight.mul_(1e-3)
    by_magnitude = copy.deepcopy(module)
    with pytest.warns(UserWarning, match=r"left nothing of .*2\.weight"):
        prune(by_magnitude, Density(density), saliency=magnitude)
    flow = SynapticFlow(torch.zeros(1, 20))
    report = prune_in_rounds(module, density, saliency=flow, num_rounds=30)
    assert not report.empty
    assert sum(report.num_left.values()) == round(density * 4500)


def test_batch_norm_and_modes():
    module = cnn()
    state = copy.deepcopy(module.state_dict())
    report = prune_in_rounds(
        module, 0.1, saliency=SynapticFlow(torch.zeros(1, 1, 6, 6)), num_rounds=5
    )
    assert sum(report.num_left.values()) == round(0.1 * (36 + 216 + 288))
    assert module.training
    assert torch.equal(module[1].running_mean, state["1.running_mean"])
