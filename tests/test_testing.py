"""The property tests measure what they say, and catch models that are broken on purpose."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from nn_graphs.encoders.features import EncodedGraphs
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.graphs.symmetry import ALL_KINDS, sample_symmetries
from nn_graphs.testing import (
    assert_batch_independent,
    assert_equivariant,
    assert_function_unchanged,
    assert_invariant,
    assert_sensitive,
)
from tests.encoders.cases import classifier, editor, inr, linear_map, make_encoder, networks, small

pytestmark = pytest.mark.usefixtures("one_thread")

TEMPLATE = inr(2, 5, 4, 2)
DIMS = GraphDims.of([TEMPLATE, small()])
PARAMS = networks(TEMPLATE, 4)


def make_gnn() -> NGGNN:
    return make_encoder("gnn", [TEMPLATE, small()])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


class WholeBatchNorm(nn.Module):
    """The norm of the public code: over all graphs of the batch."""

    def forward(self, topology, nodes):
        return (nodes - nodes.mean()) / (nodes.var() + 1e-5).sqrt()


class ReadsTwoNodesEarly(nn.Module):
    """The head of the public code: it begins to read at the inputs."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, graphs):
        encoded = self.model.encoder(graphs)
        early = encoded.nodes.roll(2, dims=-2)
        return self.model.head(EncodedGraphs(encoded.graphs, early, encoded.edges))


class NormalisesEachWeight(nn.Module):
    """`normalize: True` of the public code: a mean and a deviation for every single weight."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        stack = TEMPLATE.stack(PARAMS)
        self.register_buffer("mean", stack.edge_features.mean(0))
        self.register_buffer("std", stack.edge_features.std(0) + 1e-3)

    def forward(self, graphs):
        edges = (graphs.edge_features - self.mean) / self.std
        return self.model(graphs.with_features(graphs.node_features, edges))


class SeesSetsOfWeights(nn.Module):
    """Mean and deviation of all weights: invariant, but blind to how neurons are joined."""

    def forward(self, graphs):
        weights = graphs.edge_features
        return torch.cat([weights.mean(1), weights.std(1)], dim=1)


# Sound models.


def test_sound_models_pass_and_the_errors_are_rounding():
    encoder = make_gnn()
    classes, edits = classifier(encoder, DIMS), editor(encoder, DIMS)
    stacks = [TEMPLATE.stack(PARAMS), small().stack(networks(small(), 2))]
    errors = [
        assert_invariant(classes, TEMPLATE, PARAMS, generator=generator()),
        assert_equivariant(edits, TEMPLATE, PARAMS, generator=generator()),
        *(assert_batch_independent(model, stacks) for model in (classes, edits, encoder)),
    ]
    assert 0 < max(errors) < 1e-13
    assert assert_sensitive(edits, TEMPLATE, PARAMS) > 1e-5


def test_models_and_parameters_are_measured_in_float64_and_left_as_they_are():
    model = classifier(make_gnn(), DIMS).float()
    assert assert_invariant(model, TEMPLATE, PARAMS.float()) < 1e-13
    stacks = [TEMPLATE.stack(PARAMS.float())]
    assert assert_batch_independent(model, stacks) < 1e-13
    assert all(p.dtype == torch.float32 and p.grad is None for p in model.parameters())


def test_the_generator_makes_the_error_reproducible():
    model = classifier(make_gnn(), DIMS)
    first, second = (
        assert_invariant(model, TEMPLATE, PARAMS, generator=generator()) for _ in range(2)
    )
    assert first == second


# Broken models.


def test_a_norm_over_the_whole_batch_is_caught():
    encoder = make_gnn()
    encoder.norms[1] = WholeBatchNorm()
    model = classifier(encoder, DIMS)
    assert_invariant(model, TEMPLATE, PARAMS[:1])
    with pytest.raises(AssertionError, match=r"graph 0 of stack 0 in its stack instead of alone.*"):
        assert_batch_independent(model, [TEMPLATE.stack(PARAMS)])


def test_a_head_that_reads_biases_two_nodes_early_is_caught():
    model = ReadsTwoNodesEarly(editor(make_gnn(), DIMS))
    with pytest.raises(AssertionError, match=r"layers.0.bias after a permutation.*is off by"):
        assert_equivariant(model, TEMPLATE, PARAMS)


def test_normalising_each_weight_is_caught():
    model = NormalisesEachWeight(classifier(make_gnn(), DIMS))
    with pytest.raises(AssertionError, match=r"the output after a permutation.*1.0e-09"):
        assert_invariant(model, TEMPLATE, PARAMS)


def test_a_model_that_is_blind_to_connections_is_caught():
    assert_invariant(SeesSetsOfWeights(), TEMPLATE, PARAMS)
    with pytest.raises(AssertionError, match=r"layers.0.weight alone changes the output by"):
        assert_sensitive(SeesSetsOfWeights(), TEMPLATE, PARAMS)


def test_a_model_that_sees_signs_is_not_invariant_to_them():
    model = classifier(make_gnn(), DIMS)
    with pytest.raises(AssertionError, match="after a sign of neurons"):
        assert_invariant(model, TEMPLATE, PARAMS, kinds=("permutation", "sign"))


def test_a_constant_that_an_editor_moves_is_caught():
    def moves_input_neurons(graphs):
        noise = torch.arange(graphs.node_features.numel()).double()
        nodes = graphs.node_features + noise.reshape(graphs.node_features.shape)
        is_input = (graphs.structure.kind_id == 0)[:, None]
        nodes = torch.where(is_input, nodes * graphs.edge_features[:, :1], graphs.node_features)
        return graphs.with_features(nodes, graphs.edge_features)

    with pytest.raises(AssertionError, match="a missing bias"):
        assert_equivariant(moves_input_neurons, TEMPLATE, PARAMS)


def test_not_a_number_is_no_success():
    with pytest.raises(AssertionError, match="off by nan"):
        assert_invariant(lambda graphs: graphs.node_features[:, 0] / 0, TEMPLATE, PARAMS)


def test_models_with_dropout_are_refused(raises_saying):
    encoder = NGGNN([TEMPLATE], dim=8, num_layers=2, dropout=0.5)
    model = classifier(encoder, GraphDims.of([TEMPLATE]))
    with raises_saying(asked="measure", found="two runs", do="model.eval()"):
        assert_invariant(model, TEMPLATE, PARAMS)
    assert assert_invariant(model.eval(), TEMPLATE, PARAMS) < 1e-13


def test_networks_without_hidden_neurons_have_nothing_to_move():
    template = linear_map()
    model = classifier(make_encoder("gnn", [template]), GraphDims.of([template]))
    with pytest.raises(AssertionError, match="No weight joins"):
        assert_sensitive(model, template, networks(template, 2))


# Functions of networks.


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_symmetries_do_not_change_functions(kind):
    element = sample_symmetries(
        TEMPLATE, len(PARAMS), kinds=[kind], generator=generator(), dtype=torch.float64
    )
    assert assert_function_unchanged(TEMPLATE, PARAMS, element, generator=generator()) < 1e-9


def test_a_scale_of_sines_does_change_functions():
    element = sample_symmetries(TEMPLATE, len(PARAMS), kinds=["permutation"], dtype=torch.float64)
    factor = element.factor.clone()
    factor[1, 4] = 1.1  # a hidden neuron
    with pytest.raises(AssertionError, match=r"after the symmetry, graph 1, is off by"):
        assert_function_unchanged(TEMPLATE, PARAMS, replace(element, factor=factor))
