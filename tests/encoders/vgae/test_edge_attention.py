"""Edge Attention by a plain loop over equations 1 to 3, and its noise."""

import pytest
import torch
from torch.nn.functional import leaky_relu
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders.dropout import dropout_draws
from nn_graphs.encoders.vgae import edge_attention
from nn_graphs.encoders.vgae.edge_attention import EdgeAttention
from nn_graphs.graphs.topology import EdgeChannels
from tests.encoders.cases import inr, networks, randomise, skipping

DIM = 3


def make(**options) -> EdgeAttention:
    torch.manual_seed(0)
    layer = EdgeAttention(DIM, hidden_dim=5, **options).double()
    randomise(layer)
    return layer


def by_equations(layer: EdgeAttention, edge_index, edges, num_nodes: int):
    """One graph, one neuron and one edge after the other."""
    result = torch.zeros(num_nodes, edges.shape[-1], dtype=torch.float64)
    for j in range(num_nodes):
        arriving = [number for number, target in enumerate(edge_index[1].tolist()) if target == j]
        scores = []
        for number in arriving:
            edge = edges[number]
            transformed = leaky_relu(layer.transform.weight @ edge + layer.transform.bias, 0.2)
            noised = edge
            projected = layer.project.weight @ torch.cat([transformed, edge, noised])
            scores.append(leaky_relu(layer.attention @ projected, 0.2).exp())
        for number, score in zip(arriving, scores, strict=True):
            result[j] += score / sum(scores) * edges[number]
    return result


def test_the_published_equations():
    layer = make().eval()
    for template in (inr(2, 5, 4, 2), skipping(), inr(2, 2)):
        stack = template.stack(networks(template, 2))
        generator = torch.Generator().manual_seed(1)
        edges = torch.randn(2, template.num_edges, DIM, dtype=torch.float64, generator=generator)
        found = layer(EdgeChannels(stack.topology, edges))
        listed_topology = Batch.from_data_list([*stack]).topology
        listed = layer(EdgeChannels(listed_topology, edges.flatten(0, 1)))
        for graph in range(2):
            expected = by_equations(
                layer, stack.structure.edge_index, edges[graph], template.num_nodes
            )
            assert_close(found[graph], expected, rtol=1e-12, atol=1e-12)
        assert_close(listed, found.flatten(0, 1), rtol=1e-12, atol=1e-12)


def test_neurons_without_incoming_edges_have_zeros():
    template = inr(2, 5, 2)
    stack = template.stack(networks(template, 1))
    ones = torch.ones(1, template.num_edges, DIM, dtype=torch.float64)
    found = make()(EdgeChannels(stack.topology, ones))
    assert (found[0, :2] == 0).all()
    assert_close(found[0, 2:], torch.ones_like(found[0, 2:]))  # weights add up to 1


def test_noise_is_drawn_in_training_from_the_key():
    layer, template = make(noise_scale=0.5), inr(2, 5, 2)
    topology = template.stack(networks(template, 1)).topology
    values = torch.cat(
        [torch.ones(1, 10, DIM), torch.linspace(-1, 1, 10 * DIM).reshape(1, 10, DIM)], 1
    )
    edges = EdgeChannels(topology, values.double())

    def drawn(number: int):
        with dropout_draws(torch.tensor(number, dtype=torch.int32)):
            return layer(edges)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    layer.eval()
    assert torch.equal(drawn(1), drawn(2))
    quiet = make(noise_scale=0.0)
    assert torch.equal(quiet(edges), layer(edges))


def test_noise_has_no_parameters_and_its_scale():
    layer = make(noise_scale=0.5)
    assert {name for name, _ in layer.named_parameters()} == {
        "attention",
        "transform.weight",
        "transform.bias",
        "project.weight",
    }
    vector = torch.tensor([3.0, 0.0, -4.0])
    found = layer._product_with_noise(vector, torch.zeros(400, 100))
    assert abs(found.std() - 0.5 * 5) < 0.05
    expected = (0.5 * torch.randn(40_000, DIM)) @ vector  # noise of every number by itself
    assert abs(found.std() - expected.std()) < 0.05
    assert abs(found.mean()) < 0.05
    assert (found[:, 1:] - found[:, :-1]).abs().min() > 0


@pytest.mark.parametrize("num_values", [1, 3])
def test_directions_have_channels_of_their_own(num_values):
    """Both ways at once, as by one list of edges in which zeros are written."""
    torch.manual_seed(0)
    layer = EdgeAttention(2 * num_values, hidden_dim=5).double().eval()
    randomise(layer)
    for template in (inr(2, 5, 4, 2), skipping(), inr(2, 2)):
        stack = template.stack(networks(template, 2))
        generator = torch.Generator().manual_seed(1)
        shape = 2, template.num_edges, num_values
        values = torch.randn(shape, dtype=torch.float64, generator=generator)
        ends, zeros = stack.structure.edge_index, torch.zeros_like(values)
        both = torch.cat([torch.cat([values, zeros], -1), torch.cat([zeros, values], -1)], 1)
        found = layer(EdgeChannels(stack.topology.bidirectional, values))
        listed_topology = Batch.from_data_list([*stack]).topology.bidirectional
        listed = layer(EdgeChannels(listed_topology, values.flatten(0, 1)))
        ends = torch.cat([ends, ends.flip(0)], dim=1)
        expected = [by_equations(layer, ends, own, template.num_nodes) for own in both]
        assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)
        assert_close(listed, found.flatten(0, 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_values", [1, 3])
def test_gradients_of_scores(num_values, monkeypatch):
    monkeypatch.setattr(edge_attention, "NUM_ROWS", 7)  # several parts
    layer = EdgeAttention(num_values, hidden_dim=4, noise_scale=0.0).double()
    torch.manual_seed(0)
    randomise(layer)
    topology = inr(2, 3, 1).stack(networks(inr(2, 3, 1), 2)).topology
    values = torch.randn(2, 9, num_values, dtype=torch.float64, requires_grad=True)
    names, params = zip(*layer.named_parameters(), strict=True)

    def scores(values, *params):
        named = dict(zip(names, params, strict=True))
        return torch.func.functional_call(
            _Scores(layer),
            {f"layer.{n}": p for n, p in named.items()},
            (EdgeChannels(topology, values),),
        )

    assert torch.autograd.gradcheck(scores, (values, *params))


def test_half_precision():
    template = inr(2, 5, 2)
    layer = EdgeAttention(2, noise_scale=0.0)
    topology = template.stack(networks(template, 2).float()).topology.bidirectional
    values = torch.randn(2, template.num_edges, 1)
    expected = torch.autograd.grad(layer(EdgeChannels(topology, values)).sum(), layer.attention)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(EdgeChannels(topology, values)).sum()
    assert_close(torch.autograd.grad(found, layer.attention), expected, rtol=0.1, atol=0.02)


class _Scores(torch.nn.Module):
    """Scores as what a module gives."""

    def __init__(self, layer: EdgeAttention):
        super().__init__()
        self.layer = layer

    def forward(self, edges: EdgeChannels) -> torch.Tensor:
        return self.layer._scores(edges)
