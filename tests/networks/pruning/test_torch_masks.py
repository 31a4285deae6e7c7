"""To and from `torch.nn.utils.prune`."""

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from nn_graphs.networks.pruning import (
    Count,
    RandomSaliency,
    Share,
    hand_over,
    magnitude,
    plain_copy,
    prunable_names,
    prune,
    pruning_masks,
    remove_masks,
    take_over,
)
from nn_graphs.networks.pruning.attached_masks import original_weights
from tests.networks.pruning.modules import mlp


def pruned_by_torch() -> nn.Sequential:
    module = mlp(4, 6, 3)
    torch_prune.l1_unstructured(module[0], "weight", amount=10)
    torch_prune.random_unstructured(module[2], "bias", amount=1)
    return module


def test_masks_of_torch_are_taken_over():
    module, inputs = pruned_by_torch(), torch.randn(5, 4)
    before, weight = module(inputs), module[0].weight_orig.detach().clone()
    assert prunable_names(module) == ["0.weight", "2.weight"]
    take_over(module)
    assert torch.equal(module(inputs), before)
    assert {name: int((~mask).sum()) for name, mask in pruning_masks(module).items()} == {
        "0.weight": 10,
        "2.bias": 1,
    }
    assert torch.equal(original_weights(module, ["0.weight"])["0.weight"], weight)
    assert not any(layer._forward_pre_hooks for layer in module)
    assert not torch_prune.is_pruned(module)


def test_pruning_goes_on_where_torch_ended():
    module = pruned_by_torch()
    module(torch.randn(5, 4)).sum().backward()  # its weights are computed ones now
    before = module[0].weight_mask > 0
    report = prune(module, Count(5))
    assert sum(report.num_left.values()) == 42 - 10 - 5
    assert (before | ~pruning_masks(module)["0.weight"]).all()


def test_magnitudes_are_those_of_torch():
    ours, theirs = mlp(8, 9, 5), mlp(8, 9, 5)
    prune(ours, Share(0.3), saliency=magnitude)
    parameters = [(theirs[0], "weight"), (theirs[2], "weight")]
    torch_prune.global_unstructured(parameters, torch_prune.L1Unstructured, amount=0.3)
    assert torch.equal(ours[0].weight, theirs[0].weight)
    assert torch.equal(ours[2].weight, theirs[2].weight)


def test_masks_are_handed_over():
    module, inputs = mlp(4, 6, 3), torch.randn(5, 4)
    prune(module, Share(0.5), saliency=RandomSaliency(0))
    before = module(inputs)
    hand_over(module)
    assert pruning_masks(module) == {}
    assert torch_prune.is_pruned(module)
    assert torch.equal(module(inputs), before)
    torch_prune.l1_unstructured(module[0], "weight", amount=2)
    assert isinstance(module[0]._forward_pre_hooks.popitem()[1], torch_prune.PruningContainer)


def test_there_and_back():
    module, inputs = pruned_by_torch(), torch.randn(5, 4)
    before = module(inputs)
    take_over(module)
    hand_over(module)
    assert torch.equal(module(inputs), before)
    assert int((module[0].weight_mask == 0).sum()) == 10


def test_torch_masks_are_made_permanent_in_copies():
    module, inputs = pruned_by_torch(), torch.randn(5, 4)
    before = module(inputs)  # with a graph, which cannot be copied
    plain = plain_copy(module)
    assert torch.equal(plain(inputs), before)
    assert {*plain.state_dict()} == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert torch_prune.is_pruned(module)
    remove_masks(module)
    assert torch.equal(module(inputs), before)
