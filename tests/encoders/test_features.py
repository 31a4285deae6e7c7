"""The input stage: what the first vectors of neurons and edges know."""

import math

import pytest
import torch
from torch.testing import assert_close

from nn_graphs.encoders.features import (
    FourierFeatures,
    GraphFeatures,
    InputSettings,
    ProbeFeatures,
)
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.execution import execute
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.testing import assert_batch_independent
from tests.encoders.cases import RELU, classifier, inr, make_encoder, networks, skipping

TEMPLATE = inr(2, 4, 3, 2)
DIMS = GraphDims.of([TEMPLATE])
NO_POSITIONS = InputSettings(has_positions=False)


def make_features(dims: GraphDims = DIMS, **options) -> GraphFeatures:
    torch.manual_seed(0)
    defaults = {
        "node_dim": 6,
        "edge_dim": 5,
        "fourier_sigma": None,
        "has_reverse_features": False,
        "weights_on": "forward",
        "num_probes": 0,
        "has_activation_embedding": False,
    }
    features = GraphFeatures(dims, WeightStatistics.identity(dims), **defaults | options)
    return features.double()


def test_fourier_features_are_cosines_then_sines():
    features = FourierFeatures(3, sigma=2.0).double()
    values = torch.randn(5, 3, dtype=torch.float64)
    found = features(values)
    assert found.shape == (5, 256)
    phase = 2 * math.pi * (features.frequencies[7] @ values[1])
    assert_close(found[1, 7], phase.cos())
    assert_close(found[1, 128 + 7], phase.sin())


def test_fourier_frequencies_are_fixed_and_have_the_deviation_asked_for():
    torch.manual_seed(0)
    features = FourierFeatures(50, sigma=3.0)
    assert list(features.parameters()) == []
    assert "frequencies" in features.state_dict()
    assert features.frequencies.std().item() == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("weights_on", ["forward", "backward"])
@pytest.mark.parametrize("has_reverse", [False, True])
def test_directed_edges_know_the_weights_of_their_own_direction(weights_on, has_reverse):
    features = make_features(weights_on=weights_on, has_reverse_features=has_reverse)
    stack = TEMPLATE.stack(networks(TEMPLATE, 2))
    topology = stack.topology.bidirectional
    edges = features.edges(stack, topology)
    weights, none = stack.edge_features, torch.zeros_like(stack.edge_features)
    channels = [weights, none, weights] if has_reverse else [weights]
    mirrored = [none, weights, weights] if has_reverse else [none]
    own = features.edge_in(features.weight_embedding(torch.cat(channels, dim=-1)))
    other = features.edge_in(features.weight_embedding(torch.cat(mirrored, dim=-1)))
    forward, backward = topology.split(edges)
    assert_close(forward, own if weights_on == "forward" else other)
    assert_close(backward, own if weights_on == "backward" else other)
    assert_close(features.own_edges(edges, topology), own)


def test_positions_tell_inputs_and_outputs_apart_and_hidden_neurons_by_layer():
    nodes = make_features().nodes(TEMPLATE.stack(torch.zeros(1, TEMPLATE.num_params).double()))[0]
    first, second = nodes[2:6], nodes[6:9]
    for layer in (first, second):
        assert_close(layer, layer[:1].expand_as(layer))
    distinct = torch.stack([*nodes[:2], first[0], second[0], *nodes[9:]])
    distances = torch.cdist(distinct, distinct) + torch.eye(len(distinct))
    assert distances.min() > 1e-3


def test_probe_features_see_the_activations_of_the_networks():
    torch.manual_seed(0)
    features = ProbeFeatures(DIMS, num_probes=5, out_dim=3).double()
    stack = TEMPLATE.stack(networks(TEMPLATE, 2))
    found = features(stack)
    activations = execute(stack, features.probes)
    for node, layer in ((0, 0), (3, 1), (7, 2), (9, 3)):
        expected = features.projections[layer](activations[:, node])
        assert_close(found[:, node], expected)


def test_probes_begin_between_minus_1_and_1_and_are_learned():
    features = ProbeFeatures(DIMS, num_probes=500, out_dim=3)
    assert features.probes.min() < -0.95
    assert features.probes.max() > 0.95
    assert features.probes.abs().max() <= 1
    features(TEMPLATE.stack(networks(TEMPLATE, 2).float())).square().sum().backward()
    assert features.probes.grad.abs().min() > 0


@pytest.mark.parametrize("name", ["gnn_probes", "ngt_probes"])
def test_probes_of_networks_with_different_numbers_of_inputs(name):
    templates = [inr(2, 3, 2), inr(3, 4, 4, 1), skipping()]
    encoder = make_encoder(name, templates)
    model = classifier(encoder, GraphDims.of(templates), "mean", layer="last")
    assert_batch_independent(model, [t.stack(networks(t, 2)) for t in templates])


def test_probe_features_in_an_edge_list_equal_those_in_a_stack_for_leaky_relu():
    spec = NetworkSpec.mlp([2, 4, 1], activation=Activation("leaky_relu"))
    template = template_from_spec(spec)
    encoder = make_encoder("gnn_probes", [template])
    assert_batch_independent(encoder, [template.stack(networks(template, 2))])


def test_activation_embedding_is_added_to_hidden_neurons_alone():
    with_activations = make_features(has_activation_embedding=True)
    without = make_features()
    without.load_state_dict(with_activations.state_dict(), strict=False)
    stack = TEMPLATE.stack(networks(TEMPLATE, 1))
    difference = (with_activations.nodes(stack) - without.nodes(stack))[0]
    row = with_activations.activation_embedding.weight[Activation("sine").activation_id]
    assert_close(difference[2:9], row.expand(7, -1))
    assert difference[[0, 1, 9, 10]].abs().max() == 0


def test_activation_embedding_tells_networks_apart_that_differ_in_nothing_else():
    sine, relu = (
        template_from_spec(NetworkSpec.mlp([2, 4, 1], activation=activation))
        for activation in (Activation("sine"), RELU)
    )
    params = networks(sine, 1)
    for name, is_same in (("gnn", True), ("gnn_probes_activations", False)):
        encoder = make_encoder(name, [sine])
        one, other = (encoder(template.stack(params)).nodes for template in (sine, relu))
        assert torch.equal(one, other) == is_same


def test_skips_are_edges_of_their_constant():
    template = skipping()
    dims = GraphDims.of([template])
    features = make_features(dims)
    stack = template.stack(networks(template, 2))
    forward, _ = stack.topology.bidirectional.split(
        features.edges(stack, stack.topology.bidirectional)
    )
    is_constant = template.structure().edge_kind_id != 0
    one = features.edge_in(features.weight_embedding(torch.ones(1, dtype=torch.float64)))
    assert is_constant.sum() == 4 + 2 + 3
    assert_close(forward[:, is_constant], one.expand(2, 9, -1))


@pytest.mark.parametrize("has_biases", [True, False])
@pytest.mark.parametrize("has_weights", [True, False])
def test_inputs_without_biases_or_weights(has_biases, has_weights):
    inputs = InputSettings(has_biases=has_biases, has_weights=has_weights)
    features = make_features(inputs=inputs)
    stack = TEMPLATE.stack(networks(TEMPLATE, 2))
    zeros = TEMPLATE.stack(torch.zeros_like(stack.params))
    (nodes, edges), (no_nodes, no_edges) = (features(g, g.topology) for g in (stack, zeros))
    assert torch.equal(nodes, no_nodes) == (not has_biases)
    same = all(torch.equal(*pair) for pair in zip(edges, no_edges, strict=True))
    assert same == (not has_weights)


def test_inputs_without_positions():
    with_positions, without = make_features(), make_features(inputs=NO_POSITIONS)
    assert not hasattr(without, "positions")
    zeros = TEMPLATE.stack(torch.zeros(1, TEMPLATE.num_params, dtype=torch.float64))
    assert len(without.nodes(zeros)[0].unique(dim=0)) == 1
    assert len(with_positions.nodes(zeros)[0].unique(dim=0)) > 1


def test_inputs_as_they_are():
    """Fourier features of raw kernels see them at their own scale."""
    scaled = WeightStatistics(*(3.0 * torch.ones(4) for _ in range(4)))
    stack = TEMPLATE.stack(networks(TEMPLATE, 2))
    for is_normalised, expected in ((True, (stack.edge_features - 3) / 3), (False, None)):
        inputs = InputSettings(is_normalised=is_normalised)
        features = GraphFeatures(
            DIMS,
            scaled,
            node_dim=6,
            edge_dim=5,
            fourier_sigma=3.0,
            num_probes=0,
            has_activation_embedding=False,
            inputs=inputs,
        )
        found = features.normalised_weights(stack)
        assert_close(found, stack.edge_features if expected is None else expected)


def test_number_of_frequencies():
    features = make_features(fourier_sigma=1.0, inputs=InputSettings(num_frequencies=7))
    assert features.weight_embedding[0].frequencies.shape == (7, 1)
    assert features.bias_embedding[1].in_features == 14
    assert features.nodes(TEMPLATE.stack(networks(TEMPLATE, 2))).shape == (2, 11, 6)


@pytest.mark.parametrize(
    ("activation", "asked", "rows"),
    [("relu", None, 7), ("leaky_relu", None, 7), ("sine", None, 8), ("mish", None, 16),
     ("relu", 7, 7), ("relu", 12, 12), ("relu", 2, 2), ("sine", 9, 9)],
)  # fmt: skip
def test_the_table_of_activations_does_not_grow_with_those_that_are_known(activation, asked, rows):
    template = template_from_spec(NetworkSpec.mlp((2, 3, 1), activation=Activation(activation)))
    features = make_features(
        GraphDims.of([template]),
        has_activation_embedding=True,
        inputs=InputSettings(num_activations=asked),
    )
    assert features.activation_embedding.weight.shape == (rows, 6)
    assert features.nodes(template.stack(networks(template, 2))).isfinite().all()


def test_a_table_that_is_too_small(raises_saying):
    template = template_from_spec(NetworkSpec.mlp((2, 3, 1), activation=Activation("sine")))
    dims = GraphDims.of([template])
    with raises_saying(asked="table of 7", found="activation 7 (sine)", do="num_activations=8"):
        InputSettings(num_activations=7).table_size(dims)
    relu = template_from_spec(NetworkSpec.mlp((2, 3, 1), activation=Activation("tanh")))
    with raises_saying(asked="table of 4", found="activation 4 (tanh)", do="num_activations=5"):
        InputSettings(num_activations=4).table_size(GraphDims.of([relu]))
