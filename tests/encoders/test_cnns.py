"""Encoders on convolutional networks: kernels on edges, of one architecture and of many."""

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders.dws import DWSNet
from nn_graphs.encoders.equivariant.head import InvariantHead
from nn_graphs.encoders.heads import GraphModel
from nn_graphs.encoders.nfn import NFN
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.encoders.statnn import StatNN, tensor_statistics
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.cnn import wild_park_spec
from nn_graphs.networks.spec import ConvSpec, LayerSpec, NetworkSpec
from nn_graphs.testing import (
    assert_batch_independent,
    assert_equivariant,
    assert_invariant,
    assert_sensitive,
)
from tests.encoders.cases import (
    assert_equal_gradients_as_edge_list,
    classifier,
    editor,
    make_encoder,
    networks,
    plain_features,
    randomise,
)

RELU = Activation("relu")
SPECS = [
    wild_park_spec(
        (2, 3, 4, 3),
        (3, 1, 5),
        activations=("relu", "gelu", "tanh"),
        residuals=(-1, -1, 0),
        num_outputs=2,
    ),
    NetworkSpec.cnn((2, 4), convs=ConvSpec.square(3), activations=RELU, num_outputs=2),
    NetworkSpec(
        2, (LayerSpec(3, RELU, has_bias=False, conv=ConvSpec((3, 1))), LayerSpec(1), LayerSpec(2))
    ),
    NetworkSpec.mlp((2, 3, 2), activation=RELU),
]
ALL = [template_from_spec(spec) for spec in SPECS]
DIMS = GraphDims.of(ALL)
PARK = ALL[0]
NAMES = ["gnn", "gnn_forward", "ngt", "ngt_edges", "ngt_reverse"]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def centred_stacks(count: int = 2) -> list[NeuralGraphStack]:
    return [DIMS.centred(template.stack(networks(template, count))) for template in ALL]


def make(name: str):
    encoder = make_encoder(name, ALL)
    randomise(encoder)
    return encoder


def test_sizes_of_several_architectures():
    assert DIMS.kernel_size == (5, 5)
    assert DIMS.num_edge_values == 25


@pytest.mark.parametrize("name", NAMES)
def test_invariant_and_equivariant(name):
    encoder = make(name)
    for template in ALL[:3]:
        params = networks(template, 3)
        assert_invariant(classifier(encoder, DIMS), template, params, generator=generator())
        assert_equivariant(editor(encoder, DIMS), template, params, generator=generator())
        pooled = classifier(encoder, DIMS, "mean", layer="all")
        assert_sensitive(pooled, template, params)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_does_not_see_its_batch(name):
    encoder = make(name)
    for model in (encoder, classifier(encoder, DIMS)):
        assert_batch_independent(model, centred_stacks())


@pytest.mark.parametrize("name", NAMES)
def test_blocks_and_edge_lists_have_equal_gradients(name):
    assert_equal_gradients_as_edge_list(classifier(make(name), DIMS), centred_stacks(3)[0])


def test_edited_networks_have_their_own_kernel_sizes():
    params = networks(PARK, 3)
    edited = editor(make("gnn"), DIMS)(PARK.stack(params))
    assert edited.kernel_size == (5, 5)
    assert edited.params.shape == params.shape
    assert (edited.params != params).any(0).float().mean() > 0.9


def test_kernels_are_scaled_but_not_moved_and_skips_stay_one():
    populations = [(template, networks(template, 6) + 0.2) for template in ALL]
    statistics = WeightStatistics.measure(DIMS, populations)
    features = plain_features(DIMS, statistics).double()
    graphs = DIMS.centred(PARK.stack(networks(PARK, 2)))
    found = features.normalised_weights(graphs)
    is_value = PARK.is_value((5, 5))
    assert (found[:, ~is_value] == 0).all()
    is_skip = PARK.structure().edge_kind_id == 1
    assert is_skip.sum() == 3
    assert found[0, is_skip][:, 12].tolist() == [1.0] * 3
    weights = torch.cat([p.flatten() for t, p in populations for p in [first_weights(t, p)]])
    is_first = PARK.structure().edge_index[1] < 5
    expected = graphs.edge_features[:, is_first] / weights.square().mean().sqrt()
    assert_close(found[:, is_first], expected, rtol=1e-5, atol=1e-6)


def first_weights(template, params):
    return template.parameters.unflatten(params)["layers.0.weight"]


def test_graphs_without_centred_kernels(raises_saying):
    small = next(template for template in ALL if template.kernel_size == (3, 3))
    batch = Batch.from_data_list([small(networks(small, 1)[0])])
    with raises_saying(asked="[5, 5]", found="edge features are", do="Centre the kernels"):
        make("gnn")(batch)


# StatNN.


def test_statistics_of_tensors_with_kernels_of_their_own_size():
    stacks = centred_stacks(3)
    raw = [template.stack(stack.params) for template, stack in zip(ALL, stacks, strict=True)]
    for stack, plain in zip(stacks, raw, strict=True):
        for found, other in zip(
            tensor_statistics(stack, DIMS), tensor_statistics(plain, DIMS), strict=True
        ):
            assert torch.equal(found, other)
    weights = PARK.parameters.unflatten(stacks[0].params)["layers.2.weight"].flatten(1)
    found, _ = tensor_statistics(stacks[0], DIMS)
    assert_close(found[:, 2, 0], weights.mean(1))
    assert_close(found[:, 2, 4], weights.median(1).values, rtol=1e-1, atol=1e-1)
    batch = Batch.from_data_list([graph for stack in stacks for graph in stack])
    mixed, is_there = tensor_statistics(batch, DIMS)
    alone, also_there = (
        torch.cat(parts)
        for parts in zip(*(tensor_statistics(stack, DIMS) for stack in stacks), strict=True)
    )
    assert torch.equal(is_there, also_there)
    assert_close(mixed[is_there], alone[is_there], rtol=1e-12, atol=1e-12)


def test_statnn_of_mixed_architectures():
    model = StatNN(ALL, centred_stacks(4), hidden_dims=[5], out_dim=2)
    assert_batch_independent(model, centred_stacks())
    assert_invariant(model, PARK, networks(PARK, 3), generator=generator())


# Weight space layers.


def weight_space_model(name: str, template) -> GraphModel:
    torch.manual_seed(0)
    statistics = WeightStatistics.measure(
        GraphDims.of([template]), [(template, networks(template, 6))]
    )
    if name == "dws":
        encoder = DWSNet(template, statistics, dim=4, num_layers=2, has_batch_norm=False)
    else:
        sigma = None if name == "np" else 0.5
        encoder = NFN(template, statistics, variant=name, dims=[4, 4], fourier_sigma=sigma)
    return GraphModel(
        encoder, InvariantHead(encoder.spaces, dim=4, hidden_dims=[5], dropout=0.0, out_dim=3)
    )


@pytest.mark.parametrize("name", ["dws", "np", "hnp"])
def test_weight_space_encoders(name):
    for template in ALL[:3]:
        params = networks(template, 3)
        model = weight_space_model(name, template).double().eval()
        assert_invariant(model, template, params, generator=generator())
        assert_sensitive(model, template, params)
        centred = GraphDims.of([template]).centred(template.stack(params))
        whole = model(centred)
        assert_close(whole, model(template.stack(params)))
        assert_close(model(template.stack(params[1:2])), whole[1:2])


@pytest.mark.parametrize("name", ["dws", "np", "hnp"])
def test_weight_space_encoders_read_every_value_of_a_kernel(name):
    model, template = weight_space_model(name, ALL[1]).double().eval(), ALL[1]
    params = networks(template, 2).requires_grad_()
    model(template.stack(params)).square().sum().backward()
    assert (params.grad != 0).all()


def test_flattened_maps_have_no_spaces(raises_saying):
    spec = NetworkSpec.cnn(
        (1, 2), convs=ConvSpec.square(3), activations=RELU, num_outputs=2, num_places=4
    )
    with raises_saying(asked="parameter spaces", found="flattened", do="NGGNN"):
        DWSNet(template_from_spec(spec))
