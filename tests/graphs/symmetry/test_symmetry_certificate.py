"""All that changes no output of a small network is counted, and each kind of it found."""

import pytest
import torch
from torch import nn

from nn_graphs.testing import certify_symmetries

POINTS, TOKENS, IMAGES = torch.randn(8, 3), torch.randn(2, 4, 6), torch.randn(4, 1, 6, 6)
Linear = nn.Linear


class Attention(nn.Module):
    """Two heads of three channels, with parameters that are all drawn."""

    def __init__(self, *, bias: bool):
        super().__init__()
        self.inner = nn.MultiheadAttention(6, 2, bias=bias, batch_first=True)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5)

    def forward(self, x):
        return self.inner(x, x, x, need_weights=False)[0]


def mlp(act: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(Linear(3, width), act, Linear(width, 2))


def normed(norm: nn.Module) -> nn.Module:
    return nn.Sequential(Linear(3, 4), norm, Linear(4, 4), nn.GELU(), Linear(4, 2))


def with_batch_norm() -> nn.Module:
    network = nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.Flatten(), Linear(16, 2)),
    )
    nn.init.normal_(network[3].running_mean)
    nn.init.uniform_(network[3].running_var, 0.5, 2)
    return network


NETWORKS = {  # and the dimensions of each kind
    "tanh": (lambda: mlp(nn.Tanh(), 5), POINTS, {}),
    "relu": (lambda: mlp(nn.ReLU(), 16), POINTS, {"scales of the record": 16}),
    "two linear maps": (
        lambda: mlp(nn.Identity(), 4),
        POINTS,
        {"scales of the record": 4, "maps between layers": 12, "biases": 2},
    ),
    "attention": (
        lambda: Attention(bias=False),
        TOKENS,
        {"scales beside it": 6, "maps of queries and keys": 18, "maps between layers": 12},
    ),
    "attention with biases": (
        lambda: Attention(bias=True),
        TOKENS,
        {
            "parameters without effect": 6,  # the biases of keys
            "scales beside it": 6,
            "maps of queries and keys": 18,
            "maps between layers": 12,
            "biases": 6,
        },
    ),
    "layer norm": (
        lambda: normed(nn.LayerNorm(4, eps=1e-12)),
        POINTS,
        # a scale; a shift in front, of three weights and a bias, and one behind, of four weights;
        # turns of three dimensions
        {"scales beside it": 4, "biases": 4, "rotations and shifts of norms": 1 + 4 + 4 + 3},
    ),
    "RMS norm": (
        lambda: normed(nn.RMSNorm(4, eps=1e-14)),
        POINTS,
        {"scales beside it": 4, "rotations and shifts of norms": 1 + 6},
    ),
    "batch norm": (
        with_batch_norm,
        IMAGES,
        {"scales of the record": 3, "scales beside it": 4, "rotations and shifts of norms": 8},
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_all_that_changes_no_output_is_explained(name):
    make, inputs, expected = NETWORKS[name]
    torch.manual_seed(0)
    found = certify_symmetries(make(), inputs)
    assert {kind: count for kind, count in found.dimensions.items() if count} == expected
    assert found.nullity == sum(expected.values())
    assert str(found).endswith("0 are not explained")


def test_a_dead_neuron_frees_what_comes_in_and_goes_out():
    torch.manual_seed(0)
    network = mlp(nn.ReLU(), 16).double()
    with torch.no_grad():
        network[0].weight[0], network[0].bias[0] = 0.01, -100
    found = certify_symmetries(network, POINTS)
    assert found.dimensions["parameters without effect"] == 3 + 1 + 2
    assert found.dimensions["scales of the record"] == 15
    assert found.unexplained == 0


def test_what_no_graph_proposes_is_counted():
    """Two neurons that are always on are one linear map together."""
    torch.manual_seed(0)
    network = nn.Sequential(Linear(3, 2), nn.ReLU(), Linear(2, 2))
    with torch.no_grad():
        network[0].bias += 100
    found = certify_symmetries(network, POINTS)
    assert found.nullity == 2 + 2 + 2  # scales, their mixtures, and biases
    assert found.unexplained > 0


def test_constant_outputs_leave_all_directions():
    network = mlp(nn.ReLU(), 2)
    with torch.no_grad():
        network[0].bias -= 1000
        network[2].weight.zero_()
    module = nn.Sequential(network, nn.Threshold(1000.0, 0.0))
    found = certify_symmetries(module, POINTS)
    assert found.nullity == found.num_params == found.dimensions["parameters without effect"]
    assert found.unexplained == 0


def test_outputs_that_are_no_numbers(raises_saying):
    network = mlp(nn.ReLU(), 2)
    with torch.no_grad():
        network[2].bias[0] = torch.nan
    with raises_saying(asked="outputs alone", found="not all of them finite", do="finite outputs"):
        certify_symmetries(network, POINTS)


def test_large_networks_are_refused(raises_saying):
    with raises_saying(asked="outputs of 6002 parameters", found="more than 4000", do="smaller"):
        certify_symmetries(mlp(nn.ReLU(), 1000), POINTS)
