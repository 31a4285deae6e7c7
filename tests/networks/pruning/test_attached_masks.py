"""Masks as parametrizations: what they do to weights, gradients, state dicts, exports."""

import copy

import pytest
import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks import MaskedConv2d, MaskedLinear
from nn_graphs.networks.pruning import (
    Density,
    RandomSaliency,
    all_gradients,
    attach_masks,
    load_pruned,
    plain_copy,
    prunable_names,
    prune,
    pruning_masks,
    remove_masks,
)
from nn_graphs.networks.pruning.attached_masks import original_weights
from tests.networks.pruning.modules import cnn, mlp


def pruned(module: nn.Module, density: float = 0.4) -> nn.Module:
    prune(module, Density(density), saliency=RandomSaliency(2))
    return module


def test_masked_weights_are_zero_and_get_no_gradient():
    module = pruned(mlp(4, 6, 3))
    mask = pruning_masks(module)["0.weight"]
    assert torch.equal(module[0].weight != 0, mask)
    module(torch.randn(5, 4)).square().sum().backward()
    gradient = original_weights(module, ["0.weight"])["0.weight"].grad
    assert (gradient[~mask] == 0).all()
    assert (gradient[mask] != 0).any()


def test_values_under_a_mask_are_kept_and_infinite_ones_do_no_harm():
    module = mlp(4, 6, 3)
    before = module[0].weight.detach().clone()
    before[0, 0] = torch.inf
    with torch.no_grad():
        module[0].weight.copy_(before)
    mask = torch.ones(6, 4) > 0
    mask[0, 0] = False
    attach_masks(module, {"0.weight": mask})
    assert module(torch.randn(2, 4)).isfinite().all()
    assert torch.equal(original_weights(module, ["0.weight"])["0.weight"], before)


def test_the_trained_parameter_is_the_same_object():
    module = mlp(4, 6, 3)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    pruned(module)
    before = module[0].weight.detach().clone()
    module(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(module[0].weight, before)
    assert torch.equal(module[0].weight != 0, before != 0)


def test_masked_weights_may_be_asked_for_their_gradients():
    module, inputs = pruned(mlp(4, 6, 3)), torch.randn(5, 4)
    plain = plain_copy(module)
    plain(inputs).square().sum().backward()
    with all_gradients(module):
        module(inputs).square().sum().backward()
    found = original_weights(module, ["0.weight"])["0.weight"].grad
    torch.testing.assert_close(found, plain[0].weight.grad)
    module.zero_grad()
    module(inputs).square().sum().backward()
    found = original_weights(module, ["0.weight"])["0.weight"].grad
    assert (found[~pruning_masks(module)["0.weight"]] == 0).all()


def test_state_dicts_hold_masks_and_come_back(tmp_path):
    module, inputs = pruned(cnn()), torch.randn(2, 1, 6, 6)
    torch.save(module.state_dict(), tmp_path / "pruned.pt")
    other = cnn(seed=1)
    load_pruned(other, torch.load(tmp_path / "pruned.pt", weights_only=True))
    assert torch.equal(module.eval()(inputs), other.eval()(inputs))
    assert pruning_masks(other).keys() == pruning_masks(module).keys()


def test_the_state_of_one_weight_comes_back(tmp_path):
    layer = pruned(nn.Linear(3, 4))
    other = nn.Linear(3, 4)
    load_pruned(other, layer.state_dict())
    assert torch.equal(layer.weight, other.weight)


def test_pruned_modules_are_copied_moved_and_exported():
    module, inputs = pruned(cnn()).eval(), torch.randn(2, 1, 6, 6)
    assert torch.equal(copy.deepcopy(module)(inputs), module(inputs))
    program = torch.export.export(module, (inputs,))
    torch.testing.assert_close(program.module()(inputs), module(inputs))
    assert module.double()[0].weight.dtype == torch.float64
    assert pruning_masks(module)["0.weight"].dtype == torch.bool


def test_tied_weights_have_one_mask():
    first = nn.Linear(5, 5)
    second = nn.Linear(5, 5)
    second.weight = first.weight
    module = nn.Sequential(first, second)
    assert prunable_names(module) == ["0.weight"]
    report = prune(module, Density(0.4))
    assert report.num_all == {"0.weight": 25}
    assert torch.equal(first.weight, second.weight)
    assert int((second.weight != 0).sum()) == 10
    module(torch.randn(3, 5)).sum().backward()
    assert len(list(module.parameters())) == 3


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_use_their_masked_weights(kind):
    torch.manual_seed(0)
    layer, inputs = kind(3, 4, num_layers=2), torch.randn(6, 2, 3)
    before = layer(inputs)[0]
    pruned(layer)
    plain = kind(3, 4, num_layers=2)
    plain.load_state_dict({name: getattr(layer, name) for name in plain.state_dict()})
    after = layer(inputs)[0]
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, plain(inputs)[0])
    after.sum().backward()
    assert torch.equal(copy.deepcopy(layer)(inputs)[0], after)
    remove_masks(layer)
    assert torch.equal(layer(inputs)[0], after)
    assert not layer._forward_pre_hooks
    assert not layer._forward_hooks


def test_attention_uses_its_masked_weights():
    torch.manual_seed(0)
    layer, inputs = nn.MultiheadAttention(4, 2), torch.randn(6, 2, 4)
    before = layer(inputs, inputs, inputs)[0]
    pruned(layer)
    after = layer(inputs, inputs, inputs)[0]
    assert not torch.allclose(before, after)
    torch.testing.assert_close(plain_copy(layer)(inputs, inputs, inputs)[0], after)


def test_masks_are_made_permanent():
    module, inputs = pruned(cnn()).eval(), torch.randn(2, 1, 6, 6)
    before = module(inputs)
    plain = plain_copy(module)
    assert plain.state_dict().keys() == cnn().state_dict().keys()
    assert type(plain[0]) is nn.Conv2d
    assert torch.equal(plain(inputs), before)
    assert pruning_masks(module)  # those of the module stay
    remove_masks(module)
    assert pruning_masks(module) == {}
    assert torch.equal(module(inputs), before)


def test_our_masked_layers_become_ordinary_ones():
    mask = torch.rand(4, 3) > 0.5
    kernels = torch.rand(5, 4) > 0.5
    convolution = MaskedConv2d(3, 4, 3, padding=1, mask=mask)
    module = nn.Sequential(convolution, nn.ReLU(), MaskedLinear(4, 5, mask=kernels))
    inputs = torch.randn(2, 3, 4, 4)
    plain = plain_copy(module)
    assert [type(layer) for layer in plain] == [nn.Conv2d, nn.ReLU, nn.Linear]
    torch.testing.assert_close(plain(inputs), module(inputs))
    assert type(plain_copy(MaskedLinear(4, 5, mask=kernels))) is nn.Linear


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (torch.ones(6, 5) > 0, r"\[6, 5\], of torch.bool"),
        (torch.ones(6, 4), r"\[6, 4\], of torch.float32"),
        (torch.ones(6, 4, dtype=torch.long), "of torch.int64"),
    ],
)
def test_masks_of_a_wrong_shape_or_type(mask, found):
    module = mlp(4, 6, 3)
    good = torch.ones(3, 6) > 0
    with pytest.raises(NNGraphsError, match=found):
        attach_masks(module, {"2.weight": good, "0.weight": mask})
    assert pruning_masks(module) == {}


def test_masks_of_unknown_weights():
    with pytest.raises(NNGraphsError, match=r"no parameter '1\.weight'"):
        attach_masks(mlp(4, 6, 3), {"1.weight": torch.ones(1) > 0})


def test_other_parametrizations_are_not_lost():
    module = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))
    assert prunable_names(module) == []  # it has no weight of its own, but a norm and a direction
    module = nn.Linear(4, 4)
    nn.utils.parametrize.register_parametrization(module, "weight", nn.Softplus())
    before = module.weight.detach().clone()
    pruned(module)
    assert torch.equal(module.weight[module.weight != 0], before[pruning_masks(module)["weight"]])
    with pytest.raises(NNGraphsError, match="other parametrizations"):
        remove_masks(module)


def test_copies_are_pruned_and_unmasked_without_the_original():
    """Torch lets copies of parametrized modules share a class, with its properties."""
    module, inputs = pruned(mlp(4, 6, 3)), torch.randn(2, 4)
    before = module(inputs)
    other = copy.deepcopy(module)
    prune(other, Density(0.5), names=["0.bias"])
    assert torch.equal(module(inputs), before)
    remove_masks(copy.deepcopy(module))
    assert torch.equal(module(inputs), before)
    remove_masks(module)
    assert int((other[0].bias == 0).sum()) == 3
