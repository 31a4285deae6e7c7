"""The symmetries of small networks by hand, and of attention, recurrence, parameters by hand."""

import pytest
import torch
from torch import Tensor

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.execution import module_outputs
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.symmetry import apply_symmetries, sample_symmetries
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from tests.graphs.architectures import ARCHITECTURES
from tests.graphs.attentive import ATTENTIVE, Expected
from tests.graphs.checks import assert_all_close, assert_inverts, assert_ordered, outputs_of
from tests.graphs.symmetry.drawn import TANH


def axes_of(spec: NetworkSpec) -> list[list[tuple[int | None, int]]]:
    return [
        [(segment.permutation, segment.length) for segment in axis]
        for axis in template_from_spec(spec).symmetries.axes
    ]


def test_axes_of_a_chain():
    spec = NetworkSpec.mlp((2, 5, 4, 1), activation=TANH)
    assert axes_of(spec) == [[(None, 2)], [(0, 5)], [(1, 4)], [(None, 1)]]
    assert template_from_spec(spec).symmetries.sizes == (5, 4)


def test_skips_tie():
    layers = (LayerSpec(4, TANH), LayerSpec(4, TANH), LayerSpec(4, TANH, skips=(1,)), LayerSpec(1))
    assert axes_of(NetworkSpec(2, layers)) == [
        [(None, 2)],
        [(0, 4)],
        [(1, 4)],
        [(0, 4)],
        [(None, 1)],
    ]


@pytest.mark.parametrize(
    ("widths", "first", "second"),
    [((5, 3), [(0, 3), (1, 2)], [(0, 3)]), ((3, 5), [(0, 3)], [(0, 3), (1, 2)])],
)
def test_unequal_widths_cut_segments(widths, first, second):
    layers = (LayerSpec(widths[0], TANH), LayerSpec(widths[1], TANH, skips=(1,)), LayerSpec(1))
    assert axes_of(NetworkSpec(2, layers)) == [[(None, 2)], first, second, [(None, 1)]]


def test_skips_from_inputs_and_to_outputs_fix():
    layers = (LayerSpec(4, TANH, skips=(0,)), LayerSpec(4, TANH), LayerSpec(3, skips=(2,)))
    assert axes_of(NetworkSpec(2, layers)) == [
        [(None, 2)],
        [(None, 2), (0, 2)],
        [(None, 3), (1, 1)],
        [(None, 3)],
    ]


def test_tied_weights_tie_axes():
    architecture = ARCHITECTURES["tied parameters"]
    template = trace(architecture.module(), architecture.example())
    assert template.symmetries.sizes == ()  # inputs, hence all that the square weight joins
    architecture = ARCHITECTURES["tied and summed"]
    template = trace(architecture.module(), architecture.example())
    assert template.symmetries.sizes == (4,)


def test_a_slice_cuts_the_axis_it_reads():
    architecture = ARCHITECTURES["first channels"]
    template = trace(architecture.module(), architecture.example())
    assert [segment.length for segment in template.symmetries.axes[1]] == [2, 2]
    assert len(template.symmetries.sizes) == 2


@pytest.fixture(scope="module", params=ATTENTIVE)
def network(request) -> tuple[Expected, GraphTemplate, Tensor]:
    """A case, its template, and the parameters of two networks."""
    expected = ATTENTIVE[request.param]
    case = expected.case
    template = trace(case.module(), case.inputs())
    flatten = template.parameters.flatten
    return expected, template, torch.stack([flatten(case.module(seed)) for seed in (1, 2)])


def test_inverting_gives_the_parameters_back(network):
    assert_inverts(*network[1:])


def test_the_function_stays(network):
    expected, template, params = network
    generator = torch.Generator().manual_seed(3)
    element = sample_symmetries(template, 2, generator=generator, dtype=torch.float64)
    changed = apply_symmetries(template, params, element)
    assert not torch.equal(changed, params)
    before = outputs_of(expected.case, template, params)
    assert_all_close(outputs_of(expected.case, template, changed), before)
    back = apply_symmetries(template, changed, element.inverse())
    torch.testing.assert_close(back, params, rtol=1e-12, atol=1e-12)


def test_all_permutations_are_found(network):
    expected, template, _ = network
    symmetries = template.symmetries
    found = list(zip(symmetries.sizes, symmetries.num_copies, strict=True))
    assert sorted(pair for pair in found if pair[0] > 1) == sorted(expected.sizes)


def test_message_passing_gives_the_outputs_or_says_why_not(network, raises_saying):
    expected, template, params = network
    stack, inputs = template.stack(params), expected.case.inputs()
    assert template.is_runnable == expected.is_runnable
    if expected.is_runnable:
        found = module_outputs(stack, *inputs)
        assert_all_close(found, outputs_of(expected.case, template, params))
    else:
        with raises_saying(asked="run networks along", found="attention", do="Run the module"):
            module_outputs(stack, *inputs)


def test_edges_run_forward_and_are_ordered_by_target(network):
    assert_ordered(network[1])


@pytest.mark.parametrize(
    "name", ["attention", "grouped queries", "rotary", "multi-head", "GPT-2", "LSTM", "GRU"]
)
def test_neurons_cannot_move_alone(name):
    """Control: rows of one weight moved by one are another function."""
    case = ATTENTIVE[name].case
    template = trace(case.module(), case.inputs())
    params = template.parameters.flatten(case.module())[None]
    before = outputs_of(case, template, params)
    for slot in template.parameters.slots:
        if "k.bias" in slot.name:
            continue  # moves all scores of a query alike, so that the softmax does not see it
        moved = params.clone()
        view = template.parameters.view(moved, slot)
        view.copy_(view.roll(1, dims=1).clone())
        found = outputs_of(case, template, moved)
        assert not torch.allclose(found[0], before[0], rtol=1e-6), slot.name


def test_a_table_of_tokens_is_edges_from_one_neuron_a_token():
    case = ATTENTIVE["embedding"].case
    module = case.module()
    template = trace(module, case.inputs())
    graph = template(module)
    assert template.groups[0].width == 11
    source, target = graph.edge_index
    is_table = source < 11
    values = graph.edge_features[is_table, 0]
    assert torch.equal(values, module.embed.weight[source[is_table], target[is_table] - 11])


def test_parts_of_a_parameter_are_shown_apart():
    case = ATTENTIVE["cross"].case
    template = trace(case.module(), case.inputs())
    names = {slot.name for slot in template.places}
    assert {"attend.in_proj_weight[0:36]", "attend.in_proj_weight[36:108]"} <= names


def test_hand_written_operations_get_their_names():
    groups = trace(ATTENTIVE["GPT-2"].case.module(), torch.zeros(1, 3).long()).groups
    assert sum(group.activation.name == "gelu_tanh" for group in groups) == 2
    groups = trace(ATTENTIVE["Llama"].case.module(), torch.zeros(1, 3).long()).groups
    assert sum(getattr(group.rule, "kind", None) == "rms" for group in groups) == 5
