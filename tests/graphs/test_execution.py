"""Execution: values by hand, against the layers' and modules' own outputs, and after symmetries."""

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.execution import execute, module_outputs, network_outputs, propagate
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.symmetry import apply_symmetries, sample_symmetries
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.activations import ACTIVATIONS, Activation
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from nn_graphs.networks.stacked import stacked_layers
from tests.graphs.architectures import SPECS
from tests.graphs.checks import assert_all_close, assert_inverts, assert_ordered, outputs_of
from tests.graphs.convolutional import CASES, Case

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


FLATTENED = ("flatten", "flatten, then an activation", "image into linear", "flattened join", "VGG")
PLANS = [(name, "parallel_edges") for name in CASES]
PLANS += [(name, "repeat_nodes") for name in FLATTENED]


@pytest.fixture(scope="module", params=PLANS, ids=" ".join)
def network(request) -> tuple[Case, GraphTemplate, Tensor]:
    """A case, its template, and the parameters of two networks."""
    name, flattening = request.param
    case = CASES[name]
    template = trace(case.module(), case.inputs(), flattening=flattening)
    flatten = template.parameters.flatten
    return case, template, torch.stack([flatten(case.module(seed)) for seed in (1, 2)])


def test_inverting_gives_the_parameters_back(network):
    assert_inverts(*network[1:])


def test_message_passing_gives_the_outputs(network):
    case, template, params = network
    found = module_outputs(template.stack(params), *case.inputs())
    assert_all_close(found, outputs_of(case, template, params))
    assert all(not torch.allclose(*values) for values in found)  # control: weights do matter


def test_the_function_stays(network):
    case, template, params = network
    generator = torch.Generator().manual_seed(3)
    element = sample_symmetries(template, 2, generator=generator, dtype=torch.float64)
    changed = apply_symmetries(template, params, element)
    assert any(size > 1 for size in template.symmetries.sizes)
    assert not torch.equal(changed, params)
    expected = outputs_of(case, template, params)
    assert_all_close(outputs_of(case, template, changed), expected)
    assert_all_close(module_outputs(template.stack(changed), *case.inputs()), expected)
    back = apply_symmetries(template, changed, element.inverse())
    torch.testing.assert_close(back, params, rtol=1e-12, atol=1e-12)


def test_edges_show_the_weights_of_their_neurons(network):
    """Edge by edge: the value between two channels is torch's entry for these channels."""
    _, template, params = network
    edges = template.stack(params).edge_features[0, :, 0]
    index, place = template.structure().edge_index, template.structure().position_id
    for block in template.blocks:
        source = index[0, block.start : block.stop] - template.groups[block.source].start
        target = index[1, block.start : block.stop] - template.groups[block.target].start
        values = edges[block.first_value : block.last_value]
        values = values.unflatten(0, (block.num_edges, block.kernel_size))
        expected = expected_values(template, params[0], block, source, target, place)
        assert torch.equal(values, expected)


def expected_values(
    template: GraphTemplate,
    params: Tensor,
    block: EdgeBlock,
    source: Tensor,
    target: Tensor,
    place: Tensor,
) -> Tensor:
    if block.weight is None:
        return torch.full((block.num_edges, 1), block.constant).double()
    weight = template.parameters.view(params, block.weight)
    column = source - block.first_source
    if not block.is_dense:
        return weight[target, None]
    if block.is_transposed:
        width = block.num_targets // block.num_groups
        assert torch.equal(target // width, column // (block.num_sources // block.num_groups))
        return weight[column, target % width].reshape(len(target), -1)
    width = block.num_sources // block.num_groups
    assert torch.equal(target // (block.num_targets // block.num_groups), column // width)
    position = place[block.start : block.stop]
    first = block.columns[0] if block.columns else 0
    columns = first + column % width * block.num_positions + position
    return weight[target, columns].reshape(len(target), -1)


def test_edges_run_forward_and_are_ordered_by_target(network):
    assert_ordered(network[1])


@pytest.mark.parametrize("name", ["ResNet-18", "DenseNet", "EfficientNet", "groups", "group norm"])
def test_neurons_cannot_move_alone(name):
    """Control: rows of one weight moved by one are another function."""
    case = CASES[name]
    template = trace(case.module(), case.inputs())
    params = template.parameters.flatten(case.module())[None]
    expected = outputs_of(case, template, params)
    for slot in template.parameters.slots:
        if slot.size > 1 and "running" not in slot.name:
            moved = params.clone()
            view = template.parameters.view(moved, slot)
            view.copy_(view.roll(1, dims=1).clone())
            found = outputs_of(case, template, moved)
            assert not torch.allclose(found[0], expected[0], rtol=1e-6), slot.name


@pytest.mark.parametrize("name", [name for name in SPECS if "random 1" in name])
def test_networks_of_linear_maps_can_be_propagated_too(name):
    spec = SPECS[name]
    template = template_from_spec(spec)
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(2, spec.num_params, generator=generator).double()
    points = torch.randn(4, spec.in_width, generator=generator).double()
    (found,) = module_outputs(template.stack(params), points)
    module = spec.make_module().double()
    for row, values in zip(params, found, strict=True):
        module.load_state_dict(template.parameters.unflatten(row))
        torch.testing.assert_close(values, module(points), rtol=1e-12, atol=1e-12)


def test_values_are_differentiable():
    case = CASES["one axis"]
    template = trace(case.module(), case.inputs())
    params = template.parameters.flatten(case.module())[None].requires_grad_()
    inputs = case.inputs()

    def values(params):
        return module_outputs(template.stack(params), *inputs)[0]

    assert torch.autograd.gradcheck(values, params)


def test_every_group_has_values_on_its_axis():
    case = CASES["ResNet-18"]
    template = trace(case.module(), case.inputs())
    params = template.parameters.flatten(case.module())
    values = propagate(template.stack(params[None]), *case.inputs())
    for group, value in zip(template.groups, values, strict=True):
        own = value if group.kind.name == "INPUT" else value[0]
        assert own.shape[group.axis] == group.width


def test_another_number_of_inputs_is_refused(raises_saying):
    case = CASES["one axis"]
    template = trace(case.module(), case.inputs())
    stack = template.stack(torch.zeros(1, template.num_params).double())
    with raises_saying(
        asked="run networks of 1 inputs", found="2 tensors are given", do="what the modules take"
    ):
        propagate(stack, *case.inputs(), *case.inputs())


def test_points_and_blocks_are_for_linear_maps_only(raises_saying):
    from nn_graphs.graphs.execution import execute

    case = CASES["one axis"]
    template = trace(case.module(), case.inputs())
    stack = template.stack(torch.zeros(1, template.num_params))
    with raises_saying(asked="run networks at points", found="kernels", do="execution.propagate"):
        execute(stack, torch.zeros(2, 3))
    case = CASES["groups"]
    template = trace(case.module(), case.inputs())
    with raises_saying(asked="pass messages over blocks", found="grouped", do="Centre the kernels"):
        template.topology()
