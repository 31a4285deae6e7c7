"""Probe-only: outputs of the networks themselves, whatever their parameters are."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from nn_graphs.encoders.probe_only import ProbeOnly
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.symmetry import ALL_KINDS
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.testing import assert_batch_independent, assert_invariant
from tests.encoders.cases import SINE, TEMPLATES, inr, networks

ALL = [make() for make in TEMPLATES.values()]  # 2 inputs and 2 outputs each


def make_model(**options) -> ProbeOnly:
    torch.manual_seed(0)
    options = {"num_probes": 9, "hidden_dims": (7,), "out_dim": 4} | options
    return ProbeOnly(ALL, **options).double().eval()


def mild(template: GraphTemplate, count: int) -> Tensor:
    """Networks whose outputs a rounding error does not change much."""
    return networks(template, count) / 10


def test_outputs_at_the_probes_go_through_an_mlp():
    spec = NetworkSpec.mlp((2, 5, 4, 2), activation=SINE, offset=0.5)
    model, params = make_model(), networks(ALL[0], 6)
    outputs = stacked_forward(spec, params, model.probes)  # [6, 9, 2]
    expected = model.mlp(outputs.transpose(1, 2).flatten(1))
    assert_close(model(ALL[0].stack(params)), expected, rtol=1e-12, atol=1e-12)


def test_sizes_and_first_probes():
    model = ProbeOnly([inr(2, 32, 32, 1)], out_dim=10)
    count = 64 * 2 + (64 + 1) * 256 + 257 * 256 + 257 * 10
    assert sum(p.numel() for p in model.parameters()) == count
    assert model.probes.abs().max() <= 1
    assert model.probes.abs().max() > 0.9


@pytest.mark.parametrize("template", ALL[:3], ids=list(TEMPLATES)[:3])
def test_no_symmetry_changes_the_outputs(template):
    generator = torch.Generator().manual_seed(5)
    assert_invariant(
        make_model(), template, mild(template, 3), kinds=ALL_KINDS, generator=generator
    )


def test_a_network_does_not_see_its_batch():
    assert_batch_independent(make_model(), [template.stack(mild(template, 2)) for template in ALL])


def test_gradients_reach_probes_and_weights():
    model, stack = make_model(hidden_dims=(16, 16)), ALL[0].stack(networks(ALL[0], 6))
    model(stack).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    assert (model.probes.grad != 0).all()


def test_gradients_of_probes_are_right():
    model, stack = make_model(num_probes=3), ALL[0].stack(mild(ALL[0], 2))

    def outputs(probes: Tensor) -> Tensor:
        return torch.func.functional_call(model, {"probes": probes}, (stack,))

    assert torch.autograd.gradcheck(outputs, model.probes.detach().clone().requires_grad_())


def test_dropout():
    model, stack = make_model(dropout=0.5), ALL[0].stack(networks(ALL[0], 6))
    assert torch.equal(model(stack), model(stack))
    model.train()
    assert not torch.equal(model(stack), model(stack))


@pytest.mark.parametrize(
    ("layouts", "found"),
    [([(2, 3, 1), (3, 3, 1)], "2, 3 input"), ([(2, 3, 1), (2, 3, 4)], "1, 4 output")],
)
def test_networks_that_cannot_share_probes(raises_saying, layouts, found):
    with raises_saying(asked="shared inputs", found=found, do="encoder of graphs"):
        ProbeOnly([inr(*layout) for layout in layouts], out_dim=2)
