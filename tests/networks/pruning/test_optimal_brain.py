"""Second derivatives against those of autograd; the surgeon against least squares."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning import (
    BrainDamage,
    Count,
    Density,
    LayerwiseSurgeon,
    RandomSaliency,
    Share,
    plain_copy,
    prune,
    pruning_masks,
)
from tests.networks.pruning.modules import batches, cnn, mlp

DATA = batches(4, 3, dtype=torch.float64)
NAMES = ["0.weight", "2.weight"]


def network() -> nn.Sequential:
    module = mlp(4, 5, 3).double()
    module[1] = nn.Tanh()
    return module


def curvature(module: nn.Module) -> torch.Tensor:
    """The diagonal of the Hessian by both weights, computed whole."""
    inputs, labels = (torch.cat(parts) for parts in zip(*DATA, strict=True))

    def loss(flat):
        first, second = flat.split([20, 15])
        state = {"0.weight": first.view(5, 4), "2.weight": second.view(3, 5)}
        return F.cross_entropy(torch.func.functional_call(module, state, (inputs,)), labels)

    flat = torch.cat([module[0].weight.flatten(), module[2].weight.flatten()]).detach()
    return torch.autograd.functional.hessian(loss, flat).diagonal() * flat**2 / 2


def flattened(found: dict) -> torch.Tensor:
    return torch.cat([found[name].flatten() for name in NAMES])


def test_damage_is_half_the_second_derivative_times_the_square():
    module = network()
    found = BrainDamage(DATA, num_probes=None)(module, NAMES)
    torch.testing.assert_close(flattened(found), curvature(module))


def test_random_signs_estimate_it():
    module = network()
    exact, errors = curvature(module), []
    for num_probes in (4, 400):
        found = flattened(BrainDamage(DATA, num_probes=num_probes)(module, NAMES))
        errors.append((found - exact).norm() / exact.norm())
    assert errors[1] < 0.25 * errors[0] or errors[1] < 0.05
    again = flattened(BrainDamage(DATA, num_probes=400)(module, NAMES))
    assert torch.equal(again, found)


def test_damage_of_masked_modules():
    module = network()
    prune(module, Density(0.6), saliency=RandomSaliency(1))
    damage = BrainDamage(DATA, num_probes=None)
    plain = damage(plain_copy(module), NAMES)
    torch.testing.assert_close(flattened(damage(module, NAMES)), flattened(plain))


def test_piecewise_linear_networks_have_curvature_by_the_loss():
    assert (flattened(BrainDamage(DATA)(mlp(4, 5, 3).double(), NAMES)) != 0).any()


INPUTS = [torch.randn(30, 6, generator=torch.Generator().manual_seed(n)) for n in range(2)]


def linear() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(6, 4).double()


def wide(inputs: list) -> list:
    return [value.double() for value in inputs]


def test_the_first_weight_that_goes_costs_what_is_said():
    layer, surgeon = linear(), LayerwiseSurgeon(wide(INPUTS), damping=1e-12)
    saliency = surgeon(layer, ["weight"])["weight"]
    before = layer(torch.cat(wide(INPUTS)))
    prune(layer, Count(1), saliency=surgeon)
    error = (layer(torch.cat(wide(INPUTS))) - before).square().sum(1).mean()
    torch.testing.assert_close(error, saliency.min())


def test_what_is_left_is_the_least_squares_fit():
    layer, surgeon = linear(), LayerwiseSurgeon(wide(INPUTS), damping=1e-12)
    inputs, before = torch.cat(wide(INPUTS)), layer.weight.detach().clone()
    report = prune(layer, Share(0.5), saliency=surgeon)
    assert report.num_left == {"weight": 12}
    for row, mask in enumerate(pruning_masks(layer)["weight"]):
        best = torch.linalg.lstsq(inputs[:, mask], (inputs @ before[row])[:, None]).solution[:, 0]
        torch.testing.assert_close(layer.weight[row, mask].detach(), best)


def test_pruned_again_it_starts_from_what_is_left():
    layer, surgeon = linear(), LayerwiseSurgeon(wide(INPUTS), damping=1e-12)
    prune(layer, Share(0.5), saliency=surgeon)
    inputs, before = torch.cat(wide(INPUTS)), layer.weight.detach().clone()
    saliency = surgeon(layer, ["weight"])["weight"][pruning_masks(layer)["weight"]]
    prune(layer, Count(1), saliency=surgeon)
    error = (inputs @ (layer.weight - before).T).square().sum(1).mean()
    torch.testing.assert_close(error, saliency.min())


def test_it_beats_magnitudes_on_the_outputs_of_layers():
    inputs = [torch.randn(100, 8, generator=torch.Generator().manual_seed(0))]
    inputs = [
        value @ torch.randn(8, 8, generator=torch.Generator().manual_seed(1)) for value in inputs
    ]
    modules = [mlp(8, 10, 3), mlp(8, 10, 3)]
    before = modules[0][0](inputs[0])
    prune(modules[0], Density(0.4), names=["0.weight"])
    prune(modules[1], Density(0.4), names=["0.weight"], saliency=LayerwiseSurgeon(inputs))
    errors = [(module[0](inputs[0]) - before).square().mean() for module in modules]
    assert errors[1] < 0.7 * errors[0]


def test_convolutions_are_linear_maps_of_what_their_kernels_see():
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1, dilation=1).double()
    inputs = torch.randn(4, 2, 9, 9, dtype=torch.float64)
    before = layer(inputs)
    surgeon = LayerwiseSurgeon([inputs], damping=1e-12)
    saliency = surgeon(layer, ["weight"])["weight"]
    prune(layer, Count(1), saliency=surgeon)
    error = (layer(inputs) - before).square().sum(1).mean()
    torch.testing.assert_close(error, saliency.min())


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_counts_of_a_network_are_exact(scope):
    module = cnn()
    surgeon = LayerwiseSurgeon([torch.randn(8, 1, 6, 6)])
    report = prune(module, Density(0.5), saliency=surgeon, scope=scope)
    assert sum(report.num_left.values()) == 270
    assert module.training
    assert not any(layer._forward_pre_hooks for layer in module)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.Sequential(nn.Conv2d(2, 2, 3, groups=2)), "0.weight"),
        (nn.Sequential(nn.Embedding(3, 2)), "0.weight"),
        (nn.Sequential(nn.Linear(3, 2)), "0.bias"),
    ],
)
def test_other_layers_are_refused(module, name):
    with pytest.raises(NNGraphsError, match=f"{name} is of a"):
        prune(module, Count(1), names=[name], saliency=LayerwiseSurgeon([torch.zeros(1, 3)]))


def test_layers_that_no_input_reaches():
    with pytest.raises(NNGraphsError, match="no input reached"):
        prune(linear(), Count(1), saliency=LayerwiseSurgeon([]))
