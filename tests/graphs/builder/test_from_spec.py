"""Templates of specs: those that tracing finds, and what they compute."""

import pytest
import torch

from nn_graphs.graphs.builder import spec_operations, template_from_spec
from nn_graphs.graphs.builder.operations import (
    Activate,
    Add,
    Input,
    Linear,
    Output,
    Shift,
)
from nn_graphs.graphs.execution import module_outputs, network_outputs
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec
from nn_graphs.networks.spec import ConvSpec, LayerSpec, NetworkSpec
from nn_graphs.networks.stacked import stacked_forward
from tests.graphs.architectures import SPECS

RELU, SINE = Activation("relu"), Activation("sine", 2.0)


@pytest.mark.parametrize("name", SPECS)
def test_tracing_the_module_gives_the_template_of_the_spec(name):
    spec = SPECS[name]
    template, traced = (
        template_from_spec(spec),
        trace(spec.make_module(), torch.zeros(3, spec.in_width)),
    )
    assert template.groups == traced.groups
    assert template.blocks == traced.blocks
    assert template.symmetries == traced.symmetries
    assert template.parameters == traced.parameters


CONV = ConvSpec.square(3, padding=1)
CNNS = {
    "small cnn zoo": small_cnn_zoo_spec(),
    "wild park": wild_park_spec(
        (3, 4, 8, 2, 5),
        (3, 5, 7, 3),
        activations=("relu", "gelu", "none", "leaky_relu"),
        residuals=(-1, -1, 0, 1),
    ),
    "flattened": NetworkSpec.cnn(
        (3, 4, 2), convs=CONV, activations=RELU, skips=[(0,), (0, 1)], num_outputs=2, num_places=256
    ),
    "layers behind": NetworkSpec(
        3, (LayerSpec(4, RELU, has_bias=False, conv=CONV, offset=0.5), LayerSpec(5), LayerSpec(2))
    ),
    "one axis, convolutions alone": NetworkSpec(2, (LayerSpec(3, conv=ConvSpec((3,), (2,))),)),
}


@pytest.mark.parametrize("name", CNNS)
def test_the_template_of_a_cnn_is_that_of_its_module_and_computes_the_same(name):
    spec = CNNS[name]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, spec.in_width, *[16] * spec.num_axes[0], generator=generator).double()
    template, traced = template_from_spec(spec), trace(spec.make_module(), images.float())
    assert template.groups == traced.groups
    assert template.blocks == traced.blocks
    assert template.symmetries == traced.symmetries
    assert template.parameters == traced.parameters
    params = torch.randn(4, spec.num_params, generator=generator, dtype=torch.float64) / 4
    graphs = template.stack(params)
    (outputs,) = module_outputs(graphs, images)
    expected = stacked_forward(spec, params, images)
    torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-10)
    assert torch.equal(template.invert(graphs), params)


@pytest.mark.parametrize("name", SPECS)
def test_the_graph_computes_what_the_spec_says(name):
    spec = SPECS[name]
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(3, spec.num_params, generator=generator, dtype=torch.float64)
    points = torch.randn(5, spec.in_width, generator=generator, dtype=torch.float64)
    template = template_from_spec(spec)
    outputs = network_outputs(template.stack(params), points)
    torch.testing.assert_close(
        outputs, stacked_forward(spec, params, points), rtol=1e-12, atol=1e-12
    )
    assert torch.equal(template.invert(template.stack(params)), params)


def test_the_random_specs_hold_what_they_should():
    layers = [layer for spec in SPECS.values() for layer in spec.layers]
    assert {layer.activation.name for layer in layers} >= {"none", "relu", "sine", "leaky_relu"}
    assert any(not layer.has_bias for layer in layers)
    assert any(layer.offset for layer in layers)
    assert max(len(layer.skips) for layer in layers) > 1
    widths = {
        (spec.layer_layout[skip] > layer.width) - (spec.layer_layout[skip] < layer.width)
        for spec in SPECS.values()
        for layer in spec.layers
        for skip in layer.skips
    }
    assert widths == {-1, 0, 1}  # from fewer, as many and more channels


def test_a_chain_is_one_group_a_layer():
    spec = NetworkSpec.mlp((2, 32, 32, 1), activation=SINE, offset=0.5)
    template = template_from_spec(spec)
    assert (template.num_nodes, template.num_edges) == (67, 1120)
    assert [group.width for group in template.groups] == [2, 32, 32, 1]
    assert [group.activation for group in template.groups[1:]] == [SINE, SINE, Activation()]
    assert template.groups[-1].offset == 0.5
    assert all(block.is_dense for block in template.blocks)


def test_a_spec_is_written_as_operations():
    spec = NetworkSpec(
        2, (LayerSpec(3, RELU), LayerSpec(2, skips=(0,), has_bias=False, offset=1.0))
    )
    slots = spec.parameters.slots
    assert spec_operations(spec) == [
        Input(2),
        Linear(0, slots[0], slots[1]),
        Activate(1, RELU),
        Linear(2, slots[2], None),
        Add(3, 0),
        Shift(4, 1.0),
        Output(5),
    ]
