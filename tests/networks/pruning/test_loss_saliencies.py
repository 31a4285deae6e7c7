"""SNIP and GraSP against formulas written out, on masked and unmasked modules."""

import copy

import pytest
import torch
import torch.nn.functional as F

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning import Density, Grasp, RandomSaliency, Snip, plain_copy, prune
from tests.networks.pruning.modules import batches, cnn, mlp

NAMES = ["0.weight", "2.weight"]
DATA = batches(4, 3, dtype=torch.float64)


def network():
    module = mlp(4, 6, 3).double()
    module[1] = torch.nn.Tanh()
    return module


def mean_loss(module, temperature: float = 1.0) -> torch.Tensor:
    """The loss on all points at once."""
    inputs, labels = (torch.cat(parts) for parts in zip(*DATA, strict=True))
    return F.cross_entropy(module(inputs) / temperature, labels)


def test_snip_is_weight_times_gradient():
    module = network()
    weights = [module[0].weight, module[2].weight]
    slopes = torch.autograd.grad(mean_loss(module), weights)
    found = Snip(DATA)(module, NAMES)
    for name, weight, slope in zip(NAMES, weights, slopes, strict=True):
        torch.testing.assert_close(found[name], (weight * slope).abs().detach())


def test_snip_predicts_what_weakening_a_weight_does():
    """Its definition: the derivative by a factor on one connection."""
    module = network()
    found = Snip(DATA)(module, NAMES)["0.weight"][2, 1]
    losses = []
    for factor in (1 + 1e-6, 1 - 1e-6):
        other = copy.deepcopy(module)
        other[0].weight.data[2, 1] *= factor
        losses.append(mean_loss(other).item())
    assert abs(losses[0] - losses[1]) / 2e-6 == pytest.approx(found.item(), rel=1e-5)


def test_grasp_is_weight_times_hessian_times_gradient():
    module = network()
    weights = [module[0].weight, module[2].weight]
    flat = torch.cat([w.detach().flatten() for w in weights])

    def loss(values):
        parts = values.split([24, 18])
        state = {"0.weight": parts[0].view(6, 4), "2.weight": parts[1].view(3, 6)}
        return torch.func.functional_call(module, state, (torch.cat([x for x, _ in DATA]),))

    labels = torch.cat([y for _, y in DATA])

    def value(values):
        return F.cross_entropy(loss(values) / 5.0, labels)

    gradient = torch.autograd.functional.jacobian(value, flat)
    hessian = torch.autograd.functional.hessian(value, flat)
    found = Grasp(DATA, temperature=5.0)(module, NAMES)
    expected = flat * (hessian @ gradient)
    torch.testing.assert_close(torch.cat([found[name].flatten() for name in NAMES]), expected)


def test_grasp_says_how_the_norm_of_the_gradient_falls():
    module = network()
    found = Grasp(DATA, temperature=1.0)(module, ["0.weight"])["0.weight"]

    def norm(factor: float) -> float:
        other = copy.deepcopy(module)
        other[0].weight.data[2, 1] *= factor
        (slope,) = torch.autograd.grad(mean_loss(other), [other[0].weight])
        return slope.square().sum().item() / 2

    slope = (norm(1 + 1e-6) - norm(1 - 1e-6)) / 2e-6
    assert slope == pytest.approx(found[2, 1].item(), rel=1e-4)


@pytest.mark.parametrize("saliency", [Snip(DATA), Grasp(DATA)])
def test_masked_weights_count_as_zeros(saliency):
    module = network()
    prune(module, Density(0.6), saliency=RandomSaliency(0))
    found = saliency(module, NAMES)
    expected = saliency(plain_copy(module), NAMES)
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name])


@pytest.mark.parametrize("kind", [Snip, Grasp])
def test_the_module_is_left_as_it_was(kind):
    module = cnn()
    module[3].weight.requires_grad_(False)
    state = copy.deepcopy(module.state_dict())
    data = [(torch.randn(4, 1, 6, 6), torch.tensor([0, 1, 2, 0]))]
    kind(data)(module, ["0.weight", "3.weight"])
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert module.training
    assert not module[3].weight.requires_grad


def test_batches_of_different_sizes_weigh_by_their_points():
    module = network()
    inputs, labels = (torch.cat(parts) for parts in zip(*DATA, strict=True))
    uneven = [(inputs[:3], labels[:3]), (inputs[3:], labels[3:])]
    for kind in (Snip, Grasp):
        for name, value in kind(DATA)(module, NAMES).items():
            torch.testing.assert_close(kind(uneven)(module, NAMES)[name], value)


def test_no_batches():
    with pytest.raises(NNGraphsError, match="there are no batches"):
        Snip([])(network(), NAMES)


@pytest.mark.parametrize("saliency", [Snip(DATA), Grasp(DATA)])
def test_counts_are_exact(saliency):
    assert sum(prune(network(), Density(0.3), saliency=saliency).num_left.values()) == 13
