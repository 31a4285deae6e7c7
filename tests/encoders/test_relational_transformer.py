"""NG-T equals its plain twin, and has the published sizes."""

import pytest
import torch
from torch import nn

from nn_graphs.encoders.heads import GraphHead, ParameterHead
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.testing import assert_invariant
from tests.encoders import reference
from tests.encoders.cases import (
    SMALL_NGT,
    as_reference,
    classifier,
    editor,
    inr,
    make_encoder,
    networks,
    randomise,
    reference_state,
)
from tests.encoders.twins import (
    DIMS,
    TEMPLATE,
    assert_equal,
    assert_golden,
    assert_heads_equal,
    num_parameters,
)

OPTIONS = {
    "ngt": {},
    "ngt_plain_values": {},
    "ngt_reverse": {"has_reverse": True},
    "ngt_probes": {},
    "ngt_cls_token": {},
    "ngt_edges": {"only_edges": True},
    "ngt_edges_probes": {"only_edges": True, "has_reverse": True},
}
HEADS = SMALL_NGT["num_heads"]


@pytest.mark.parametrize("name", OPTIONS)
def test_equals_the_reference(name):
    encoder = make_encoder(name, [TEMPLATE])
    randomise(encoder)
    params = networks(TEMPLATE, 2)
    stack = TEMPLATE.stack(params)
    encoded, twin = encoder(stack), []
    places = TEMPLATE.structure().edge_index.T.tolist()
    for number in range(2):
        network = as_reference(TEMPLATE, params[number])
        state = reference_state(encoder)
        nodes, pairs, graph = reference.ng_t(network, state, num_heads=HEADS, **OPTIONS[name])
        edges = {(i, j): pairs[i][j] for i, j in places}
        assert_equal(encoded.nodes[number], torch.stack(nodes))
        assert_equal(encoded.edges[number], torch.stack(list(edges.values())))
        if graph is not None:
            assert_equal(encoded.graph[number], graph)
        twin.append((nodes, edges))
    assert_heads_equal(classifier(encoder, DIMS), editor(encoder, DIMS), stack, twin)


def test_encoders_without_a_token_give_graphs_no_vector():
    stack = TEMPLATE.stack(networks(TEMPLATE, 2))
    assert make_encoder("ngt", [TEMPLATE])(stack).graph is None
    assert make_encoder("ngt_cls_token", [TEMPLATE])(stack).graph.shape == (2, 16)


# Put out by tests/encoders/reference.py, with all parameters from `cases.formula`.
GOLDEN_LOGITS = [1.1551464452063374, 1.3737339189504991, 0.25917069955178174, -1.3963568949331164]
GOLDEN_WEIGHTS = [0.10217375056478253, -0.32941399524963266, 0.3360296773657051, 0.5961320676935058]


def test_golden_numbers():
    options = SMALL_NGT | {"has_reverse_features": True, "has_last_edge_update": True}
    encoder = NGT([TEMPLATE], **options).double()

    def encode(network, state):
        nodes, pairs, _ = reference.ng_t(network, state, num_heads=HEADS, has_reverse=True)
        return nodes, {(i, j): pairs[i][j] for i in range(len(nodes)) for j in range(len(nodes))}

    assert_golden(encoder, encode, logits=GOLDEN_LOGITS, weights=GOLDEN_WEIGHTS)


@pytest.mark.parametrize(("num_probes", "expected"), [(0, 376_586), (64, 393_866)])
def test_published_size_of_the_mnist_classifier(num_probes, expected):
    template = inr(2, 32, 32, 1)
    dims = GraphDims.of([template])
    encoder = NGT([template], num_probes=num_probes)
    pooling = Pooling("cat", dims=dims, node_dim=encoder.node_dim, edge_dim=encoder.edge_dim)
    head = GraphHead(pooling, hidden_dims=[128], out_dim=10)
    assert num_parameters(encoder, head) == expected


def test_published_size_for_style_editing():
    template = inr(2, 32, 32, 1)
    encoder = NGT([template], num_heads=4, has_reverse_features=True, has_last_edge_update=True)
    head = ParameterHead(encoder.node_dim, encoder.edge_dim, dims=GraphDims.of([template]))
    assert num_parameters(encoder, head) == 391_112


def test_a_cls_token_is_one_more_vector():
    with_token, without = (NGT([TEMPLATE], has_cls_token=has) for has in (True, False))
    assert num_parameters(with_token) - num_parameters(without) == with_token.node_dim


def test_a_cls_token_needs_all_pairs(raises_saying):
    with raises_saying(asked="cls token", found="no edge joins", do="attention='all_pairs'"):
        NGT([TEMPLATE], attention="edges", has_cls_token=True)


def test_heads_of_unequal_size_are_refused(raises_saying):
    with raises_saying(asked="128 channels", found="2 are left over", do="multiple of num_heads"):
        NGT([TEMPLATE], num_heads=9)


def test_dropout_acts_in_training_only():
    encoder = NGT([TEMPLATE], **SMALL_NGT | {"dropout": 0.5})
    stack = TEMPLATE.stack(networks(TEMPLATE, 2).float())
    assert not torch.equal(encoder(stack).nodes, encoder(stack).nodes)
    encoder.eval()
    assert torch.equal(encoder(stack).nodes, encoder(stack).nodes)


def test_without_layer_norms():
    encoder = NGT([TEMPLATE], **SMALL_NGT, has_layer_norms=False).double()
    assert not any(isinstance(part, nn.LayerNorm) for part in encoder.modules())
    assert any(isinstance(p, nn.LayerNorm) for p in NGT([TEMPLATE], **SMALL_NGT).modules())
    model = classifier(encoder, DIMS)
    assert_invariant(model, TEMPLATE, networks(TEMPLATE, 3))
