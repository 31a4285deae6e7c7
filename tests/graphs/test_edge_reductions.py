"""Both ways of reducing values are one function, with one gradient."""

from typing import get_args

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from nn_graphs.graphs.topology import edge_reductions
from nn_graphs.graphs.topology.edge_reductions import WAYS, Operation, Receivers, Way
from tests.encoders.cases import TEMPLATES, make_encoder, networks

OPERATIONS, EACH_WAY = get_args(Operation), get_args(Way)
RECEIVER = torch.tensor([4, 0, 4, 2, 0, 0, 4, 1])  # 3 and 5 receive nothing
PLAIN = {
    "sum": lambda rows: rows.sum(0),
    "max": lambda rows: rows.amax(0),
    "min": lambda rows: rows.amin(0),
}


def values() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(len(RECEIVER), 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("way", EACH_WAY)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_values_receiver_by_receiver(operation, way):
    found = Receivers(RECEIVER, 6).reduce(values(), operation, way=way)
    for number, row in enumerate(found):
        received = values()[number == RECEIVER]
        expected = PLAIN[operation](received) if len(received) else torch.zeros(3)
        torch.testing.assert_close(row, expected.double(), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("has_ties", [False, True])
def test_gradients_are_the_same(operation, has_ties):
    upstream = torch.linspace(-1, 2, 18, dtype=torch.float64).view(6, 3)
    gradients = []
    for way in EACH_WAY:
        given = (values().round() if has_ties else values()).requires_grad_()
        reduced = Receivers(RECEIVER, 6).reduce(given, operation, way=way)
        gradients.append(torch.autograd.grad(reduced, given, upstream)[0])
    torch.testing.assert_close(*gradients, rtol=1e-15, atol=1e-15)


def test_nothing_to_reduce():
    for way in EACH_WAY:
        for operation in OPERATIONS:
            empty = Receivers(RECEIVER[:0], 2).reduce(torch.zeros(0, 3), operation, way=way)
            assert torch.equal(empty, torch.zeros(2, 3))


@pytest.mark.parametrize("name", ["gnn", "ngt_edges"])
def test_encoders_put_out_the_same_either_way(name, monkeypatch):
    templates = [make() for make in TEMPLATES.values()]
    encoder = make_encoder(name, templates)
    batch = Batch.from_data_list([t(networks(t, 1)[0]) for t in templates])
    outputs, gradients = [], []
    for way in EACH_WAY:
        monkeypatch.setattr(edge_reductions, "WAYS", dict.fromkeys(OPERATIONS, way))
        nodes = encoder(batch).nodes
        outputs.append(nodes)
        parameters = [p for p in encoder.parameters() if p.requires_grad]
        found = torch.autograd.grad(nodes.square().sum(), parameters, allow_unused=True)
        gradients.append([gradient for gradient in found if gradient is not None])
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_every_operation_has_a_way():
    assert set(WAYS) == set(OPERATIONS)
    assert set(WAYS.values()) <= set(EACH_WAY)
