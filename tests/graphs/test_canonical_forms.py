"""Canonical forms: the function stays, and all signs and phases of a network have the same form."""

import math
from collections import Counter
from functools import cache

import pytest
import torch
from torch import Tensor

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.canonical_forms import (
    CANONICAL_KINDS,
    canonical_graphs,
    canonical_params,
    canonical_symmetries,
)
from nn_graphs.graphs.execution import network_outputs
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.graphs.symmetry import apply_symmetries, sample_symmetries
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.inr import inr_preset
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from tests.graphs.architectures import ARCHITECTURES, SPECS
from tests.processes import assert_runs_in_own_process

NUM_NETWORKS = 6
SAME = {"rtol": 1e-9, "atol": 1e-9}
SINE, TANH, RELU = Activation("sine", 30.0), Activation("tanh"), Activation("relu")
INR = NetworkSpec.mlp((2, 5, 4, 1), activation=SINE, offset=0.5)
# Names of `SPECS`, or of `ARCHITECTURES` that are traced. Those with sines have phases.
SPECS_WITH_SINES = ("INR", *(f"random {seed}" for seed in (1, 13, 19, 26, 27, 40, 303)))
TRACED_WITH_SINES = ("widths of one", "sine module", "sum of many", "tied parameters")
WITHOUT_SINES = (
    *("sequential", "one layer", "spec with none", "spec with hardtanh", "nested"),
    *("skip", "skip to fewer", "skip to more", "skip to the output", "read twice"),
    *("added to itself", "tied layers", "tied and summed", "several outputs"),
    *("activation after a shift", "arithmetic", "first channels", "padded"),
)
NETWORKS = (*SPECS_WITH_SINES, *TRACED_WITH_SINES, *WITHOUT_SINES)
PAIRS = [(name, CANONICAL_KINDS) for name in NETWORKS]  # of a network and kinds
PAIRS += [
    (name, (kind,)) for name in SPECS_WITH_SINES + TRACED_WITH_SINES for kind in CANONICAL_KINDS
]


def rand(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def has_neurons_of_zero(template: GraphTemplate) -> bool:
    """Whether nothing leads to some neuron, as where channels are padded."""
    structure = template.structure()
    is_reached = torch.zeros(template.num_nodes, dtype=torch.bool)
    is_reached[structure.edge_index[1]] = True
    return bool((~is_reached & (structure.kind_id != NeuronKind.INPUT.value)).any())


def moved(template: GraphTemplate, params: Tensor, kinds: tuple[str, ...], seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    element = sample_symmetries(
        template, len(params), kinds=kinds, generator=generator, dtype=torch.float64
    )
    return apply_symmetries(template, params, element)


@cache
def network_of(name: str) -> tuple[GraphTemplate, Tensor]:
    """A template and the parameters of six networks, of specs and of traced modules."""
    if name in SPECS_WITH_SINES:
        template = template_from_spec(SPECS[name])
    else:
        architecture = ARCHITECTURES[name]
        template = trace(architecture.module(), architecture.example())
    return template, rand(NUM_NETWORKS, template.num_params)


@pytest.fixture(params=NETWORKS)
def network(request) -> tuple[GraphTemplate, Tensor]:
    return network_of(request.param)


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}, {' and '.join(pair[1])}")
def case(request) -> tuple[GraphTemplate, Tensor, tuple[str, ...]]:
    """A template, the parameters of six networks, and the kinds of symmetries that are meant."""
    name, kinds = request.param
    return (*network_of(name), kinds)


def behaviours(template: GraphTemplate) -> set[str]:
    """What may be done to neurons: s(ign), t(ied to others), p(hase), h(alf a period)."""
    rules, axes = template.neuron_rules, template.symmetries.axes
    num_groups = Counter(number for axis in axes for number in {s.permutation for s in axis})
    found = set()
    for group, axis in zip(template.groups, axes, strict=True):
        turns = bool(rules.allows_turns[group.start])
        halves = turns and bool(rules.allows_odd_turns[group.start])
        for number in {segment.permutation for segment in axis}:
            is_free = number is not None
            has_sign = is_free and "sign" in rules.allowed_kinds[number]
            is_tied = is_free and num_groups[number] > 1
            flags = zip("stph", (has_sign, is_tied, turns, halves), strict=True)
            found.add("".join(letter for letter, flag in flags if flag))
    return found


def test_the_networks_have_neurons_of_every_behaviour():
    found = set().union(*(behaviours(network_of(name)[0]) for name in NETWORKS))
    assert found == {"", "s", "t", "st", "p", "ph", "tp", "tph", "sph", "stph"}


def test_the_function_stays(case):
    template, params, kinds = case
    num_inputs = sum(group.width for group in template.groups if group.kind.name == "INPUT")
    points = rand(7, num_inputs, seed=2)
    before, after = template.stack(params), canonical_graphs(template.stack(params), kinds=kinds)
    torch.testing.assert_close(
        network_outputs(after, points), network_outputs(before, points), **SAME
    )


def test_the_form_of_a_form_is_the_form(case):
    template, params, kinds = case
    once = canonical_params(template, params, kinds=kinds)
    torch.testing.assert_close(canonical_params(template, once, kinds=kinds), once, **SAME)


def test_all_copies_have_one_form(case):
    template, params, kinds = case
    if has_neurons_of_zero(template):
        pytest.skip("the sign of a neuron that is 0 whatever the input cannot be told")
    copies = moved(template, params, kinds)
    torch.testing.assert_close(
        canonical_params(template, copies, kinds=kinds),
        canonical_params(template, params, kinds=kinds),
        **SAME,
    )


def test_permutations_go_through(case):
    template, params, kinds = case
    form = canonical_params(template, params, kinds=kinds)
    permuted = moved(template, params, ("permutation",))
    torch.testing.assert_close(
        canonical_params(template, permuted, kinds=kinds),
        moved(template, form, ("permutation",)),
        **SAME,
    )


def test_scales_leave_the_signs(network):
    template, params = network
    before, after = (
        canonical_symmetries(template.stack(each), kinds=("sign",)).factor
        for each in (params, moved(template, params, ("scale",)))
    )
    assert torch.equal(before, after)


def test_the_graph_of_the_form_is_the_form_of_the_graph(network):
    template, params = network
    graphs = canonical_graphs(template.stack(params))
    expected = template.stack(canonical_params(template, params))
    torch.testing.assert_close(graphs.node_features, expected.node_features, **SAME)
    torch.testing.assert_close(graphs.edge_features, expected.edge_features, **SAME)


def test_hidden_neurons_grow_with_the_inputs():
    """In the network without biases and with the identity as activation."""
    template = template_from_spec(INR)
    layers = template.parameters.unflatten(canonical_params(template, rand(5, INR.num_params)))
    first = layers["layers.0.weight"].sum(-1)
    second = (layers["layers.1.weight"] @ first.unsqueeze(-1)).squeeze(-1)
    assert (first > 0).all()
    assert (second > 0).all()


def test_biases_lie_in_half_a_period():
    template = template_from_spec(INR)
    layers = template.parameters.unflatten(canonical_params(template, rand(5, INR.num_params)))
    for index in (0, 1):
        assert layers[f"layers.{index}.bias"].abs().max() <= math.pi / 2 / 30


def test_behind_an_offset_biases_lie_in_a_whole_period():
    spec = NetworkSpec(2, (LayerSpec(40, SINE, offset=0.5), LayerSpec(1)))
    template = template_from_spec(spec)
    params = rand(5, spec.num_params)
    form = canonical_params(template, params)
    biases = template.parameters.unflatten(form)["layers.0.bias"]
    assert math.pi / 2 / 30 < biases.abs().max() <= math.pi / 30
    weights = [template.parameters.unflatten(each)["layers.1.weight"] for each in (params, form)]
    assert torch.equal(*weights)


@pytest.mark.parametrize(("activation", "expected"), [(SINE, True), (TANH, True), (RELU, False)])
def test_what_has_no_sign_is_left_alone(activation, expected):
    spec = NetworkSpec.mlp((2, 5, 4, 1), activation=activation)
    template, params = template_from_spec(spec), rand(5, spec.num_params)
    assert torch.equal(canonical_params(template, params), params) != expected


def test_tied_neurons_turn_together():
    spec = NetworkSpec(2, (LayerSpec(3, TANH), LayerSpec(3, TANH, skips=(1,)), LayerSpec(1)))
    factor = canonical_symmetries(template_from_spec(spec).stack(rand(9, spec.num_params))).factor
    assert torch.equal(factor[:, 2:5], factor[:, 5:8])
    assert (factor == -1).any()


def test_of_no_kind_every_network_is_its_form():
    template = template_from_spec(INR)
    params = rand(5, INR.num_params)
    assert torch.equal(canonical_params(template, params, kinds=()), params)


def test_kinds_are_independent():
    template = template_from_spec(INR)
    graphs = template.stack(rand(5, INR.num_params))
    assert (canonical_symmetries(graphs, kinds=("phase",)).factor == 1).all()
    sign = canonical_symmetries(graphs, kinds=("sign",))
    assert (sign.shift == 0).all()
    assert (sign.turn == 1).all()


def test_zero_parameters_are_a_form():
    template = template_from_spec(INR)
    params = torch.zeros(2, INR.num_params)
    assert torch.equal(canonical_params(template, params), params)


def test_single_precision_and_gradients():
    """A change of parameters reaches the form with the neuron's sign."""
    spec = inr_preset("dws").make_spec((2, 8, 8, 1))
    template = template_from_spec(spec)
    params = rand(3, spec.num_params).float().requires_grad_()
    form = canonical_params(template, params)
    form.sum().backward()
    assert form.dtype == torch.float32
    assert (params.grad.abs() == 1).all()
    assert (params.grad == -1).any()


def test_an_unknown_kind(raises_saying):
    graphs = template_from_spec(INR).stack(rand(1, INR.num_params))
    with raises_saying(asked="canonical form", found="scale", do="sign, phase"):
        canonical_graphs(graphs, kinds=("sign", "scale"))


def test_graphs_that_are_no_stack(raises_saying):
    graphs = template_from_spec(INR).stack(rand(1, INR.num_params))
    with raises_saying(asked="canonical form", found="torch-geometric", do="canonical_params"):
        canonical_graphs(graphs[0])


def test_it_is_one_graph_for_the_compiler():
    assert_runs_in_own_process(compile_it)


def compile_it() -> None:
    """Compiles without code generation, and compares."""
    template, params = template_from_spec(INR), rand(3, INR.num_params)
    expected = canonical_graphs(template.stack(params))
    compiled = torch.compile(canonical_graphs, backend="aot_eager", fullgraph=True)
    found = compiled(template.stack(params))
    assert torch.equal(found.node_features, expected.node_features)
    assert torch.equal(found.edge_features, expected.edge_features)
