"""A network as one operation: its outputs and gradients of any order, and when it is not taken."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from nn_graphs.networks.activations import ACTIVATION_NAMES
from nn_graphs.networks.dag import window_pass
from nn_graphs.networks.dag.dag_network import DAGNetwork
from tests.networks.dag.structures import random_structure

pytestmark = pytest.mark.usefixtures("one_thread")


def make(seed: int = 0, activation: str = "tanh", **options) -> DAGNetwork:
    generator = torch.Generator().manual_seed(seed)
    return DAGNetwork(
        random_structure(seed),
        in_features=3,
        out_features=2,
        activation=activation,
        generator=generator,
        **options,
    ).double()


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def passes(monkeypatch) -> list:
    """The activation of every pass that was taken at once."""
    taken, apply = [], window_pass.WindowPass.apply
    monkeypatch.setattr(
        window_pass.WindowPass, "apply", lambda *args: taken.append(args[2]) or apply(*args)
    )
    return taken


def gradients(outputs: torch.Tensor, wanted: list, **options) -> list[torch.Tensor]:
    return list(torch.autograd.grad(outputs.pow(3).sum(), wanted, **options))


@pytest.mark.parametrize("few_weights", [0, 2**16])
@pytest.mark.parametrize("activation", window_pass.ACTIVATE)
def test_outputs_and_gradients_are_those_of_single_operations(
    monkeypatch, passes, activation, few_weights
):
    """Gradients of weights as one product, and as one of each layer."""
    networks = [make(seed, activation) for seed in range(12)]
    monkeypatch.setattr("nn_graphs.networks.dag.layer_reading.FEW_WEIGHTS", few_weights)
    inputs = draw(5, 3).requires_grad_()
    for network in networks:
        wanted = [inputs, *network.parameters()]
        found, plain = network(inputs), network._by_windows(inputs)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)
        for one, other in zip(gradients(found, wanted), gradients(plain, wanted), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    assert passes == [activation] * len(networks)


@pytest.mark.parametrize("activation", window_pass.ACTIVATE)
def test_gradients_have_gradients(passes, activation):
    network, inputs = make(3, activation), draw(5, 3)
    second = []
    for outputs in (network(inputs), network._by_windows(inputs)):
        wanted = list(network.parameters())
        first = gradients(outputs, wanted, create_graph=True)
        size = sum(one.square().sum() for one in first)
        second.append(torch.autograd.grad(size, wanted))
    assert passes
    for one, other in zip(*second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_frozen_parameters_and_inputs_have_no_gradient(passes):
    network = make(3)
    network.layers[1].weight.requires_grad_(False)
    network(draw(5, 3)).sum().backward()
    assert network.layers[1].weight.grad is None
    assert network.layers[1].bias.grad is not None
    assert passes


def test_outputs_can_be_changed_in_place():
    network, inputs = make(), draw(5, 3).requires_grad_()
    [plain] = torch.autograd.grad(network(inputs).sum(), inputs)
    [twice] = torch.autograd.grad(network(inputs).mul_(2).sum(), inputs)
    torch.testing.assert_close(twice, 2 * plain)


def doubled(network: DAGNetwork) -> None:
    network.layers[0].register_forward_hook(lambda _module, _inputs, outputs: 2 * outputs)


class Halved(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


def halved(network: DAGNetwork) -> None:
    parametrize.register_parametrization(network.layers[0], "weight", Halved())


@pytest.mark.parametrize("change", [doubled, halved])
def test_what_is_done_to_layers_is_not_passed_by(passes, change):
    network, inputs = make(), draw(5, 3)
    plain = network(inputs)
    change(network)
    assert not torch.allclose(network(inputs), plain)
    assert len(passes) == 1  # before the change


def test_other_activations_norms_and_transforms_take_single_operations(passes):
    inputs = draw(5, 3)
    for activation in set(ACTIVATION_NAMES) - set(window_pass.ACTIVATE):
        make(activation=activation)(inputs)
    make(has_norm=True)(inputs)
    network = make()
    state = dict(network.named_parameters())

    def total(state: dict, one: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(network, state, (one[None],)).sum()

    single = torch.func.vmap(torch.func.grad(total), (None, 0))(state, inputs)
    assert not passes
    whole = torch.autograd.grad(network(inputs).sum(), list(state.values()))
    for each, one in zip(single.values(), whole, strict=True):
        torch.testing.assert_close(each.sum(0), one, rtol=0, atol=1e-10)
    assert passes
