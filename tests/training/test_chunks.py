"""Chunks of a batch add up to it, whatever they are cut from."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch_geometric.data import Batch

from nn_graphs.encoders import norms
from nn_graphs.encoders.equivariant.head import InvariantHead
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphHead, GraphModel
from nn_graphs.encoders.nfn import NFN
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.probe_only import ProbeOnly
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.mixed_templates import MixedTemplates
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.training import accumulate_gradients, chunks, train_and_test
from nn_graphs.training.chunks import (
    default_chunk_sizes,
    forward_in_chunks,
    split_graphs,
    supervised,
)
from tests.toy_zoos import DEEP, SMALL
from tests.training.runs import change, make_model, make_task

pytestmark = pytest.mark.usefixtures("one_thread")
TEMPLATES = [template_from_spec(spec) for spec in (SMALL, DEEP, small_cnn_zoo_spec("tanh"))]
KINDS = torch.tensor([0, 1, 0, 2, 1, 2, 0, 1, 1])
CROSS_ENTROPY = supervised(nn.functional.cross_entropy)
ENCODERS = {
    "gnn": lambda: NGGNN(TEMPLATES, dim=4, num_layers=3, dropout=0.0),
    "all_pairs": lambda: NGT(TEMPLATES, attention="all_pairs", **TRANSFORMER),
    "edges": lambda: NGT(TEMPLATES, attention="edges", **TRANSFORMER),
}
TRANSFORMER = {"node_dim": 8, "edge_dim": 4, "attention_dim": 8, "num_heads": 2, "dropout": 0.0}


@pytest.mark.parametrize("chunk_size", [1, 5, 1000])
def test_chunks_of_a_batch_add_up_to_it(tmp_path, chunk_size):
    task = make_task()
    torch.manual_seed(0)
    encoder = NGGNN(task.templates, task.statistics(), dim=4, num_layers=2, dropout=0.0)
    pooling = Pooling("cat", dims=task.dims, node_dim=4, edge_dim=4)
    head = GraphHead(pooling, hidden_dims=[], out_dim=task.out_dim)
    start = copy.deepcopy(GraphModel(encoder, head))
    curves = []
    for size in (chunk_size, 2000):
        folder = tmp_path / str(size)
        settings = change(num_epochs=3, chunk_size=size)
        train_and_test(copy.deepcopy(start), make_task(), settings, folder)
        curves.append(pd.read_csv(folder / "metrics.csv")["train/loss"].to_numpy())
    np.testing.assert_allclose(*curves, rtol=1e-4)


def test_whole_chunks_alone_are_compiled(monkeypatch):
    task, calls = make_task(), []
    torch.manual_seed(0)
    model = make_model(task, seed=0).eval()
    batch = task.dataset("train").batch(list(range(10)))

    def compiled(graphs):
        calls.append(len(graphs))
        return model(graphs)

    loss = accumulate_gradients(model, task.objective, batch, chunk_size=4, compiled=compiled)
    assert calls == [4, 4]
    torch.testing.assert_close(loss, task.loss(model(batch[0]), batch[1]))


def mixed_batch() -> NeuralGraph:
    """Graphs of three architectures, in no order."""
    generator = torch.Generator().manual_seed(0)
    params = [
        0.3 * torch.randn(TEMPLATES[kind].num_params, generator=generator, dtype=torch.float64)
        for kind in KINDS.tolist()
    ]
    return MixedTemplates(TEMPLATES).batch(KINDS, params)


def mixed_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    encoder = ENCODERS[name]()
    pooling = Pooling(
        "mean", dims=GraphDims.of(TEMPLATES), node_dim=encoder.node_dim, edge_dim=encoder.edge_dim
    )
    return GraphModel(encoder, GraphHead(pooling, hidden_dims=[4], out_dim=2)).double()


def gradients(
    model: nn.Module, *, batch=None, **options
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    labels = torch.arange(len(KINDS)) % 2
    model.zero_grad()
    batch = (mixed_batch() if batch is None else batch, labels)
    loss = accumulate_gradients(model, CROSS_ENTROPY, batch, **options)
    return loss, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("chunk_size", [1, 4, None])
def test_gradients_of_a_mixed_batch_are_those_of_its_chunks(monkeypatch, name, chunk_size):
    model, seen = mixed_model(name), []
    expected = gradients(model, chunk_size=len(KINDS))
    monkeypatch.setattr(chunks, "CACHE_VALUES", 10_000)
    model.register_forward_pre_hook(lambda _, graphs: seen.append(graphs[0].num_graphs))
    found = gradients(model, chunk_size=chunk_size)
    assert sum(seen) == len(KINDS)
    assert len(seen) > 1
    assert max(grad.abs().max() for grad in expected[1]) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_number_of_workers_changes_nothing(name):
    """Bit for bit, with dropout, gradients and outputs of a stack and of a mixed batch."""
    torch.manual_seed(0)
    model, stacked = (
        dropping_model(name, TEMPLATES[:1]),
        TEMPLATES[0].stack(torch.randn(9, TEMPLATES[0].num_params, dtype=torch.float64)),
    )
    found = []
    for num_workers in (1, 2, 4):
        torch.manual_seed(1)
        options = {"chunk_size": 2, "num_workers": num_workers}
        loss, grads = gradients(model, batch=stacked, **options)
        mixed = gradients(dropping_model(name, TEMPLATES), **options)
        with torch.no_grad():
            outputs = forward_in_chunks(model.eval(), stacked, **options)
        found.append([loss, *grads, mixed[0], *mixed[1], outputs])
        model.train()
    for other in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], other, strict=True))
    torch.manual_seed(2)
    assert not torch.equal(gradients(model, batch=stacked, **options)[0], found[0][0])
    torch.testing.assert_close(model.eval()(stacked), outputs, rtol=1e-9, atol=1e-12)


def nfn() -> nn.Module:
    encoder = NFN(TEMPLATES[0], variant="np", dims=(8, 6), fourier_sigma=None)
    head = InvariantHead(encoder.spaces, dim=6, hidden_dims=[], dropout=0.0, out_dim=2)
    return GraphModel(encoder, head)


@pytest.mark.parametrize(
    "make", [nfn, lambda: ProbeOnly(TEMPLATES[:1], num_probes=5, hidden_dims=(6,), out_dim=2)]
)
def test_baselines_tell_how_large_their_chunks_may_be(monkeypatch, make):
    torch.manual_seed(0)
    model, seen = make().double(), []
    stack = TEMPLATES[0].stack(torch.randn(9, TEMPLATES[0].num_params, dtype=torch.float64) / 3)
    expected = gradients(model, batch=stack, chunk_size=9)
    values = model.values_per_graph(TEMPLATES[0].num_nodes, TEMPLATES[0].num_edges)
    monkeypatch.setattr(chunks, "CACHE_VALUES", 2 * values)
    model.register_forward_pre_hook(lambda _, graphs: seen.append(len(graphs[0])))
    found = gradients(model, batch=stack, num_workers=2)
    assert sorted(seen) == [1, 2, 2, 2, 2]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_models_that_chunks_would_share_run_one_after_the_other(monkeypatch):
    model, asked = mixed_model("gnn"), []

    def seen(work, parts, *, num_workers=None):
        asked.append(num_workers)
        return map(work, parts)

    monkeypatch.setattr(chunks, "side_by_side", seen)
    gradients(model, chunk_size=2, num_workers=4)
    model.more = nn.Dropout(0.5)
    gradients(model, chunk_size=2, num_workers=4)
    model.more.eval()
    gradients(model, chunk_size=2, num_workers=4)
    assert asked == [4, 1, 4]


def test_threads_do_not_share_an_accelerator():
    """Another thread has no autocast of a GPU."""
    stack = TEMPLATES[0].stack(torch.zeros(4, TEMPLATES[0].num_params))
    model = mixed_model("gnn")
    assert chunks._num_workers(model, stack, 4) == 4
    assert chunks._num_workers(model, stack.to("meta"), 4) == 1


def test_unused_parameters_and_frozen_ones_have_no_gradient():
    model = mixed_model("gnn")
    model.more = nn.Linear(2, 2)
    model.head.mlp[0].weight.requires_grad_(False)
    gradients(model, chunk_size=2, num_workers=2)
    assert model.more.weight.grad is None
    assert model.head.mlp[0].weight.grad is None
    assert model.head.mlp[0].bias.grad is not None


def test_gradients_add_up_over_batches():
    model = mixed_model("gnn")
    _, once = gradients(model, chunk_size=2)
    once = [grad.clone() for grad in once]
    batch = (mixed_batch(), torch.arange(len(KINDS)) % 2)
    accumulate_gradients(model, CROSS_ENTROPY, batch, chunk_size=2)
    twice = [p.grad for p in model.parameters() if p.grad is not None]
    torch.testing.assert_close(twice, [2 * grad for grad in once])


@pytest.mark.parametrize(
    ("values_per_graph", "num_graphs", "num_chunks"),
    [
        (1_000, 1, 1),
        (1_000, 64, 1),  # little work is not shared out
        (10_000, 64, 2),
        (30_000, 64, 4),
        (30_000, 65, 4),
        (100_000, 64, 8),
        (3_000_000, 3, 3),  # no graph is cut
    ],
)
def test_a_stack_is_shared_out_evenly(monkeypatch, values_per_graph, num_graphs, num_chunks):
    model = mixed_model("gnn")
    monkeypatch.setattr(model, "values_per_graph", lambda nodes, edges: values_per_graph)
    stack = TEMPLATES[0].stack(torch.zeros(num_graphs, TEMPLATES[0].num_params))
    sizes = default_chunk_sizes(model, stack)
    assert sum(sizes) == num_graphs
    assert len(sizes) == num_chunks
    assert max(sizes) == -(-num_graphs // num_chunks)


def dropping_model(name: str, templates) -> nn.Module:
    torch.manual_seed(0)
    options = TRANSFORMER if name != "gnn" else {"dim": 4, "num_layers": 3}
    options = {**options, "dropout": 0.3}
    if name != "gnn":
        options["attention"] = name
    encoder = (NGGNN if name == "gnn" else NGT)(templates, **options)
    dims = GraphDims.of(templates)
    pooling = Pooling("mean", dims=dims, node_dim=encoder.node_dim, edge_dim=encoder.edge_dim)
    return GraphModel(encoder, GraphHead(pooling, hidden_dims=[4], out_dim=2)).double()


def test_parts_are_batches_of_their_graphs():
    batch = mixed_batch()
    graphs = batch.to_data_list()
    first = 0
    for part, size in zip(split_graphs(batch, [2, 1, 6]), (2, 1, 6), strict=True):
        expected = Batch.from_data_list(graphs[first : first + size])
        assert sorted(part.keys()) == sorted(expected.keys())
        for key in expected.keys():  # noqa: SIM118 (iterating over data gives pairs)
            assert np.array_equal(part[key], expected[key]), key
        assert part.num_graphs == size
        for ours, theirs in zip(part.to_data_list(), graphs[first : first + size], strict=True):
            assert all(torch.equal(ours[key], theirs[key]) for key in ("x", "edge_index"))
        first += size


def test_a_mixed_batch_is_shared_out_evenly(monkeypatch):
    model, batch = mixed_model("gnn"), mixed_batch()
    counts = [
        model.values_per_graph(graph.num_nodes, graph.num_edges) for graph in batch.to_data_list()
    ]
    for num_chunks in (1, 2, 4, 8, 99):
        monkeypatch.setattr(chunks, "_num_chunks", lambda values, num_chunks=num_chunks: num_chunks)
        sizes = default_chunk_sizes(model, batch)
        parts = [part.sum() for part in np.split(np.array(counts), np.cumsum(sizes)[:-1])]
        share = sum(counts) / num_chunks
        assert max(parts) <= share + max(counts)
        assert sum(sizes) == len(KINDS)
        assert len(sizes) <= num_chunks
    assert sizes == [1] * len(KINDS)
    encoder = NGGNN(TEMPLATES, dim=4, num_layers=3, norm="running")
    monkeypatch.setattr(model, "encoder", encoder)
    monkeypatch.setattr(norms, "FEWEST_GRAPHS", 4)
    assert default_chunk_sizes(model, batch) == [4, 5]
    assert default_chunk_sizes(model.eval(), batch) == [1] * len(KINDS)
