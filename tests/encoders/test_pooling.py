"""Every way of pooling: invariant, blind to other graphs, and right on a hand-made case."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders import pooling
from nn_graphs.encoders.features import EncodedGraphs
from nn_graphs.encoders.pooling import Pooling, PoolingMethod
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.testing import assert_batch_independent, assert_invariant
from tests.encoders.cases import (
    SMALL_NGT,
    TEMPLATES,
    classifier,
    inr,
    make_encoder,
    networks,
    randomise,
)

METHODS = get_args(PoolingMethod)
ALL = [make() for make in TEMPLATES.values()]
DIMS = GraphDims.of(ALL)
TEMPLATE = ALL[0]  # layers of 2, 5, 4 and 2 neurons
LAYERS = [slice(0, 2), slice(2, 7), slice(7, 11), slice(11, 13)]


def make(method: str, **options) -> Pooling:
    return Pooling(method, node_dim=16, edge_dim=6, **{"dims": DIMS} | options).double()


def encoded(dims: GraphDims = DIMS) -> EncodedGraphs:
    torch.manual_seed(0)
    stack = TEMPLATE.stack(networks(TEMPLATE, 3))
    nodes = torch.randn(3, TEMPLATE.num_nodes, 16, dtype=torch.float64)
    edges = torch.randn(3, TEMPLATE.num_edges, 6, dtype=torch.float64)
    return EncodedGraphs(stack, nodes, edges, torch.randn(3, 16, dtype=torch.float64))


@pytest.mark.parametrize(
    ("method", "layer"),
    [
        (m, layer)
        for m in METHODS
        for layer in ("last", "all", 0)
        if layer == "last" or (m != "cat" and not (layer == 0 and m.endswith("_edge")))
    ],
)
def test_invariant_and_blind_to_other_graphs(method, layer):
    torch.manual_seed(0)
    encoder = NGT(ALL, **SMALL_NGT | {"num_layers": 1, "has_cls_token": True}).double()
    randomise(encoder)
    model = classifier(encoder, DIMS, method, layer=layer)
    assert_invariant(model, TEMPLATE, networks(TEMPLATE, 3))
    assert_batch_independent(model, [t.stack(networks(t, 2)) for t in ALL])


def test_hand_made_values():
    graphs = encoded()
    nodes, edges = graphs.nodes, graphs.edges
    dims = GraphDims.of([TEMPLATE])
    structure = TEMPLATE.structure()
    into = structure.layer_id[structure.edge_index[1]]
    layer_means = [nodes[:, layer].mean(1) for layer in LAYERS]
    expected = {
        ("mean", "last"): nodes[:, 11:].mean(1),
        ("mean", "all"): nodes.mean(1),
        ("mean", 2): nodes[:, 7:11].mean(1),
        ("max", "last"): nodes[:, 11:].amax(1),
        ("max", "all"): nodes.amax(1),
        ("cat", "last"): nodes[:, 11:].flatten(1),
        ("cat_mean", "all"): torch.cat(layer_means, dim=1),
        ("mean_edge", "all"): edges.mean(1),
        ("max_edge", "all"): edges.amax(1),
        ("mean_edge", "last"): edges[:, into == 3].mean(1),
        ("max_edge", "last"): edges[:, into == 3].amax(1),
        ("mean_edge", 1): edges[:, into == 1].mean(1),
        ("max_edge", 2): edges[:, into == 2].amax(1),
        ("cls_token", "all"): graphs.graph,
    }
    for (method, layer), values in expected.items():
        module = make(method, layer=layer, dims=dims)
        assert_close(module(graphs), values)
        assert module.out_dim == values.shape[1]


def test_cat_mean_of_graphs_without_a_layer_is_0_there():
    deeper = GraphDims(num_inputs=2, num_hidden_layers=3, num_outputs=2)
    pooled = make("cat_mean", dims=deeper)(encoded()).unflatten(1, (5, 16))
    assert (pooled[:, 3] == 0).all()
    assert (pooled[:, [0, 1, 2, 4]] != 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_every_parameter(method):
    encoder = make_encoder("ngt_cls_token", [TEMPLATE])
    randomise(encoder)
    model = classifier(encoder, GraphDims.of([TEMPLATE]), method)
    model(TEMPLATE.stack(networks(TEMPLATE, 6))).square().sum().backward()
    unread = {name for name, p in model.named_parameters() if p.grad is None}
    if method in ("mean_edge", "max_edge"):  # edges are updated before the last nodes are
        assert {name.rsplit(".", 2)[0][:22] for name in unread} <= {"encoder.node_updates.2"}
    else:
        assert unread == set()


def test_cat_needs_equally_many_outputs(raises_saying):
    three = inr(2, 4, 3)
    one = inr(2, 4, 1)
    dims = GraphDims.of([three, one])
    encoder = make_encoder("gnn", [three, one])
    model = classifier(encoder, dims)
    batch = Batch.from_data_list([three(networks(three, 1)[0]), one(networks(one, 1)[0])])
    with raises_saying(asked="3 outputs each", found="4 output neurons instead of 6", do="equally"):
        model(batch)
    with raises_saying(asked="3 outputs each", found="2 output neurons instead of 6", do="equally"):
        model(one.stack(networks(one, 2)))


def test_cat_of_hidden_neurons_is_refused(raises_saying):
    for layer in ("all", 1):
        with raises_saying(asked=f"'cat' over layer {layer!r}", found="order", do="layer='last'"):
            make("cat", layer=layer)


def test_a_layer_that_some_graphs_lack(raises_saying):
    model = classifier(make_encoder("gnn", ALL), DIMS, "mean", layer=2)
    shallow = ALL[2].stack(networks(ALL[2], 2))
    with raises_saying(asked="2 graphs over layer 2", found="2 of them have no", do="'last'"):
        model(shallow)
    assert model(TEMPLATE.stack(networks(TEMPLATE, 2))).isfinite().all()


def test_options_that_make_no_sense(raises_saying):
    with raises_saying(asked="layer 9", found=f"{DIMS.num_layers} layers", do="'last', 'all' or 0"):
        make("mean", layer=9)
    with raises_saying(asked="'median'", found="no 'median'", do="cls_token"):
        pooling._check("median", "last", DIMS, 16)  # the signature would be checked first
    with raises_saying(asked="mean_edge", found="no edge runs into", do="'last', 'all' or 1"):
        make("mean_edge", layer=0)
    with raises_saying(asked="set_transformer", found="size 12", do="another node_dim"):
        Pooling("set_transformer", dims=DIMS, node_dim=12, edge_dim=6)


def test_a_cls_token_that_the_encoder_does_not_have(raises_saying):
    with raises_saying(asked="cls_token", found="no vector", do="has_cls_token=True"):
        make("cls_token")(replace(encoded(), graph=None))
