"""A state dict that is moved as the specification says computes the same."""

import pytest
import torch
from torch import nn

from nn_graphs.graphs.symmetry.permutation_spec import (
    apply_permutations,
    permutation_spec,
    permutation_table,
)
from nn_graphs.graphs.tracing import trace
from tests.graphs.tracing.faithful import Written

Linear = nn.Linear
POINTS, IMAGES, TOKENS = torch.randn(4, 3), torch.randn(2, 1, 6, 6), torch.randn(1, 3, 8)


def convolutional() -> nn.Module:
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1)),
        *(nn.ReLU(), nn.Flatten(), Linear(96, 5), nn.ReLU(), Linear(5, 2)),
    )
    nn.init.normal_(network[1].running_mean)
    nn.init.normal_(network[1].weight)
    return network


NETWORKS = {
    "layers": (
        lambda: nn.Sequential(Linear(3, 7), nn.Tanh(), Linear(7, 7), nn.Tanh(), Linear(7, 2)),
        POINTS,
    ),
    "convolutions, a norm, a flattening": (convolutional, IMAGES),
    "joined channels and a skip": (
        lambda: Written(
            lambda m, x: m.c(torch.cat([m.a(x).relu(), m.b(x).tanh() + m.d(m.a(x).relu())], 1)),
            a=Linear(3, 5),
            b=Linear(3, 4),
            c=Linear(9, 2),
            d=Linear(5, 4),
        ),
        POINTS,
    ),
}


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_moved_state_dicts_compute_the_same(name):
    torch.manual_seed(0)
    make, inputs = NETWORKS[name]
    module, inputs = make().double().eval(), inputs.double()
    template = trace(module, inputs)
    spec = permutation_spec(template)
    orders = {f"P{n}": torch.randperm(size) for n, size in enumerate(template.symmetries.sizes)}
    assert max(template.symmetries.sizes) > 3
    before, state = module(inputs), module.state_dict()
    moved = apply_permutations(state, spec, orders)
    assert any(not torch.equal(moved[key], state[key]) for key in state)
    module.load_state_dict(moved)
    torch.testing.assert_close(module(inputs), before)


def test_axes_of_a_plain_network_have_names():
    module, inputs = NETWORKS["convolutions, a norm, a flattening"][0]().eval(), IMAGES
    spec = permutation_spec(trace(module, inputs))
    shown = {name: [str(axis) for axis in axes] for name, axes in spec.items()}
    assert shown["0.weight"] == ["P0", "-", "-", "-"]
    assert shown["1.running_var"] == ["P0"]
    assert shown["6.weight"] == ["P2", "P1*16"]
    assert spec["6.weight"][0].permutation == "P2"
    assert spec["8.weight"][0].permutation is None


def test_heads_are_blocks(raises_saying):
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True).eval()
    template = trace(layer, TOKENS)
    table = permutation_table(template)
    assert "| self_attn.in_proj_weight | P0(P1):16 P0(P2):8 | - |" in table
    assert "P0 moves 2, P1 moves 4" in table
    with raises_saying(asked="permute", found="moves blocks", do="apply_symmetries"):
        apply_permutations(layer.state_dict(), permutation_spec(template), {})
