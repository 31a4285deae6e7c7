"""What stands between the linear maps."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nn_graphs.encoders.equivariant.layers import (
    ChannelDropout,
    EquivariantLayers,
    SpaceBatchNorm,
)
from nn_graphs.encoders.equivariant.spaces import ParameterSpaces
from tests.encoders.cases import inr, networks

TEMPLATE = inr(2, 5, 4, 1)
SPACES = ParameterSpaces(TEMPLATE)


def values(count: int, dim: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    nodes = torch.randn(count, TEMPLATE.num_nodes, dim)
    return SPACES.split(3 + nodes, torch.randn(count, TEMPLATE.num_edges, dim))


def test_every_space_is_normalised_by_itself():
    norm = SpaceBatchNorm(len(SPACES.spaces), dim=3)
    for part in norm(values(8, 3)):
        rows = part.reshape(-1, 3)
        assert_close(rows.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
        assert_close(rows.std(0, unbiased=False), torch.ones(3), atol=1e-3, rtol=0)


def test_one_network_alone_can_be_normalised_in_training():
    norm = SpaceBatchNorm(len(SPACES.spaces), dim=3).train()
    last_bias = values(1, 3)[2]
    assert_close(norm(values(1, 3))[2], last_bias / (1 + 1e-5) ** 0.5)


def test_a_network_does_not_see_its_batch_in_evaluation():
    norm = SpaceBatchNorm(len(SPACES.spaces), dim=3)
    norm(values(8, 3))
    norm.eval()
    together, first = norm(values(8, 3)), norm([part[:1] for part in values(8, 3)])
    for batch, alone in zip(together, first, strict=True):
        assert_close(batch[:1], alone)


def test_dropout_takes_whole_channels_in_training_alone():
    dropout, ones = ChannelDropout(0.4), torch.ones(50, 4, 5, 20)
    torch.manual_seed(0)
    kept = dropout(ones)
    assert torch.equal(kept, kept[:, :1, :1].expand_as(kept))
    assert_close(kept.unique(), torch.tensor([0, 1 / 0.6]))
    assert abs(kept.mean() - 1) < 0.1
    assert dropout.eval()(ones) is ones
    assert ChannelDropout(0.0)(ones) is ones


@pytest.mark.parametrize("has_batch_norm", [True, False])
def test_the_order_of_the_steps(has_batch_norm):
    torch.manual_seed(0)
    layers = EquivariantLayers(
        SPACES.spaces,
        dims=[1, 6, 5],
        dropout=nn.Hardtanh(max_val=0.3),
        has_batch_norm=has_batch_norm,
    )
    found = SPACES.split(*(part[..., :1] for part in _graph_values()))
    expected = layers.linears[0](found)
    if has_batch_norm:
        expected = layers.norms[0](expected)
    expected = [part.relu().clamp_max(0.3) for part in expected]
    expected = [part.relu().clamp_max(0.3) for part in layers.linears[1](expected)]
    for part, other in zip(layers(found), expected, strict=True):
        assert_close(part, other)
    assert isinstance(layers.norms[0], SpaceBatchNorm) is has_batch_norm
    assert isinstance(layers.norms[1], nn.Identity)


def _graph_values() -> tuple[torch.Tensor, torch.Tensor]:
    graphs = TEMPLATE.stack(networks(TEMPLATE, 4).float())
    return graphs.node_features, graphs.edge_features
