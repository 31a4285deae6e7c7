"""NFN: which neurons each variant tells apart, and by what."""

import pytest
import torch
from torch.testing import assert_close

from nn_graphs.encoders.equivariant.head import InvariantHead
from nn_graphs.encoders.heads import GraphModel
from nn_graphs.encoders.nfn import NFN, check_variant
from nn_graphs.graphs.builder import without_fixed_neurons
from nn_graphs.graphs.symmetry import apply_to_graphs
from tests.encoders.cases import inr, networks
from tests.encoders.equivariant.cases import permutations

TEMPLATE = inr(3, 5, 4, 2)
SMALL = {"dims": (8, 6), "fourier_sigma": None}


def change_after_permuting_the_ends(**options) -> float:
    """How much outputs change when inputs and outputs are permuted like hidden neurons."""
    torch.manual_seed(0)
    encoder = NFN(TEMPLATE, **SMALL | options)
    head = InvariantHead(encoder.spaces, dim=6, hidden_dims=[], dropout=0.0, out_dim=4)
    model = GraphModel(encoder, head).double()
    graphs = TEMPLATE.stack(networks(TEMPLATE, 6))
    free = without_fixed_neurons(TEMPLATE)
    moved = apply_to_graphs(free, free.stack(graphs.params), permutations(free, 6))
    return (model(moved) - model(graphs)).abs().max().item()


def test_without_positions_np_cannot_tell_inputs_and_outputs_apart():
    assert change_after_permuting_the_ends(variant="np", num_bands=0) < 1e-12


def test_positions_tell_them_apart():
    assert change_after_permuting_the_ends(variant="np") > 1e-4


def test_hnp_tells_them_apart_without_positions():
    assert change_after_permuting_the_ends(variant="hnp", num_bands=0) > 1e-4


def test_hnp_has_more_maps_than_np():
    layers = [
        NFN(TEMPLATE, variant=variant, **SMALL).layers.linears[0] for variant in ("np", "hnp")
    ]
    assert layers[0].num_maps < layers[1].num_maps


@pytest.mark.parametrize(
    ("options", "in_dim"),
    [
        ({}, 256 + 13),
        ({"num_bands": 0}, 256),
        ({"fourier_sigma": None, "num_bands": 3, "max_frequency": 3.0}, 1 + 7),
        ({"fourier_sigma": None, "num_bands": 0}, 1),
    ],
)
def test_input_features(options, in_dim):
    encoder = NFN(TEMPLATE, variant="np", dims=(8, 6), **options)
    sizes = [linear.maps["axes_2_1"].weight.shape for linear in encoder.layers.linears]
    assert sizes == [(8, in_dim), (6, 8)]
    assert encoder.node_dim == encoder.edge_dim == 6


def test_channel_dropout_in_training_alone():
    encoder = NFN(TEMPLATE, variant="hnp", **SMALL, dropout=0.5)
    graphs = TEMPLATE.stack(networks(TEMPLATE, 3).float())
    edges = encoder(graphs).edges
    assert not torch.equal(edges, encoder(graphs).edges)
    encoder.eval()
    assert_close(encoder(graphs).edges, encoder(graphs).edges, rtol=0, atol=0)


def test_unknown_variant(raises_saying):
    with raises_saying(asked="'nnp'", found="no 'nnp'", do="np, hnp"):
        check_variant("nnp")
