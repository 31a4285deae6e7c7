"""Neural graphs of convolutional networks are data for all of torch-geometric.

Kernels have several values, but a graph one row an edge, so that whatever moves, drops or reads
edges takes their kernels along.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.utils import data as torch_data
from torch_geometric import nn as layers
from torch_geometric import transforms
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader, DenseDataLoader, NeighborLoader
from torch_geometric.utils import (
    coalesce,
    degree,
    k_hop_subgraph,
    to_dense_adj,
    to_dense_batch,
    to_networkx,
    to_undirected,
)

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec
from tests.graphs.convolutional import CASES

RESIDUAL = wild_park_spec(
    (2, 3, 4, 3), (3, 1, 5), activations=("relu",) * 3, residuals=(-1, -1, 0), num_outputs=2
)


def templates() -> dict[str, GraphTemplate]:
    case = CASES["ResNet-18"]
    return {
        "small CNN": template_from_spec(small_cnn_zoo_spec("relu")),
        "residuals, three kernels": template_from_spec(RESIDUAL),
        "ResNet-18": trace(case.module().float(), tuple(x.float() for x in case.inputs())),
    }


TEMPLATES = templates()
SIMPLE = ("small CNN", "residuals, three kernels")


def params_of(template: GraphTemplate, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, template.num_params, generator=generator)


def graph_of(name: str) -> NeuralGraph:
    return TEMPLATES[name](params_of(TEMPLATES[name])[0])


def kernels_by_ends(graph: Data) -> list[tuple[int, int, tuple[float, ...]]]:
    """Every edge with its values, in an order of their own."""
    values = graph.edge_attr.tolist()
    return sorted(
        (s, t, tuple(v)) for (s, t), v in zip(graph.edge_index.T.tolist(), values, strict=True)
    )


@pytest.fixture(params=TEMPLATES)
def name(request) -> str:
    return request.param


@pytest.fixture(params=SIMPLE)
def simple_graph(request) -> NeuralGraph:
    """Without parallel edges, of which some functions make one."""
    return graph_of(request.param)


@pytest.fixture
def graph(name) -> NeuralGraph:
    return graph_of(name)


def test_one_row_an_edge(graph, name):
    template = TEMPLATES[name]
    assert graph.validate()
    assert len(graph.edge_attr) == len(graph.is_value) == graph.num_edges == template.num_edges
    assert graph.num_edge_features == torch.Size(template.kernel_size).numel()
    own = template.stack(params_of(template)).edge_features.flatten()
    assert torch.equal(graph.edge_attr[graph.is_value], own)
    assert (graph.edge_attr[~graph.is_value] == 0).all()


def test_a_graph_gives_its_parameters_back(name):
    template, params = TEMPLATES[name], params_of(TEMPLATES[name])
    shown = torch.where(template.is_shown, params[0], 0.0)
    for graph in (template(params[0]), template.stack(params)[0]):
        assert torch.equal(template.invert(graph), shown)
        larger = template.centred(graph, (9, 9))
        assert torch.equal(template.invert(larger), shown)
        graph.is_value = None
        assert torch.equal(template.invert(graph), shown)


def test_networkx_holds_every_kernel_on_its_edge(simple_graph):
    converted = to_networkx(simple_graph, node_attrs=["x"], edge_attrs=["edge_attr"])
    assert converted.number_of_edges() == simple_graph.num_edges
    for ends, kernel in zip(
        simple_graph.edge_index.T.tolist(), simple_graph.edge_attr, strict=True
    ):
        assert converted.edges[tuple(ends)]["edge_attr"] == kernel.tolist()


def test_networkx_holds_parallel_edges_as_a_multigraph():
    """A batch norm has a gain, a mean and a variance between the same neurons."""
    graph = graph_of("ResNet-18")
    converted = to_networkx(graph, edge_attrs=["edge_attr"], to_multi=True)
    edges = converted.edges(data="edge_attr")
    assert sorted((s, t, tuple(values)) for s, t, values in edges) == kernels_by_ends(graph)


def test_subgraphs_keep_kernels(graph):
    keep = torch.arange(graph.num_nodes) % 3 > 0
    part = graph.subgraph(keep)
    kept = keep[graph.edge_index].all(0)
    assert torch.equal(part.edge_attr, graph.edge_attr[kept])
    assert torch.equal(part.is_value, graph.is_value[kept])
    assert len(part.edge_attr) == part.num_edges
    other = graph.edge_subgraph(kept)
    assert torch.equal(other.edge_attr, graph.edge_attr[kept])


@pytest.mark.parametrize(
    "transform",
    [
        transforms.ToUndirected(reduce="add"),
        transforms.ToUndirected(merge=False),
        transforms.AddSelfLoops(attr="edge_attr"),
        transforms.RemoveIsolatedNodes(),
        transforms.LargestConnectedComponents(),
        transforms.AddRandomWalkPE(4),
        transforms.AddLaplacianEigenvectorPE(2, is_undirected=False),
        transforms.LocalDegreeProfile(),
        transforms.OneHotDegree(600),
        transforms.RemoveDuplicatedEdges(["edge_attr"]),
        transforms.NormalizeFeatures(["x"]),
    ],
    ids=lambda transform: repr(transform)[:30],
)
def test_transforms(simple_graph, transform):
    graph = simple_graph
    changed = transform(graph.clone())
    assert changed.validate()
    assert len(changed.edge_attr) == changed.num_edges
    values = dict(zip(map(tuple, graph.edge_index.T.tolist()), graph.edge_attr, strict=True))
    found = {}
    for pair, kernel in zip(changed.edge_index.T.tolist(), changed.edge_attr, strict=True):
        if tuple(pair) in values:
            found[tuple(pair)] = kernel
    assert found.keys() == values.keys()
    assert all(torch.equal(found[pair], values[pair]) for pair in values)


def test_sparse_tensors_hold_kernels(simple_graph):
    with torch.sparse.check_sparse_tensor_invariants():
        changed = transforms.ToSparseTensor(attr="edge_attr", layout=torch.sparse_coo)(
            simple_graph.clone()
        )
    target, source = changed.adj_t.coalesce().indices()
    kernels = changed.adj_t.coalesce().values()
    found = Data(edge_index=torch.stack([source, target]), edge_attr=kernels)
    assert kernels_by_ends(found) == kernels_by_ends(simple_graph)


def test_undirected_edges_carry_kernels_both_ways(simple_graph):
    graph = simple_graph
    edge_index, kernels = to_undirected(graph.edge_index, graph.edge_attr)
    assert edge_index.shape[1] == 2 * graph.num_edges
    both = Data(edge_index=edge_index, edge_attr=kernels)
    forward = kernels_by_ends(graph)
    assert kernels_by_ends(both) == sorted(forward + [(t, s, values) for s, t, values in forward])


def test_coalesced_edges_keep_kernels(simple_graph):
    graph = simple_graph
    order = torch.randperm(graph.num_edges, generator=torch.Generator().manual_seed(1))
    edge_index, kernels = coalesce(graph.edge_index[:, order], graph.edge_attr[order])
    assert kernels_by_ends(Data(edge_index=edge_index, edge_attr=kernels)) == kernels_by_ends(graph)


def test_dense_adjacency_holds_kernels(graph):
    if graph.num_nodes > 200:
        pytest.skip("its matrix of kernels is large")
    dense = to_dense_adj(graph.edge_index, edge_attr=graph.edge_attr)[0]
    source, target = graph.edge_index
    assert torch.equal(dense[source, target], graph.edge_attr)
    values, is_node = to_dense_batch(graph.x)
    assert is_node.all()
    assert torch.equal(values[0], graph.x)


def test_k_hops_reach_kernels(graph):
    output = graph.num_nodes - 1
    _, edge_index, _, is_there = k_hop_subgraph(output, 1, graph.edge_index)
    assert torch.equal(edge_index, graph.edge_index[:, is_there])
    assert len(graph.edge_attr[is_there]) == edge_index.shape[1]


def convolutions(size: int, counts: Tensor) -> dict[str, nn.Module]:
    return {
        "GAT": layers.GATConv(1, 4, edge_dim=size, add_self_loops=False),
        "GATv2": layers.GATv2Conv(1, 4, edge_dim=size, add_self_loops=False),
        "Transformer": layers.TransformerConv(1, 4, edge_dim=size),
        "GINE": layers.GINEConv(nn.Linear(1, 4), edge_dim=size),
        "NNConv": layers.NNConv(1, 4, nn.Linear(size, 4)),
        "PNA": layers.PNAConv(
            1, 4, ["mean", "std"], ["identity", "amplification"], counts, edge_dim=size
        ),
        "General": layers.GeneralConv(1, 4, in_edge_channels=size),
        "CG": layers.CGConv(1, dim=size),
    }


@pytest.mark.parametrize("layer", convolutions(1, torch.ones(2, dtype=torch.long)))
def test_layers_read_kernels(graph, layer):
    counts = torch.bincount(degree(graph.edge_index[1], graph.num_nodes).long())
    torch.manual_seed(0)
    convolution = convolutions(graph.num_edge_features, counts)[layer].eval()
    batch = Batch.from_data_list([graph, graph.with_features(graph.x, 2 * graph.edge_attr)])
    outputs = convolution(batch.x, batch.edge_index, batch.edge_attr)
    alone = convolution(graph.x, graph.edge_index, graph.edge_attr)
    torch.testing.assert_close(outputs[: graph.num_nodes], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(outputs[graph.num_nodes :], alone)


def graphs_of_all_sizes() -> list[NeuralGraph]:
    return [
        template.centred(template(params_of(template)[0]), (7, 7))
        for template in TEMPLATES.values()
    ]


@pytest.mark.parametrize("loader", [DataLoader, torch_data.DataLoader])
def test_loaders_batch_graphs_of_their_own_accord(loader):
    graphs = 2 * graphs_of_all_sizes()
    batches = list(loader(graphs, batch_size=4))
    assert [batch.num_graphs for batch in batches] == [4, 2]
    found = [graph for batch in batches for graph in batch.to_data_list()]
    for one, other in zip(found, graphs, strict=True):
        assert torch.equal(one.edge_attr, other.edge_attr)
        assert torch.equal(one.edge_index, other.edge_index)


def test_a_torch_loader_takes_labels_beside_graphs():
    pairs = [(graph, number) for number, graph in enumerate(graphs_of_all_sizes())]
    ((batch, labels),) = torch_data.DataLoader(pairs, batch_size=3)
    assert batch.num_graphs == 3
    assert labels.tolist() == [0, 1, 2]


def test_neighbours_are_sampled_with_their_kernels(graph):
    values = dict(zip(map(tuple, graph.edge_index.T.tolist()), graph.edge_attr, strict=True))
    pytest.importorskip("pyg_lib", reason="sampling needs pyg-lib or torch-sparse")
    loader = NeighborLoader(graph, num_neighbors=[3], batch_size=8)
    for part in loader:
        for pair, kernel in zip(part.n_id[part.edge_index].T.tolist(), part.edge_attr, strict=True):
            assert torch.equal(kernel, values[tuple(pair)])


def test_dense_batches_of_one_architecture():
    graphs = [
        Data(x=graph.x, adj=to_dense_adj(graph.edge_index, edge_attr=graph.edge_attr)[0])
        for graph in TEMPLATES["small CNN"].stack(params_of(TEMPLATES["small CNN"], 3))
    ]
    (batch,) = DenseDataLoader(graphs, batch_size=3)
    assert batch.adj.shape == (3, 59, 59, 9)


def assert_same(found: NeuralGraph, expected: NeuralGraph) -> None:
    assert sorted(found.keys()) == sorted(expected.keys())
    for key in expected.keys():  # noqa: SIM118 (iterating over data gives pairs)
        if isinstance(expected[key], Tensor):
            assert torch.equal(found[key], expected[key]), key
    assert found.num_graphs == expected.num_graphs


@pytest.mark.parametrize("size", [None, (7, 7)])
def test_a_stack_as_a_batch_and_back(name, size):
    template = TEMPLATES[name]
    params = params_of(template, 3)
    stack = template.stack(params)
    stack = stack if size is None else template.centred(stack, size)
    batch = stack.to_batch()
    assert batch.validate()
    assert_same(batch, Batch.from_data_list(list(stack)))
    for one, other in zip(batch.to_data_list(), stack, strict=True):
        assert_same(one, other)
    back = template.stack_of(batch)
    assert torch.equal(back.params, stack.params)
    assert torch.equal(template.invert(batch), stack.params)
    assert torch.equal(back.node_features, stack.node_features)


def test_a_stack_of_plain_networks_as_a_batch():
    case = CASES["one axis"]
    template = trace(case.module().float(), tuple(x.float() for x in case.inputs()))
    plain = trace(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), torch.zeros(1, 2))
    for one in (template, plain):
        stack = one.stack(params_of(one, 2))
        assert_same(stack.to_batch(), Batch.from_data_list(list(stack)))
        assert torch.equal(one.invert(stack.to_batch()), stack.params)


def test_gradients_pass_through_a_batch(name):
    template = TEMPLATES[name]
    params = params_of(template, 2).requires_grad_()
    batch = template.stack(params).to_batch()
    (2 * template.invert(batch)).sum().backward()
    assert torch.equal(params.grad, 2.0 * template.is_shown.expand(2, -1))
