"""Edge Attention by a plain loop over equations 1 to 3, and its noise."""

import torch
from torch.nn.functional import leaky_relu
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders.dropout import dropout_draws
from nn_graphs.encoders.vgae.edge_attention import EdgeAttention
from tests.encoders.cases import inr, networks, randomise, skipping

DIM = 3


def make(**options) -> EdgeAttention:
    torch.manual_seed(0)
    layer = EdgeAttention(DIM, hidden_dim=5, **options).double()
    randomise(layer)
    return layer


def by_equations(layer: EdgeAttention, edge_index, edges, num_nodes: int):
    """One graph, one neuron and one edge after the other."""
    result = torch.zeros(num_nodes, DIM, dtype=torch.float64)
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
        fill = torch.zeros(DIM, dtype=torch.float64)
        found = layer(stack.topology, stack.topology.join(edges, None, fill=fill))
        listed = layer(Batch.from_data_list([*stack]).topology, (edges.flatten(0, 1),))
        for graph in range(2):
            expected = by_equations(
                layer, stack.structure.edge_index, edges[graph], template.num_nodes
            )
            assert_close(found[graph], expected, rtol=1e-12, atol=1e-12)
        assert_close(listed, found.flatten(0, 1), rtol=1e-12, atol=1e-12)


def test_neurons_without_incoming_edges_have_zeros():
    template = inr(2, 5, 2)
    stack = template.stack(networks(template, 1))
    found = make()(
        stack.topology,
        stack.topology.join(
            torch.ones(1, template.num_edges, DIM, dtype=torch.float64), None, fill=torch.zeros(DIM)
        ),
    )
    assert (found[0, :2] == 0).all()
    assert_close(found[0, 2:], torch.ones_like(found[0, 2:]))  # weights add up to 1


def test_noise_is_drawn_in_training_from_the_key():
    layer, template = make(noise_scale=0.5), inr(2, 5, 2)
    topology = template.stack(networks(template, 1)).topology
    edges = (torch.ones(1, 5, 2, DIM), torch.linspace(-1, 1, 10 * DIM).reshape(1, 2, 5, DIM))
    edges = tuple(part.double() for part in edges)

    def drawn(number: int):
        with dropout_draws(torch.tensor(number, dtype=torch.int32)):
            return layer(topology, edges)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    layer.eval()
    assert torch.equal(drawn(1), drawn(2))
    quiet = make(noise_scale=0.0)
    assert torch.equal(quiet(topology, edges), layer(topology, edges))


def test_noise_has_no_parameters_and_its_scale():
    layer = make(noise_scale=0.5)
    assert {name for name, _ in layer.named_parameters()} == {
        "attention",
        "transform.weight",
        "transform.bias",
        "project.weight",
    }
    noise = layer._noised(torch.zeros(400, 100))
    assert abs(noise.std() - 0.5) < 0.01
