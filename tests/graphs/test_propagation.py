"""Networks with kernels, norms, gates and joins: graphs hold them, run them, move with them."""

import pytest
import torch
from torch import Tensor

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.parts.groups import EdgeBlock
from nn_graphs.graphs.propagation import module_outputs, propagate
from nn_graphs.graphs.symmetry import ALL_KINDS, apply_symmetries, sample_symmetries
from nn_graphs.graphs.template import GraphTemplate
from nn_graphs.graphs.trace import trace
from tests.graphs.architectures import SPECS
from tests.graphs.checks import assert_all_close, assert_inverts, assert_ordered, outputs_of
from tests.graphs.convolutional import CASES, Case

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


@pytest.mark.parametrize("kinds", [("permutation",), ALL_KINDS])
def test_the_function_stays(network, kinds):
    case, template, params = network
    generator = torch.Generator().manual_seed(3)
    element = sample_symmetries(template, 2, kinds=kinds, generator=generator, dtype=torch.float64)
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
    with raises_saying(asked="run networks at points", found="kernels", do="propagation.propagate"):
        execute(stack, torch.zeros(2, 3))
    case = CASES["groups"]
    template = trace(case.module(), case.inputs())
    with raises_saying(asked="pass messages over blocks", found="grouped", do="Centre the kernels"):
        template.topology()
