"""Losses of the decoders by hand, per graph, on tiny and nearly complete graphs too."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders.dropout import dropout_draws
from nn_graphs.encoders.vgae.decoders import AdjacencyDecoder, WeightDecoder
from nn_graphs.encoders.vgae.pairs import NodePairs
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.networks.cnn import wild_park_spec
from tests.encoders.cases import inr, networks, randomise, skipping
from tests.encoders.vgae.test_pairs import GRAPHS, plain

LATENT_DIM = 3
ALL, SAMPLED = 512, 0


def latents_of(num_nodes: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_nodes, LATENT_DIM, dtype=torch.float64, generator=generator)


def by_hand(graph, latents: Tensor) -> Tensor:
    """Mean of `-log p` over pairs with an edge, plus that of `-log (1 - p)` over those without."""
    total = latents.new_zeros(())
    for pairs, is_joined in zip(plain(graph), (True, False), strict=True):
        terms = []
        for first, second in pairs:
            chance = torch.sigmoid(latents[first] @ latents[second])
            terms.append(-(chance if is_joined else 1 - chance).log())
        if terms:
            total = total + torch.stack(terms).mean()
    return total


@pytest.mark.parametrize("name", GRAPHS)
def test_all_pairs_of_a_graph(name):
    graph = GRAPHS[name]()
    latents = latents_of(graph.num_nodes)
    found = AdjacencyDecoder(all_pairs_below=ALL).loss(graph, latents)
    assert_close(found, by_hand(graph, latents).unsqueeze(0), rtol=1e-12, atol=1e-12)


def test_all_pairs_of_a_batch_and_of_a_stack():
    decoder = AdjacencyDecoder()
    members = [make() for make in GRAPHS.values()]
    latents = [latents_of(g.num_nodes, seed=number) for number, g in enumerate(members)]
    expected = [by_hand(*both) for both in zip(members, latents, strict=True)]
    found = decoder.loss(Batch.from_data_list(members), torch.cat(latents))
    assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)
    for template in (inr(2, 5, 4, 2), skipping(), inr(2, 2)):
        stack = template.stack(networks(template, 3))
        latents = latents_of(3 * template.num_nodes)
        found = decoder.loss(stack, latents.unflatten(0, (3, -1)))
        listed = decoder.loss(Batch.from_data_list([*stack]), latents)
        assert_close(found, listed, rtol=1e-12, atol=1e-12)


def losses(graphs, latents: Tensor, *, key: int) -> Tensor:
    with dropout_draws(torch.tensor(key, dtype=torch.int32)):
        return AdjacencyDecoder(all_pairs_below=SAMPLED).loss(graphs, latents)


@pytest.mark.parametrize("name", GRAPHS)
def test_sampled_pairs_have_no_edge_and_the_mean_of_all(name):
    """Means over many draws are the loss of all pairs, within five deviations."""
    graph = GRAPHS[name]()
    latents = latents_of(graph.num_nodes)
    found = torch.cat([losses(graph, latents, key=key) for key in range(300)])
    spread = found.std() / 300**0.5
    assert (found.mean() - by_hand(graph, latents)).abs() <= 5 * spread + 1e-12
    num_apart = len(plain(graph)[1])
    assert (spread > 1e-9) == (num_apart > 1)


def test_drawn_pairs_never_have_an_edge(monkeypatch):
    seen = []

    def apart(self, ranks):
        seen.append((self, drawn := before(self, ranks)))
        return drawn

    before = NodePairs.apart
    monkeypatch.setattr(NodePairs, "apart", apart)
    template = skipping()
    stack = template.stack(networks(template, 20))
    members = [make() for make in GRAPHS.values()] * 20
    latents = latents_of(sum(graph.num_nodes for graph in members))
    losses(Batch.from_data_list(members), latents, key=1)
    losses(stack, latents_of(20 * template.num_nodes).unflatten(0, (20, -1)), key=1)
    assert len(seen) == 2
    for pairs, drawn in seen:
        assert not torch.isin(drawn, pairs.joined).any()
    pairs, drawn = seen[0]
    count = torch.bincount(pairs.graph(drawn), minlength=len(members))
    wanted = torch.where(pairs.num_apart > 0, pairs.num_joined.clamp_min(1), 0)
    assert torch.equal(count, wanted)
    pairs, drawn = seen[1]
    assert drawn.shape == (20, int(pairs.num_joined))
    assert len(drawn.unique(dim=0)) == 20  # each graph its own
    assert len(drawn.unique()) == int(pairs.num_apart)


def test_large_and_small_graphs_in_a_batch():
    small, large = GRAPHS["nearly complete"](), GRAPHS["sparse"]()
    latents = latents_of(15)
    batch = Batch.from_data_list([small, large])
    decoder = AdjacencyDecoder(all_pairs_below=7)
    found = torch.stack([decoder.loss(batch, latents) for _ in range(20)])
    assert_close(found[:, 0], by_hand(small, latents[:6]).expand(20))
    assert found[:, 1].std() > 0


def test_draws_follow_their_key():
    template = inr(2, 5, 4, 2)
    stack = template.stack(networks(template, 3))
    latents = latents_of(39).unflatten(0, (3, -1))
    assert torch.equal(losses(stack, latents, key=1), losses(stack, latents, key=1))
    assert not torch.equal(losses(stack, latents, key=1), losses(stack, latents, key=2))


# Weights.


def weight_decoder(num_values: int = 1) -> WeightDecoder:
    torch.manual_seed(0)
    decoder = WeightDecoder(LATENT_DIM, num_values, hidden_dim=4).double()
    randomise(decoder)
    return decoder


@pytest.mark.parametrize("template", [inr(2, 5, 4, 2), skipping()], ids=["inr", "skipping"])
def test_weights_of_each_graph(template):
    decoder, stack = weight_decoder(), template.stack(networks(template, 3))
    latents = latents_of(3 * template.num_nodes).unflatten(0, (3, -1))
    structure, weights = template.structure(), stack.edge_features
    found = decoder.loss(stack, latents, weights)
    source, target = structure.edge_index
    for number in range(3):
        sums = decoder.from_source(latents[number, source])
        sums = sums + decoder.from_target(latents[number, target])
        errors = (decoder.out(F.silu(sums)) - weights[number]).square()
        assert_close(found[number], errors[structure.edge_kind_id == 0].mean())
    batch = Batch.from_data_list([*stack])
    listed = decoder.loss(batch, latents.flatten(0, 1), weights.flatten(0, 1))
    assert_close(listed, found, rtol=1e-12, atol=1e-12)


def test_zeros_around_kernels_do_not_count():
    template = template_from_spec(wild_park_spec((2, 3, 4), (1, 3), activations=("relu",) * 2))
    decoder = weight_decoder(9)
    stack = template.centred(template.stack(networks(template, 2)), (3, 3))
    latents = latents_of(2 * template.num_nodes).unflatten(0, (2, -1))
    expected = decoder.loss(stack, latents, stack.edge_features)
    is_value = template.is_value((3, 3))
    assert not is_value.all()
    elsewhere = torch.where(is_value, stack.edge_features, 7.0)
    assert_close(decoder.loss(stack, latents, elsewhere), expected)
    batch = Batch.from_data_list([*stack])
    listed = decoder.loss(batch, latents.flatten(0, 1), elsewhere.flatten(0, 1))
    assert_close(listed, expected)


def test_a_graph_without_weights():
    graph = GRAPHS["no edges"]()
    found = weight_decoder().loss(graph, latents_of(4), graph.edge_features)
    assert torch.equal(found, torch.zeros(1, dtype=torch.float64))
