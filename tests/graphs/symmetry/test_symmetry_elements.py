"""Symmetries keep the function, half of one changes it; random ones are in the range asked for."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.execution import network_outputs
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.graphs.symmetry import (
    ALL_KINDS,
    SymmetryElement,
    apply_symmetries,
    apply_to_graphs,
    sample_symmetries,
)
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from tests.graphs.architectures import ARCHITECTURES, BOUND_APART, SPECS, Architecture
from tests.graphs.symmetry.drawn import NUM_NETWORKS, RELU, SAME, SINE, TANH, rand, sample


def outputs_of(architecture: Architecture, template: GraphTemplate, params: Tensor) -> Tensor:
    """What torch's own module puts out with each of the parameter vectors."""
    module, outputs = architecture.module(), []
    for row in params:
        module.load_state_dict(template.parameters.unflatten(row), strict=False)
        outputs.append(architecture.outputs(module))
    return torch.stack(outputs)


def traced(name: str) -> tuple[Architecture, GraphTemplate, Tensor]:
    """An architecture, its template, and the parameters of six networks."""
    architecture = ARCHITECTURES[name]
    template = trace(architecture.module(), architecture.example())
    flatten = template.parameters.flatten
    return architecture, template, torch.stack([flatten(architecture.module(s)) for s in range(6)])


@pytest.fixture(scope="module", params=BOUND_APART)
def network(request) -> tuple[Architecture, GraphTemplate, Tensor]:
    return traced(request.param)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_function_stays(name):
    architecture, template, params = traced(name)
    changed = apply_symmetries(template, params, sample(template))
    expected = outputs_of(architecture, template, params)
    torch.testing.assert_close(outputs_of(architecture, template, changed), expected, **SAME)


def test_the_function_stays_under_each_kind_alone(network):
    architecture, template, params = network
    expected = outputs_of(architecture, template, params)
    for kind in ALL_KINDS:
        changed = apply_symmetries(template, params, sample(template, (kind,)))
        torch.testing.assert_close(outputs_of(architecture, template, changed), expected, **SAME)


def test_the_inverse_undoes(network):
    _, template, params = network
    element = sample(template)
    changed = apply_symmetries(template, params, element)
    back = apply_symmetries(template, changed, element.inverse())
    torch.testing.assert_close(back, params, rtol=1e-12, atol=1e-12)


def test_the_graph_of_the_changed_parameters_is_the_changed_graph(network):
    """Constants stay as they are, and what is shown twice changes in both places alike."""
    _, template, params = network
    element = sample(template)
    changed = template.stack(apply_symmetries(template, params, element))
    graphs = apply_to_graphs(template, template.stack(params), element)
    torch.testing.assert_close(changed.node_features, graphs.node_features, **SAME)
    torch.testing.assert_close(changed.edge_features, graphs.edge_features, **SAME)


def test_permutations_permute_the_graph(network):
    _, template, params = network
    element = sample(template, ("permutation",))
    before = template.stack(params)
    after = template.stack(apply_symmetries(template, params, element))
    for number, order in enumerate(element.order):
        assert torch.equal(after[number].x, before[number].x[order])
        for kind in (0, 1):
            weights = adjacency(before[number], kind)[order][:, order]
            torch.testing.assert_close(adjacency(after[number], kind), weights)


def adjacency(graph, edge_kind: int) -> Tensor:
    """Weights `[source, target]` of the edges of one kind; several between a pair add up."""
    chosen = graph.edge_kind_id == edge_kind
    weights = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=graph.edge_attr.dtype)
    places = tuple(graph.edge_index[:, chosen])
    return weights.index_put(places, graph.edge_attr[chosen, 0], accumulate=True)


def test_inputs_and_outputs_keep_their_places(network):
    _, template, _ = network
    element = sample(template)
    is_fixed = template.structure().kind_id != NeuronKind.HIDDEN.value
    assert (element.order == torch.arange(template.num_nodes))[:, is_fixed].all()
    assert (element.factor[:, is_fixed] == 1).all()
    assert (element.turn[:, is_fixed] == 1).all()


def test_neurons_stay_in_their_group(network):
    _, template, _ = network
    layer_id = template.structure().layer_id
    element = sample(template)
    assert (layer_id[element.order] == layer_id).all()
    assert torch.equal(element.order.sort(1).values, torch.arange(template.num_nodes).expand(6, -1))


@pytest.mark.parametrize("name", SPECS)
def test_the_function_of_a_spec_stays(name):
    spec = SPECS[name]
    template = template_from_spec(spec)
    params, points = rand(NUM_NETWORKS, spec.num_params), rand(7, spec.in_width)
    changed = apply_symmetries(template, params, sample(template))
    torch.testing.assert_close(
        network_outputs(template.stack(changed), points),
        network_outputs(template.stack(params), points),
        **SAME,
    )


def test_parameters_that_show_nowhere_stay():
    architecture = ARCHITECTURES["unused parameters"]
    template = trace(architecture.module(), architecture.example())
    params = rand(NUM_NETWORKS, template.num_params)
    changed = apply_symmetries(template, params, sample(template))
    assert torch.equal(changed[:, ~template.is_shown], params[:, ~template.is_shown])


# Negative controls: what is no symmetry changes the function.


def one_hidden_layer(activation: Activation) -> tuple[GraphTemplate, Tensor, Tensor]:
    """2-3-1 with two networks' parameters and test points."""
    template = template_from_spec(NetworkSpec.mlp((2, 3, 1), activation=activation))
    return template, rand(2, template.num_params), rand(7, 2, seed=1)


def identity(template: GraphTemplate) -> SymmetryElement:
    return sample(template, (), num_networks=2)


def is_symmetry(template: GraphTemplate, params: Tensor, points: Tensor, changed: Tensor) -> bool:
    before = network_outputs(template.stack(params), points)
    return torch.allclose(network_outputs(template.stack(changed), points), before, **SAME)


HIDDEN = torch.tensor([0, 0, 1, 1, 1, 0], dtype=torch.bool)


def element_on_hidden(
    template: GraphTemplate, *, factor: float = 1.0, half_turns: int = 0, turn: float = 1.0
) -> SymmetryElement:
    """The same change of every hidden neuron, allowed or not."""
    omega_0 = template.groups[1].activation.parameter or 1.0
    values = identity(template)
    return replace(
        values,
        factor=torch.where(HIDDEN, factor, values.factor),
        shift=torch.where(HIDDEN, half_turns * math.pi / omega_0, values.shift),
        turn=torch.where(HIDDEN, turn, values.turn),
    )


@pytest.mark.parametrize(
    ("activation", "change", "expected"),
    [
        (TANH, {"factor": -1.0}, True),
        (RELU, {"factor": -1.0}, False),
        (Activation("sigmoid"), {"factor": -1.0}, False),
        (RELU, {"factor": 2.0}, True),
        (SINE, {"factor": 2.0}, False),
        (TANH, {"factor": 2.0}, False),
        (SINE, {"half_turns": 1, "turn": -1.0}, True),
        (SINE, {"half_turns": 1, "turn": 1.0}, False),
        (SINE, {"half_turns": 2, "turn": 1.0}, True),
        (SINE, {"half_turns": 2, "turn": -1.0}, False),
        (SINE, {"half_turns": -1, "turn": -1.0, "factor": -1.0}, True),
        (TANH, {"half_turns": 2, "turn": 1.0}, False),
    ],
)
def test_what_is_a_symmetry_and_what_is_not(activation, change, expected):
    template, params, points = one_hidden_layer(activation)
    changed = apply_symmetries(template, params, element_on_hidden(template, **change))
    assert not torch.allclose(changed, params)
    assert is_symmetry(template, params, points, changed) == expected


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_permutations_must_be_coupled(rows, columns, expected):
    template, params, points = one_hidden_layer(RELU)
    changed = params.clone()
    tensors = template.parameters.unflatten(changed)
    order = torch.tensor([1, 2, 0])
    if rows:
        tensors["layers.0.weight"].copy_(tensors["layers.0.weight"][:, order].clone())
        tensors["layers.0.bias"].copy_(tensors["layers.0.bias"][:, order].clone())
    if columns:
        tensors["layers.1.weight"].copy_(tensors["layers.1.weight"][:, :, order].clone())
    assert is_symmetry(template, params, points, changed) == expected
    if rows and columns:
        element = replace(identity(template), order=torch.tensor([[0, 1, 3, 4, 2, 5]] * 2))
        assert torch.equal(apply_symmetries(template, params, element), changed)


def test_inputs_are_not_interchangeable():
    template, params, points = one_hidden_layer(RELU)
    element = replace(identity(template), order=torch.tensor([[1, 0, 2, 3, 4, 5]] * 2))
    assert not is_symmetry(template, params, points, apply_symmetries(template, params, element))


def test_biases_must_go_along():
    template, params, points = one_hidden_layer(RELU)
    moved = apply_symmetries(template, params, sample(template, ("permutation",), num_networks=2))
    slot = template.parameters.slot("layers.0.bias")
    bias = slice(slot.offset, slot.offset + slot.size)
    assert not torch.equal(moved, params)
    moved[:, bias] = params[:, bias].roll(1, dims=1)
    assert not is_symmetry(template, params, points, moved)


def test_tied_neurons_cannot_move_alone():
    """A skip ties the neurons that it adds: moving only one end changes the function."""
    spec = NetworkSpec(2, (LayerSpec(3, TANH), LayerSpec(3, TANH, skips=(1,)), LayerSpec(1)))
    template = template_from_spec(spec)
    params, points = rand(2, template.num_params), rand(7, 2, seed=1)
    alone = torch.tensor([[0, 1, 3, 4, 2, 5, 6, 7, 8]] * 2)
    both = torch.tensor([[0, 1, 3, 4, 2, 6, 7, 5, 8]] * 2)
    for order, expected in ((alone, False), (both, True)):
        element = replace(identity(template), order=order)
        changed = apply_symmetries(template, params, element)
        assert is_symmetry(template, params, points, changed) == expected


def test_sampling_is_reproducible():
    template = template_from_spec(SPECS["INR"])
    first, second = sample(template), sample(template)
    for name, values in vars(first).items():
        assert torch.equal(values, vars(second)[name])


def test_samples_have_the_asked_size_and_precision():
    template = template_from_spec(SPECS["INR"])
    element = sample_symmetries(template, 3, generator=torch.Generator().manual_seed(0))
    for values in vars(element).values():
        assert values.shape == (3, template.num_nodes)
    assert element.factor.dtype == element.shift.dtype == element.turn.dtype == torch.float32
    assert sample(template).shift.dtype == torch.float64


def test_scales_and_turns_stay_in_their_range():
    relu = template_from_spec(NetworkSpec.mlp((2, 50, 1), activation=RELU))
    generator = torch.Generator().manual_seed(0)
    factor = sample_symmetries(relu, 20, max_log_scale=0.5, generator=generator).factor
    assert factor.log().abs().max() <= 0.5 + 1e-6
    assert factor.log().abs().max() > 0.49
    for offset, expected in ((0.0, {-3, -2, -1, 0, 1, 2, 3}), (0.5, {-2, 0, 2})):
        spec = NetworkSpec(2, (LayerSpec(50, SINE, offset=offset), LayerSpec(1)))
        element = sample_symmetries(
            template_from_spec(spec), 20, max_turns=3, generator=generator, dtype=torch.float64
        )
        turns = (element.shift * 30.0 / math.pi).round().int()
        assert set(turns.unique().tolist()) == expected


def test_shifts_are_exact_in_double_precision():
    template = template_from_spec(NetworkSpec.mlp((1, 8, 1), activation=Activation("sine", 0.1)))
    shift = sample(template).shift
    turns = (shift * 0.1 / math.pi).round()
    assert turns.abs().max() > 0
    torch.testing.assert_close(shift, turns * math.pi / 0.1, rtol=1e-15, atol=0)


def test_unknown_kinds_are_refused(raises_saying):
    with raises_saying(
        asked="sample symmetries of the kinds rotation, sign",
        found="rotation is unknown",
        do="Choose from permutation, sign, scale, phase",
    ):
        sample_symmetries(template_from_spec(SPECS["INR"]), 1, kinds=("sign", "rotation"))


def test_one_network_s_symmetry_is_independent_of_the_other_s():
    element = sample(template_from_spec(SPECS["INR"]))
    for values in (element.order, element.factor, element.shift):
        assert len({tuple(row) for row in values.tolist()}) > 1
