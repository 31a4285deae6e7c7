"""The auto-encoder: draws, divergence, losses per graph, embeddings, any encoder in front."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders.dropout import dropout_draws
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.encoders.vgae.graph_autoencoder import VGAE, Reconstruction
from nn_graphs.encoders.vgae.structure_encoder import StructureEncoder
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.mixed_templates import MixedTemplates
from nn_graphs.graphs.positional import LaplacianEncoding, ReturnProbabilities
from nn_graphs.testing import assert_batch_independent, assert_invariant
from tests.encoders.cases import SMALL_GNN, SMALL_NGT, classifier, inr, networks, skipping

ALL = [inr(2, 5, 4, 2), skipping(), inr(2, 2)]
DIMS = GraphDims.of(ALL)
TEMPLATE = ALL[0]
ENCODERS = {
    "structure": lambda: StructureEncoder(
        ALL, dim=8, num_heads=2, encoding=ReturnProbabilities(3), noise_scale=0.0
    ),
    "gnn": lambda: NGGNN(ALL, **SMALL_GNN),
    "ngt": lambda: NGT(ALL, **SMALL_NGT),
}


def make(name: str = "structure", **options) -> VGAE:
    torch.manual_seed(0)
    options = {"latent_dim": 5, "weight_factor": 0.5} | options
    return VGAE(ENCODERS[name](), DIMS, **options).double()


def stacks(count: int = 2) -> list:
    return [template.stack(networks(template, count)) for template in ALL]


def key(number: int) -> torch.Tensor:
    return torch.tensor(number, dtype=torch.int32)


@pytest.mark.parametrize("name", ENCODERS)
def test_any_encoder_in_front(name):
    model = make(name).eval()
    for function in (model, model.embed, lambda graphs: model.losses(graphs).total):
        assert_batch_independent(function, stacks())
    assert_invariant(model.embed, TEMPLATE, networks(TEMPLATE, 3))
    for template in ALL[:2]:
        assert_invariant(lambda graphs: model.losses(graphs).total, template, networks(template, 2))
    assert model.embed(stacks()[1]).shape == (2, 5)


def test_as_an_encoder_of_a_task():
    model = make().eval()
    found = classifier(model, DIMS, "mean", layer="all")
    assert_batch_independent(found, stacks())
    assert_invariant(found, TEMPLATE, networks(TEMPLATE, 3))
    encoded, stack = model(stacks()[0]), stacks()[0]
    assert encoded.nodes.shape == (2, 13, 5)
    assert encoded.edges.shape == (2, 38, 8)
    assert torch.equal(encoded.nodes, model.latents(stack).mean)
    with dropout_draws(key(1)):
        assert not torch.equal(model.train()(stack).nodes, encoded.nodes)


def test_draws():
    latents = make().latents(stacks(400)[0])
    with dropout_draws(key(3)):
        first, second = latents.sample(), latents.sample()
    with dropout_draws(key(3)):
        assert torch.equal(latents.sample(), first)
    assert not torch.equal(first, second)
    noise = (first - latents.mean) / (latents.log_variance / 2).exp()
    count = noise.numel()
    assert abs(noise.mean()) < 5 / count**0.5
    assert abs(noise.square().mean() - 1) < 5 * (2 / count) ** 0.5
    first.sum().backward()


def test_divergence_is_torchs():
    latents = make().latents(stacks()[1])
    posterior = Normal(latents.mean, (latents.log_variance / 2).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(-1)
    assert_close(latents.divergence(), expected)


def test_the_sum_of_losses():
    model, stack = make(adjacency_factor=2.0, kl_factor=3.0).eval(), stacks()[0]
    losses = model.losses(stack)
    latents = model.latents(stack)
    assert_close(losses.divergence, latents.divergence().mean(1))
    assert_close(losses.adjacency, model.adjacency.loss(stack, latents.mean))
    weights = model.weights.loss(stack, latents.mean, stack.edge_features)
    assert_close(losses.weights, weights)
    total = 2 * losses.adjacency + 0.5 * weights + 3 * losses.divergence / 13
    assert_close(losses.total, total)


def test_weights_are_decoded_in_units_of_their_layer():
    populations = [(template, networks(template, 6)) for template in ALL]
    model = make().eval()
    statistics = WeightStatistics.measure(DIMS, populations)
    scaled = VGAE(model.encoder, DIMS, statistics, latent_dim=5, weight_factor=0.5).double().eval()
    scaled.mean, scaled.weights = model.mean, model.weights
    stack = stacks()[0]
    expected = model.weights.loss(
        stack, model.latents(stack).mean, scaled.targets.normalised_weights(stack)
    )
    assert_close(scaled.losses(stack).weights, expected)
    assert not torch.allclose(expected, model.losses(stack).weights)


def test_without_weights_as_published():
    model = make(weight_factor=0.0)
    assert model.weights is None
    losses = model.eval().losses(stacks()[0])
    assert (losses.weights == 0).all()
    assert_close(losses.total, losses.adjacency + losses.divergence / 13)


@pytest.mark.parametrize("all_pairs_below", [512, 0])
def test_gradients_reach_every_parameter(all_pairs_below):
    model = make(all_pairs_below=all_pairs_below)
    graphs = Batch.from_data_list([graph for stack in stacks(3) for graph in stack])
    model.losses(graphs).total.sum().backward()
    missing = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert all(name.startswith("encoder.edge_readout.") for name in missing)


def test_training_lowers_both_losses():
    torch.manual_seed(0)
    encoder = StructureEncoder(
        [TEMPLATE], dim=16, num_heads=2, has_neuron_features=False, encoding=LaplacianEncoding(8)
    )
    model = VGAE(encoder, GraphDims.of([TEMPLATE]), weight_factor=1.0, kl_factor=0.1)
    stack = TEMPLATE.stack(1 + networks(TEMPLATE, 32).float())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = model.eval().losses(stack)
    model.train()
    for step in range(60):
        with dropout_draws(key(step)):
            loss = model.losses(stack).total.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = model.eval().losses(stack)
    assert after.weights.mean() < 0.3 * before.weights.mean()
    assert after.adjacency.mean() < 0.9 * before.adjacency.mean()


def test_cost_of_a_graph():
    assert make().values_per_graph(13, 38) > make().encoder.values_per_graph(13, 38)
    assert make("gnn").values_per_graph(13, 38) is not None
    model = make(weight_factor=0.0, all_pairs_below=20)
    model.encoder.values_per_graph = lambda nodes, edges: 0 * nodes
    assert model.values_per_graph(13, 38) == 13 * 13
    assert model.values_per_graph(20, 38) == 2 * 38  # pairs are drawn
    found = model.values_per_graph(torch.tensor([13, 20]), torch.tensor([38, 38]))
    assert found.tolist() == [13 * 13, 2 * 38]
    model.encoder.values_per_graph = lambda nodes, edges: None
    assert model.values_per_graph(13, 38) is None


@pytest.mark.parametrize("count", [5, 1])
def test_several_architectures_as_stacks(count):
    """One stack each where that is worth it, in the order of the batch; the same losses."""
    templates = [ALL[0], ALL[2]]
    mixed, encoder = MixedTemplates(templates), make()
    encoder.log_variance.weight.data.zero_()
    encoder.log_variance.bias.data.fill_(-60.0)  # draws are means
    kinds = torch.tensor([1, 0] * count)
    params = [networks(templates[kind], 1, seed=n)[0] for n, kind in enumerate(kinds.tolist())]
    batch, seen = mixed.batch(kinds, params), []
    encoder.encoder.register_forward_pre_hook(lambda _, graphs: seen.append(graphs[0]))
    plain, stacked = Reconstruction(encoder), Reconstruction(encoder, mixed=mixed)
    for model in (plain, stacked):
        model.eval()
    expected = plain(batch)
    assert_close(stacked(batch), expected, rtol=1e-9, atol=1e-9)
    sizes = [len(graphs) for graphs in seen if isinstance(graphs, NeuralGraphStack)]
    assert sizes == ([5, 5] if count == 5 else [])
    assert_close(stacked(templates[0].stack(params[1].unsqueeze(0))), expected[1:2])
