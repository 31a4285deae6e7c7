"""The convolutions equal torch-geometric's with the same parameters, on stacks and on batches."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch_geometric.data import Batch
from torch_geometric.nn import GATConv, TransformerConv

from nn_graphs.encoders.vgae.convolutions import AttentionConvolution, TransformerConvolution
from nn_graphs.graphs.topology import EdgeChannels, Topology
from tests.encoders.cases import TEMPLATES, networks, randomise

IN_DIM, HEAD_DIM, NUM_HEADS, EDGE_DIM = 5, 3, 2, 4
SIZES = {"num_heads": NUM_HEADS}


def transformer(edge_dim: int | None) -> tuple[nn.Module, nn.Module]:
    """Ours, and torch-geometric's with the same parameters, and any bias of keys."""
    ours = TransformerConvolution(IN_DIM, HEAD_DIM, num_heads=NUM_HEADS, edge_dim=edge_dim).double()
    theirs = TransformerConv(IN_DIM, HEAD_DIM, heads=NUM_HEADS, edge_dim=edge_dim).double()
    for module in (ours, theirs):
        randomise(module)
    parts = ["query", "key", "value", "skip"] + ([] if edge_dim is None else ["edge"])
    for name in parts:
        getattr(theirs, f"lin_{name}").load_state_dict(
            getattr(ours, name).state_dict(), strict=name != "key"
        )
    return ours, theirs


def attention(edge_dim: int | None) -> tuple[nn.Module, nn.Module]:
    ours = AttentionConvolution(IN_DIM, HEAD_DIM, num_heads=NUM_HEADS, edge_dim=edge_dim).double()
    randomise(ours)
    theirs = GATConv(IN_DIM, HEAD_DIM, heads=NUM_HEADS, edge_dim=edge_dim).double()
    state = {
        "att_src": ours.attention["source"].unsqueeze(0),
        "att_dst": ours.attention["target"].unsqueeze(0),
        "bias": ours.bias,
        "lin.weight": ours.linear.weight,
    }
    if edge_dim is not None:
        state["att_edge"] = ours.attention["edge"].unsqueeze(0)
        state["lin_edge.weight"] = ours.edge.weight
    theirs.load_state_dict({name: value.detach() for name, value in state.items()})
    return ours, theirs


def theirs_on(module: nn.Module, topology: Topology, nodes: Tensor, edges: Tensor | None) -> Tensor:
    edge_index = torch.stack([topology.source, topology.target])
    return module(nodes, edge_index, edges)


def rand(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("is_bidirectional", [False, True])
@pytest.mark.parametrize("edge_dim", [None, EDGE_DIM])
@pytest.mark.parametrize("pair", [transformer, attention])
@pytest.mark.parametrize("name", TEMPLATES)
def test_equal_to_torch_geometric(name, pair, edge_dim, is_bidirectional):
    ours, theirs = pair(edge_dim)
    template = TEMPLATES[name]()
    stack = template.stack(networks(template, 3))
    batch = Batch.from_data_list([*stack])
    layered, listed = stack.topology, batch.topology
    if is_bidirectional:
        layered, listed = layered.bidirectional, listed.bidirectional
    nodes = rand(3, template.num_nodes, IN_DIM, seed=1)
    halves = [rand(3, template.num_edges, EDGE_DIM, seed=seed) for seed in (2, 3)]
    halves = halves if is_bidirectional else [halves[0], None]
    fill = torch.zeros(EDGE_DIM, dtype=torch.float64)
    flat = torch.cat([half.flatten(0, 1) for half in halves if half is not None])
    reads = edge_dim is not None
    expected = theirs_on(theirs, listed, nodes.flatten(0, 1), flat if reads else None)
    blocks = ours(layered, nodes, layered.join(*halves, fill=fill) if reads else None)
    assert_close(blocks.flatten(0, 1), expected, rtol=1e-10, atol=1e-10)
    lists = ours(listed, nodes.flatten(0, 1), (flat,) if reads else None)
    assert_close(lists, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("num_values", [1, 2])
@pytest.mark.parametrize("is_bidirectional", [False, True])
@pytest.mark.parametrize("pair", [transformer, attention])
@pytest.mark.parametrize("name", TEMPLATES)
def test_weights_in_channels_of_their_direction(name, pair, is_bidirectional, num_values):
    """Products of matrices, where groups of neurons are whole; gradients too."""
    ours, theirs = pair(num_values * (1 + is_bidirectional))
    template = TEMPLATES[name]()
    stack = template.stack(networks(template, 3))
    listed, layered = Batch.from_data_list([*stack]).topology, stack.topology
    if is_bidirectional:
        layered, listed = layered.bidirectional, listed.bidirectional
    nodes = rand(3, template.num_nodes, IN_DIM, seed=1).requires_grad_()
    values = rand(3, template.num_edges, num_values, seed=2).requires_grad_()
    flat, zeros = values.flatten(0, 1), torch.zeros_like(values.flatten(0, 1))
    written = flat
    if is_bidirectional:
        written = torch.cat([torch.cat([flat, zeros], -1), torch.cat([zeros, flat], -1)])
    expected = theirs_on(theirs, listed, nodes.flatten(0, 1), written)
    by_blocks = ours(layered, nodes, EdgeChannels(layered, values)).flatten(0, 1)
    by_lists = ours(listed, nodes.flatten(0, 1), EdgeChannels(listed, flat))
    gradients = torch.autograd.grad(expected.square().sum(), (nodes, values))
    for found in (by_blocks, by_lists):
        assert_close(found, expected, rtol=1e-10, atol=1e-10)
        own = torch.autograd.grad(found.square().sum(), (nodes, values))
        assert_close(own, gradients, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [TransformerConvolution, AttentionConvolution])
def test_scores_may_be_large(make):
    template = TEMPLATES["inr"]()
    topology = template.stack(networks(template, 2)).topology
    layer = make(IN_DIM, HEAD_DIM, num_heads=NUM_HEADS).double()
    found = layer(topology, 1e4 * rand(2, template.num_nodes, IN_DIM, seed=1), None)
    assert found.isfinite().all()


@pytest.mark.parametrize("make", [TransformerConvolution, AttentionConvolution])
def test_dropout_of_attention(make):
    template = TEMPLATES["inr"]()
    topology = template.stack(networks(template, 2)).topology
    layer = make(IN_DIM, HEAD_DIM, num_heads=NUM_HEADS, dropout=1.0).double()
    nodes = rand(2, template.num_nodes, IN_DIM, seed=1)
    alone = layer.skip(nodes) if make is TransformerConvolution else layer.bias.expand(2, 13, -1)
    assert_close(layer(topology, nodes, None), alone)
    assert not torch.allclose(layer.eval()(topology, nodes, None), alone)
