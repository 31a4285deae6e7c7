"""Masks that are trained: open at first, gradients for every gate, fixed ones at the end."""

import pytest
import torch
from torch import nn

from nn_graphs.networks.dag.trainable_masks import (
    GATES,
    GatedConv2d,
    GatedLayer,
    GatedLinear,
    HardConcreteGate,
    with_fixed_masks,
)
from nn_graphs.networks.masked import MaskedConv2d, MaskedLinear
from tests.graphs.tracing.faithful import assert_faithful

pytestmark = pytest.mark.usefixtures("one_thread")
CASES = [
    pytest.param(kind, gate, id=f"{kind}-{gate}") for kind in ("linear", "conv") for gate in GATES
]


def make(kind: str, gate: str) -> GatedLayer:
    torch.manual_seed(0)
    if kind == "linear":
        return GatedLinear(6, 4, gate=gate).double()
    return GatedConv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 2), gate=gate).double()


def inputs_of(kind: str) -> torch.Tensor:
    return torch.randn(5, 6, *((7, 6) if kind == "conv" else ()), dtype=torch.float64)


def close_some(layer: GatedLayer) -> None:
    with torch.no_grad():
        layer.gate.scores.copy_(torch.where(torch.rand_like(layer.weight) < 0.5, -5.0, 5.0))


@pytest.mark.parametrize(("kind", "gate"), CASES)
def test_masks_start_open(kind, gate):
    layer = make(kind, gate).eval()
    assert layer.mask.all()
    assert layer.density == 1
    assert torch.equal(layer.gated_weight(), layer.weight)


@pytest.mark.parametrize(("kind", "gate"), CASES)
def test_every_gate_receives_a_gradient(kind, gate):
    """Those of straight-through gates also where they are closed."""
    layer = make(kind, gate)
    if gate == "straight_through":
        close_some(layer)
        assert not layer.mask.all()
    else:
        with torch.no_grad():
            layer.gate.scores.zero_()  # else most draws are clipped, which has no slope
    total = torch.zeros_like(layer.weight)
    for _ in range(200 if gate == "hard_concrete" else 1):
        total += torch.autograd.grad(layer(inputs_of(kind)).sum(), layer.gate.scores)[0].abs()
    assert (total > 0).all()


@pytest.mark.parametrize(("kind", "gate"), CASES)
def test_an_optimizer_changes_masks(kind, gate):
    layer = make(kind, gate)
    optimizer = torch.optim.Adam(layer.parameters(), 0.3)
    inputs = inputs_of(kind)
    for _ in range(40):
        optimizer.zero_grad()
        (layer(inputs).square().mean() + 0.05 * layer.gate.expected_open()).backward()
        optimizer.step()
    assert layer.density < 0.5


@pytest.mark.parametrize(("kind", "gate"), CASES)
def test_fixed_layers_compute_the_same(kind, gate):
    layer = make(kind, gate).eval()
    close_some(layer)
    fixed = layer.fixed_layer()
    assert isinstance(fixed, MaskedLinear if kind == "linear" else MaskedConv2d)
    assert torch.equal(fixed.mask, layer.mask)
    assert not fixed.training
    inputs = inputs_of(kind)
    assert torch.allclose(fixed(inputs), layer(inputs), rtol=0, atol=1e-12)
    assert fixed.weight.dtype == torch.float64


@pytest.mark.parametrize(("kind", "gate"), CASES)
def test_masks_can_be_set_and_opened_anew(kind, gate):
    layer = make(kind, gate)
    mask = torch.rand(layer.weight.shape) < 0.5
    layer.set_mask(mask)
    assert torch.equal(layer.mask, mask)
    layer.reset_parameters()
    assert layer.mask.all()


def test_masks_of_a_wrong_shape(raises_saying):
    with raises_saying(asked="shape [4, 6]", found="the mask is [6, 4]", do="own shape"):
        make("linear", "hard_concrete").set_mask(torch.ones(6, 4).bool())


def test_scores_are_parameters_and_in_state_dicts():
    layer = GatedLinear(6, 4)
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias", "gate.scores"}
    other = GatedLinear(6, 4)
    close_some(layer)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.mask, layer.mask)


def test_the_penalty_of_hard_concrete_gates_is_their_chance_to_be_open():
    gate = HardConcreteGate([20_000])
    with torch.no_grad():
        gate.scores.fill_(-0.5)
    torch.manual_seed(0)
    share = (gate() > 0).double().mean()
    assert gate.expected_open().item() / 20_000 == pytest.approx(float(share), abs=0.01)


def test_networks_with_fixed_masks_trace():
    network = nn.Sequential(GatedLinear(3, 6), nn.Tanh(), nn.Sequential(GatedLinear(6, 2)))
    for layer in (network[0], network[2][0]):
        close_some(layer)
    inputs = torch.randn(2, 3)
    wanted = network.eval()(inputs)
    fixed = with_fixed_masks(network)
    assert torch.allclose(fixed(inputs), wanted, atol=1e-6)
    assert_faithful(fixed, inputs)
    assert isinstance(with_fixed_masks(GatedLinear(2, 2)), MaskedLinear)


def test_unknown_gates(raises_saying):
    with raises_saying(asked="train a mask by 'soft'", found="no 'soft'", do="straight_through"):
        GatedLinear(2, 2, gate="soft")
