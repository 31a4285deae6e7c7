"""Chunks of a batch add up to it, whatever they are cut from."""

import copy
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch_geometric.data import Batch

from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphHead, GraphModel
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.mixed import MixedTemplates
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.training import accumulate_gradients, chunks, train_and_test
from nn_graphs.training.chunks import default_chunk_sizes, split_graphs
from tests.toy_zoos import DEEP, SMALL
from tests.training.runs import change, make_model, make_task

pytestmark = pytest.mark.usefixtures("one_thread")
TEMPLATES = [template_from_spec(spec) for spec in (SMALL, DEEP, small_cnn_zoo_spec("tanh"))]
KINDS = torch.tensor([0, 1, 0, 2, 1, 2, 0, 1, 1])
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
    batch = task.dataset("train").__getitems__(list(range(10)))

    def compiled(graphs):
        calls.append(len(graphs))
        return model(graphs)

    loss = accumulate_gradients(model, task.loss, batch, chunk_size=4, compiled=compiled)
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


def gradients(model: nn.Module, **options) -> tuple[torch.Tensor, list[torch.Tensor]]:
    labels = torch.arange(len(KINDS)) % 2
    model.zero_grad()
    batch = (mixed_batch(), labels)
    loss = accumulate_gradients(model, nn.functional.cross_entropy, batch, **options)
    return loss, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("chunk_size", [1, 4, None])
def test_gradients_of_a_mixed_batch_are_those_of_its_chunks(monkeypatch, name, chunk_size):
    model, seen = mixed_model(name), []
    expected = gradients(model, chunk_size=len(KINDS))
    monkeypatch.setattr(chunks, "MIXED_CACHE_VALUES", 10_000)
    model.register_forward_pre_hook(lambda _, graphs: seen.append(graphs[0].num_graphs))
    found = gradients(model, chunk_size=chunk_size)
    assert sum(seen) == len(KINDS)
    assert len(seen) > 1
    assert max(grad.abs().max() for grad in expected[1]) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


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


def test_chunks_of_a_mixed_batch_hold_what_the_cache_holds(monkeypatch):
    model, batch = mixed_model("gnn"), mixed_batch()
    counts = [
        model.values_per_graph(graph.num_nodes, graph.num_edges) for graph in batch.to_data_list()
    ]
    for limit in (max(counts), max(counts) // 2, sum(counts)):
        monkeypatch.setattr(chunks, "MIXED_CACHE_VALUES", limit)
        sizes = default_chunk_sizes(model, batch)
        parts = np.split(np.array(counts), np.cumsum(sizes)[:-1])
        assert all(part.sum() <= limit + max(counts) for part in parts)
        assert all(part.sum() + after.sum() > limit for part, after in pairwise(parts))
    assert sizes == [len(KINDS)]
