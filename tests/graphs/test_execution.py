"""Execution: the value of every neuron, by hand and against the layers' own outputs."""

import pytest
import torch
from torch_geometric.data import Batch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.execution import execute, network_outputs
from nn_graphs.networks.activations import ACTIVATIONS, Activation
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from nn_graphs.networks.stacked import stacked_layers
from tests.graphs.architectures import SPECS

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_by_hand():
    spec = NetworkSpec(2, (LayerSpec(2, Activation("relu")), LayerSpec(1, skips=(0,), offset=0.5)))
    params = torch.tensor([1.0, 2.0, -1.0, 1.0, 0.25, 0.0, 3.0, 5.0, 10.0])
    values = execute(template_from_spec(spec)(params), torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
    assert values.T.tolist() == [
        [1.0, 2.0, 5.25, 1.0, 3 * 5.25 + 5 * 1.0 + 10.0 + 1.0 + 0.5],
        [0.0, -1.0, 0.0, 0.0, 0.0 + 10.0 + 0.0 + 0.5],
    ]


@pytest.mark.parametrize("name", [name for name in SPECS if "random" not in name])
def test_every_neuron_has_the_value_that_its_layer_puts_out(name):
    spec = SPECS[name]
    params, points = rand(3, spec.num_params), rand(4, spec.in_width)
    values = execute(template_from_spec(spec).stack(params), points)
    layers = torch.cat(stacked_layers(spec, params, points), dim=-1).transpose(1, 2)
    torch.testing.assert_close(values, layers, **EXACT)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_batch_may_mix_activations(name):
    """Every neuron takes its own activation and parameter."""
    specs = [
        NetworkSpec.mlp((2, 3, 1), activation=activation)
        for activation in (Activation(name), Activation("sine", 7.0), Activation("relu"))
    ]
    templates = [template_from_spec(spec) for spec in specs]
    params, points = rand(templates[0].num_params), rand(5, 2)
    batch = Batch.from_data_list([template(params) for template in templates])
    alone = [execute(template.stack(params[None]), points)[0] for template in templates]
    torch.testing.assert_close(execute(batch, points), torch.cat(alone), **EXACT)


def test_a_batch_may_mix_numbers_of_inputs_layers_and_neurons():
    templates = [template_from_spec(SPECS[name]) for name in ("INR", "one layer", "skip twice")]
    graphs = [template(rand(template.num_params)) for template in templates]
    points = rand(5, 3)
    together = execute(Batch.from_data_list(graphs), points)
    alone = [
        execute(template.stack(rand(1, template.num_params)), points[:, :num_inputs])[0]
        for template, num_inputs in zip(templates, (2, 3, 2), strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), **EXACT)


def test_outputs_are_the_output_neurons():
    template = template_from_spec(SPECS["skip twice"])
    stack, points = template.stack(rand(2, template.num_params)), rand(4, 2)
    outputs = network_outputs(stack, points)
    assert torch.equal(outputs, execute(stack, points)[:, -3:].transpose(1, 2))
    assert torch.equal(outputs.transpose(1, 2), stack.output_values(execute(stack, points)))
    graph = stack[0]
    values = graph.output_values(execute(graph, points))
    torch.testing.assert_close(values.T, outputs[0], **EXACT)


@pytest.mark.parametrize("is_stack", [True, False])
def test_values_are_differentiable_in_weights_and_points(is_stack):
    template = template_from_spec(NetworkSpec.mlp((2, 3, 1), activation=Activation("tanh")))
    params, points = rand(1, template.num_params).requires_grad_(), rand(2, 2).requires_grad_()

    def values(params, points):
        stack = template.stack(params)
        return execute(stack if is_stack else stack[0], points)

    assert torch.autograd.gradcheck(values, (params, points))


@pytest.mark.parametrize("num_columns", [1, 3])
@pytest.mark.parametrize("is_stack", [True, False])
def test_points_of_another_dimension_are_refused(num_columns, is_stack, raises_saying):
    template = template_from_spec(SPECS["INR"])
    stack = template.stack(torch.zeros(1, template.num_params))
    with raises_saying(
        asked="run networks of 2 inputs",
        found=f"the points have {num_columns} coordinates",
        do="one column per input neuron",
    ):
        execute(stack if is_stack else stack[0], torch.zeros(4, num_columns))
