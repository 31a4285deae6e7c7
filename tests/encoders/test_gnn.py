"""NG-GNN equals its plain twin, and has the published sizes."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from nn_graphs.encoders.gnn import NGGNN, Aggregator, Modulation, PNALayer, Scaler
from nn_graphs.encoders.heads import GraphHead, ParameterHead
from nn_graphs.encoders.mapped import MappedEdges
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.statistics import GraphDims
from tests.encoders import reference
from tests.encoders.cases import (
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
    "gnn": {},
    "gnn_forward": {"is_bidirectional": False},
    "gnn_plain_values": {},
    "gnn_probes": {},
    "gnn_residuals": {"has_residuals": True},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_equals_the_reference(name):
    encoder = make_encoder(name, [TEMPLATE])
    randomise(encoder)
    params = networks(TEMPLATE, 2)
    stack = TEMPLATE.stack(params)
    encoded, twin = encoder(stack), []
    for number in range(2):
        network = as_reference(TEMPLATE, params[number])
        nodes, edges = reference.ng_gnn(network, reference_state(encoder), **OPTIONS[name])
        assert_equal(encoded.nodes[number], torch.stack(nodes))
        expected = [edges[i, j] for i, j in TEMPLATE.structure().edge_index.T.tolist()]
        assert_equal(encoded.edges[number], torch.stack(expected))
        twin.append((nodes, edges))
    assert_heads_equal(classifier(encoder, DIMS), editor(encoder, DIMS), stack, twin)


# Put out by tests/encoders/reference.py, with all parameters from `cases.formula`.
GOLDEN_LOGITS = [-0.7670571157269142, -0.9125488729942847, -1.0983908062360708, 0.04164887871821542]
GOLDEN_WEIGHTS = [0.10599250979295813, -0.3281471211479205, 0.3400131400705152, 0.6018716028280328]


def test_golden_numbers():
    encoder = NGGNN([TEMPLATE], dim=8, num_layers=3, dropout=0.0).double()
    assert_golden(encoder, reference.ng_gnn, logits=GOLDEN_LOGITS, weights=GOLDEN_WEIGHTS)


@pytest.mark.parametrize(("num_probes", "expected"), [(0, 92_010), (64, 100_714)])
def test_published_size_of_the_mnist_classifier(num_probes, expected):
    template = inr(2, 32, 32, 1)
    dims = GraphDims.of([template])
    encoder = NGGNN([template], num_probes=num_probes)
    pooling = Pooling("cat", dims=dims, node_dim=encoder.node_dim, edge_dim=encoder.edge_dim)
    head = GraphHead(pooling, hidden_dims=[32, 32], out_dim=10)
    assert num_parameters(encoder, head) == expected


def test_published_size_for_style_editing():
    template = inr(2, 32, 32, 1)
    encoder = NGGNN([template], dim=128, fourier_sigma=None)
    head = ParameterHead(128, 128, dims=GraphDims.of([template]))
    assert num_parameters(encoder, head) == 1_186_696


def test_degrees_are_those_of_the_messages():
    both = [2 * [4], 4 * [5], 3 * [6], 2 * [3]]
    forward = [2 * [0], 4 * [2], 3 * [4], 2 * [3]]
    for is_bidirectional, degrees in ((True, both), (False, forward)):
        encoder = NGGNN([TEMPLATE], is_bidirectional=is_bidirectional)
        logs = [math.log(d + 1) for layer in degrees for d in layer]
        found = encoder.layers[0].mean_log_degree
        assert found == pytest.approx(sum(logs) / len(logs), rel=1e-12)


def test_inputs_of_a_forward_graph_collect_nothing():
    layer = PNALayer(4, mean_log_degree=1.0).double()
    topology = TEMPLATE.topology()
    nodes = torch.randn(1, TEMPLATE.num_nodes, 4, dtype=torch.float64)
    vectors = torch.randn(1, TEMPLATE.num_edges, 4, dtype=torch.float64)
    edges = MappedEdges(topology.join(vectors, None, fill=torch.zeros(4)))
    alone = torch.cat([nodes[0, :2], torch.zeros(2, 32, dtype=torch.float64)], dim=1)
    assert_equal(layer(topology, nodes, edges)[0, :2], layer.out(layer.update(alone)))


def test_equal_messages_have_finite_gradients():
    encoder = make_encoder("gnn_plain_values", [TEMPLATE])
    params = torch.zeros(1, TEMPLATE.num_params, dtype=torch.float64, requires_grad=True)
    encoder(TEMPLATE.stack(params)).nodes.sum().backward()
    assert params.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)


AGGREGATORS = get_args(Aggregator)
SCALERS = get_args(Scaler)


@pytest.mark.parametrize("modulation", get_args(Modulation))
@pytest.mark.parametrize(
    ("aggregators", "scalers"),
    [(AGGREGATORS, SCALERS), (("sum",), ("identity",)), (("std", "min"), ("attenuation",))],
)
def test_a_layer_is_its_formula_neuron_by_neuron(modulation, aggregators, scalers):
    torch.manual_seed(0)
    layer = PNALayer(
        4,
        mean_log_degree=0.7,
        aggregators=aggregators,
        scalers=scalers,
        modulation=modulation,
    ).double()
    topology, edge_index = TEMPLATE.topology(), TEMPLATE.structure().edge_index
    nodes = torch.randn(1, TEMPLATE.num_nodes, 4, dtype=torch.float64)
    vectors = torch.randn(1, TEMPLATE.num_edges, 4, dtype=torch.float64)
    edges = MappedEdges(topology.join(vectors, None, fill=torch.zeros(4)))
    found = layer(topology, nodes, edges)[0]
    for neuron, own in enumerate(nodes[0]):
        arriving = (edge_index[1] == neuron).nonzero().flatten()
        messages = [
            _message(layer, own, nodes[0, edge_index[0, e]], vectors[0, e]) for e in arriving
        ]
        if not messages:
            continue
        stacked, degree = torch.stack(messages), len(messages)
        values = {
            "mean": stacked.mean(0),
            "min": stacked.amin(0),
            "max": stacked.amax(0),
            "std": (stacked.var(0, correction=0) + 1e-5).sqrt(),
            "sum": stacked.sum(0),
        }
        log = math.log(degree + 1)
        factors = {"identity": 1, "amplification": log / 0.7, "attenuation": 0.7 / log}
        parts = [values[a] * factors[s] for s in scalers for a in aggregators]
        assert_equal(found[neuron], layer.out(layer.update(torch.cat([own, *parts]))))


def _message(layer: PNALayer, target: Tensor, source: Tensor, edge: Tensor) -> Tensor:
    """As Kofinas et al. have it: FiLM, a gate, or an edge beside its ends."""
    ends, told = torch.cat([target, source]), layer.modulation(edge)
    if layer.modulation_kind == "none":
        return layer.message(torch.cat([ends, told]))
    if layer.modulation_kind == "gate":
        return told.sigmoid() * layer.message(ends)
    scale, shift = told.chunk(2)
    return scale * layer.message(ends) + shift


def test_jumping_knowledge_reads_every_layer():
    params = networks(TEMPLATE, 2)
    for method, width in (("cat", 24), ("max", 8)):
        torch.manual_seed(0)
        encoder = NGGNN([TEMPLATE], dim=8, num_layers=3, dropout=0.0, jumping_knowledge=method)
        seen = []
        for module in encoder.norms:
            module.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
        nodes = encoder.double()(TEMPLATE.stack(params)).nodes
        assert encoder.jump.in_features == width
        assert len(seen) == 3
        layers = [*map(torch.nn.functional.silu, seen)]
        read = torch.cat(layers, -1) if method == "cat" else torch.stack(layers).amax(0)
        assert_equal(nodes, encoder.jump(read))


def test_forward_degrees_are_counted_whatever_way_messages_take():
    found = [
        NGGNN([TEMPLATE], is_bidirectional=both, has_forward_degrees=forward)
        .layers[0]
        .mean_log_degree.item()
        for both, forward in ((False, False), (True, True), (True, False))
    ]
    assert found[0] == found[1] != found[2]


def test_without_edge_updates_edges_stay_as_they_begin():
    encoder = make_encoder("gnn_without", [TEMPLATE])
    stack = TEMPLATE.stack(networks(TEMPLATE, 2))
    topology = stack.topology.bidirectional
    begun = encoder.features.own_edges(encoder.features(stack, topology)[1], topology)
    assert_equal(encoder(stack).edges, begun)
    assert not list(encoder.edge_updates)
