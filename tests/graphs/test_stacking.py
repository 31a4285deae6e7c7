"""Batches of graphs that differ in activations alone are stacks in another form."""

import pytest
import torch
from torch.testing import assert_close

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.mixed import MixedTemplates
from nn_graphs.graphs.stacking import AsStack, are_alike
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec
from nn_graphs.networks.spec import NetworkSpec


def mlp(name: str, *widths: int) -> NetworkSpec:
    return NetworkSpec.mlp(widths, activation=Activation(name))


PAIRS = {
    "small cnns": [small_cnn_zoo_spec("relu"), small_cnn_zoo_spec("tanh")],
    "kernels of two sizes": [
        wild_park_spec((1, 3, 2), (5, 3), activations=(name, "gelu"), num_outputs=2)
        for name in ("relu", "sigmoid")
    ],
    "mlps": [mlp("relu", 2, 3, 1), mlp("tanh", 2, 3, 1)],
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_mixed_batch_as_a_stack(name):
    templates = [template_from_spec(spec) for spec in PAIRS[name]]
    assert are_alike(templates)
    params = torch.randn(5, templates[0].num_params)
    batch = MixedTemplates(templates).batch(torch.tensor([1, 0, 0, 1, 1]), list(params))
    stack = AsStack(templates[0])(batch)
    plain = templates[0].stack(params)
    if templates[0].kernel_size:
        plain = templates[0].centred(plain, templates[0].kernel_size)
    assert_close(stack.node_features, plain.node_features, rtol=0, atol=0)
    assert_close(stack.edge_features, plain.edge_features, rtol=0, atol=0)
    assert stack.kernel_size == plain.kernel_size
    assert_close(stack.params, params, rtol=0, atol=0)
    assert AsStack(templates[0])(plain) is plain


@pytest.mark.parametrize("widths", [(2, 4, 1), (2, 2, 2, 1), (3, 2, 1)])
def test_other_architectures(widths, raises_saying):
    templates = [template_from_spec(mlp("relu", 2, 3, 1)), template_from_spec(mlp("relu", *widths))]
    assert not are_alike(templates)
    params = [torch.randn(template.num_params) for template in templates]
    batch = MixedTemplates(templates).batch(torch.tensor([0, 1]), params)
    with raises_saying(asked="stack 2 graphs", found="the batch has", do="encoder of graphs"):
        AsStack(templates[0])(batch)


def test_equal_edges_with_other_kernels_are_not_alike():
    specs = [
        wild_park_spec((1, 3, 2), sizes, activations=("relu", "relu")) for sizes in [(5, 3), (3, 5)]
    ]
    assert not are_alike([template_from_spec(spec) for spec in specs])
