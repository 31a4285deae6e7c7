"""Masked recurrent layers are torch's own where nothing is masked, and weight times mask else."""

import copy

import pytest
import torch
from torch import nn

from nn_graphs.networks.dag.masked_recurrent import (
    LAYERS,
    MaskedDeepRNN,
    MaskedGRU,
    MaskedLSTM,
    MaskedRecurrent,
    MaskedRNN,
)
from tests.graphs.tracing.faithful import Written, assert_faithful

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = {MaskedRNN: nn.RNN, MaskedGRU: nn.GRU, MaskedLSTM: nn.LSTM}
OPTIONS = [
    {},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"bias": False},
]


def pair(kind: type, **options) -> tuple[MaskedRecurrent, nn.Module]:
    torch.manual_seed(0)
    layer = kind(3, 4, **options).double()
    plain = PLAIN[kind](3, 4, **options).double()
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if "mask" not in k})
    return layer, plain


def states_of(layer: nn.Module, batch: int) -> torch.Tensor | tuple[torch.Tensor, ...]:
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    state = torch.randn(rows, batch, 4).double()
    return (state, torch.randn_like(state)) if layer.mode == "LSTM" else state


def flat(found) -> list[torch.Tensor]:
    outputs, states = found
    return [outputs, *(states if isinstance(states, tuple) else [states])]


def assert_same(found, wanted) -> None:
    for mine, theirs in zip(flat(found), flat(wanted), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", PLAIN)
def test_unmasked_layers_are_those_of_torch(kind, options):
    layer, plain = pair(kind, **options)
    inputs = torch.randn(5, 5, 3).double()
    states = states_of(layer, 5)
    assert_same(layer(inputs), plain(inputs))
    assert_same(layer(inputs, states), plain(inputs, states))
    single = torch.randn(5, 3).double()
    assert_same(layer(single), plain(single))
    if kind is MaskedRNN:
        relu, theirs = pair(kind, nonlinearity="relu")
        assert_same(relu(inputs), theirs(inputs))


@pytest.mark.parametrize("kind", PLAIN)
def test_masks_multiply_weights_and_their_gradients(kind):
    layer, plain = pair(kind)
    gates = layer.num_gates
    whole = torch.rand(gates * 4, 3) < 0.5
    shared = torch.rand(4, 4) < 0.5
    layer.set_mask("weight_ih_l0", whole)
    layer.set_mask("weight_hh_l0", shared)
    assert torch.equal(layer.get_mask("weight_hh_l0"), shared.repeat(gates, 1))
    expected = (whole.sum() + gates * shared.sum()) / (gates * 28)
    assert layer.density == pytest.approx(expected.item())
    with torch.no_grad():
        plain.weight_ih_l0.mul_(whole)
        plain.weight_hh_l0.mul_(shared.repeat(gates, 1))
    inputs = torch.randn(5, 2, 3).double()
    assert_same(layer(inputs), plain(inputs))
    optimizer = torch.optim.Adam(layer.parameters(), 0.1, weight_decay=0.1)
    layer(inputs)[0].square().sum().backward()
    optimizer.step()
    assert (layer.weight_ih_l0[~whole] == 0).all()
    assert (layer.weight_ih_l0[whole] != plain.weight_ih_l0[whole]).all()


def test_masks_are_in_state_dicts_and_survive_copies_and_new_values():
    layer, _ = pair(MaskedGRU)
    layer.set_mask("weight_hh_l0", torch.eye(4).bool())
    other, _ = pair(MaskedGRU)
    other.load_state_dict(layer.state_dict())
    inputs = torch.randn(5, 2, 3).double()
    assert_same(other(inputs), layer(inputs))
    assert_same(copy.deepcopy(layer)(inputs), layer(inputs))
    other.reset_parameters()
    assert (other.weight_hh_l0[~other.get_mask("weight_hh_l0")] == 0).all()
    assert (other.weight_hh_l0 != 0).any()


@pytest.mark.parametrize("kind", PLAIN)
def test_layers_export_and_trace(kind):
    layer, _ = pair(kind)
    layer.set_mask("weight_hh_l0", torch.eye(4).bool())
    layer.set_mask("weight_ih_l0", torch.ones(4, 3).bool())
    inputs = torch.randn(5, 2, 3).double()
    exported = torch.export.export(layer, (inputs,)).module()
    assert torch.allclose(exported(inputs)[0], layer(inputs)[0], rtol=0, atol=1e-12)
    module = Written(lambda self, values: self.layer(values)[0], layer=layer)
    template = assert_faithful(module, inputs)
    assert "layer.weight_hh_l0" in {slot.name for slot in template.masks}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_deep_networks_give_the_last_step(kind, batch_first):
    network = MaskedDeepRNN(3, [5, 4], kind=kind, batch_first=batch_first)
    inputs = torch.randn(2, 7, 3) if batch_first else torch.randn(7, 2, 3)
    outputs = network(inputs)
    assert outputs.shape == (2, 4)
    lowered = network.layers[0](inputs)[0]
    ends = network.layers[1](lowered)[0]
    assert torch.equal(outputs, ends[:, -1] if batch_first else ends[-1])


@pytest.mark.parametrize(
    "mask", [torch.ones(3, 4).bool(), torch.ones(12, 3), torch.ones(12, 3, 1).bool()]
)
def test_masks_of_a_wrong_shape_or_type(raises_saying, mask):
    with raises_saying(asked="weight_ih_l0 of the shape [12, 3]", found="the mask is", do="gates"):
        MaskedGRU(3, 4).set_mask("weight_ih_l0", mask)


def test_what_cannot_be_run_or_made(raises_saying):
    with raises_saying(asked="mask the weight 'bias'", found="no 'bias'", do="weight_ih_l0"):
        MaskedGRU(3, 4).set_mask("bias", torch.ones(1).bool())
    with raises_saying(asked="run a MaskedRNN", found="of 1 axes", do="two or three"):
        MaskedRNN(3, 4)(torch.randn(3))
    with raises_saying(asked="'rmm' layers", found="no 'rmm'", do="lstm"):
        MaskedDeepRNN(3, [4], kind="rmm")
    with raises_saying(asked="'lstm' layers", found="no widths", do="at least"):
        MaskedDeepRNN(3, [])
