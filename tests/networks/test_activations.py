"""Activations: torch's own values and gradients, and exactly the symmetries they claim."""

import math

import pytest
import torch
import torch.nn.functional as F

from nn_graphs.networks.activations import (
    ACTIVATION_NAMES,
    ACTIVATIONS,
    Activation,
    ActivationModule,
)

VALUES = torch.arange(-30, 31, dtype=torch.float64) / 10  # 0 is among them
TORCH = {
    "none": lambda z: z,
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": F.leaky_relu,
    "sine": torch.sin,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "relu6": F.relu6,
    "elu": F.elu,
    "selu": F.selu,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "hardtanh": F.hardtanh,
    "mish": F.mish,
    "softplus": F.softplus,
}


def test_ids_are_never_renumbered():
    published = ["none", "relu", "gelu", "silu", "tanh", "sigmoid", "leaky_relu", "sine"]
    assert list(ACTIVATION_NAMES[: len(published)]) == published
    ids = [Activation(name).activation_id for name in ACTIVATIONS]
    assert ids == list(range(len(ACTIVATIONS)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_gradients_are_torchs(name):
    ours, theirs = (VALUES.clone().requires_grad_() for _ in range(2))
    outputs, expected = Activation(name)(ours), TORCH[name](theirs)
    assert torch.equal(outputs, expected)
    outputs.sum().backward()
    expected.sum().backward()
    assert torch.equal(ours.grad, theirs.grad)  # at 0 too, where a leaky relu has a kink


def test_parameters_have_their_meaning_and_default():
    assert torch.equal(Activation("sine", 30.0)(VALUES), torch.sin(30 * VALUES))
    assert torch.equal(Activation("leaky_relu", 0.2)(VALUES), F.leaky_relu(VALUES, 0.2))
    assert Activation("sine") == Activation("sine", 1.0)
    assert Activation("leaky_relu").parameter == 0.01
    assert Activation("relu").parameter == 0.0


@pytest.mark.parametrize("name", ["sine", "leaky_relu", "elu"])
def test_every_neuron_can_have_its_own_parameter(name):
    parameters = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    ours, theirs = (VALUES.repeat(3, 1).T.clone().requires_grad_() for _ in range(2))
    together = ACTIVATIONS[name].apply(ours, parameters)
    columns = zip(theirs.unbind(1), parameters.tolist(), strict=True)
    alone = torch.stack([Activation(name, each)(column) for column, each in columns], dim=1)
    torch.testing.assert_close(together, alone)
    together.sum().backward()
    alone.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_claimed_symmetries_hold_and_no_others(name):
    act, parameter = Activation(name), Activation(name).parameter
    outputs, period = act(VALUES), 2 * math.pi / (parameter or 1)
    holds = {
        "is_odd": torch.allclose(act(-VALUES), -outputs),
        "is_positively_homogeneous": torch.allclose(act(2.7 * VALUES), 2.7 * outputs),
        "is_periodic": torch.allclose(act(VALUES + period), outputs),
    }
    assert holds == {claim: getattr(act.rule, claim) for claim in holds}


def test_period_shrinks_with_the_parameter():
    act = Activation("sine", 30.0)
    torch.testing.assert_close(act(VALUES + 2 * math.pi / 30), act(VALUES))


def test_module_computes_and_shows_its_activation():
    module = ActivationModule(Activation("sine", 30.0))
    assert torch.equal(module(VALUES), torch.sin(30 * VALUES))
    assert "sine, parameter=30.0" in repr(module)


def test_unknown_activation(raises_saying):
    with raises_saying(asked="'swish'", found="no 'swish'", do="none, relu, gelu, silu"):
        Activation("swish")
