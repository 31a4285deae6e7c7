"""Neural graphs are torch-geometric graphs: batching, loaders, subgraphs, layers, conversions."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, PNAConv, TransformerConv
from torch_geometric.utils import degree, k_hop_subgraph, to_networkx

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.execution import execute
from nn_graphs.graphs.graph_structure import STRUCTURE_FIELDS
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import LayerSpec, NetworkSpec

SINE, RELU = Activation("sine", 30.0), Activation("relu")
TEMPLATES: dict[str, GraphTemplate] = {
    name: template_from_spec(spec)
    for name, spec in {
        "INR": NetworkSpec.mlp((2, 4, 3, 1), activation=SINE, offset=0.5),
        "skip": NetworkSpec(3, (LayerSpec(5, RELU), LayerSpec(4, RELU, skips=(0, 1)))),
        "one layer": NetworkSpec(3, (LayerSpec(2),)),
        "widths of one": NetworkSpec.mlp((1, 1, 1), activation=RELU),
        "no bias": NetworkSpec(2, (LayerSpec(3, RELU, has_bias=False), LayerSpec(1))),
        "as many nodes as edges": NetworkSpec(2, (LayerSpec(2, skips=()),)),
    }.items()
}


def graph_of(name: str, seed: int = 0) -> NeuralGraph:
    template = TEMPLATES[name]
    return template(torch.randn(template.num_params, generator=torch.Generator().manual_seed(seed)))


def zero_graph(name: str) -> NeuralGraph:
    return TEMPLATES[name](torch.zeros(TEMPLATES[name].num_params))


@pytest.fixture
def graphs() -> list[NeuralGraph]:
    """One of every kind, twice, and one whose weights are exactly zero."""
    return [graph_of(name, seed) for seed in (0, 1) for name in TEMPLATES] + [zero_graph("INR")]


def assert_same_graph(graph: NeuralGraph, expected: NeuralGraph) -> None:
    assert set(graph.keys()) == set(expected.keys())
    for name in (*STRUCTURE_FIELDS, "x", "edge_attr"):
        assert torch.equal(graph[name], expected[name]), name
    assert graph.num_nodes == expected.num_nodes


@pytest.mark.parametrize("name", TEMPLATES)
def test_graphs_are_valid(name):
    graph, template = graph_of(name), TEMPLATES[name]
    assert graph.validate()
    assert (graph.num_nodes, graph.num_edges) == (template.num_nodes, template.num_edges)
    assert graph.num_features == graph.num_node_features == graph.num_edge_features == 1
    assert graph.num_graphs == 1
    assert graph.is_directed()
    assert not graph.has_self_loops()
    assert not graph.has_isolated_nodes()
    assert torch.equal(graph.node_features, graph.x)
    assert torch.equal(graph.edge_features, graph.edge_attr)
    assert "num_nodes" in graph


def test_batch_and_back(graphs):
    batch = Batch.from_data_list(graphs)
    assert isinstance(batch, NeuralGraph)
    assert batch.validate()
    assert batch.num_graphs == len(graphs)
    assert batch.num_nodes == sum(graph.num_nodes for graph in graphs)
    assert batch.num_edges == sum(graph.num_edges for graph in graphs)
    for graph, expected in zip(batch.to_data_list(), graphs, strict=True):
        assert_same_graph(graph, expected)


def test_ids_are_not_offset_by_batching(graphs):
    batch = Batch.from_data_list(graphs)
    for name in set(STRUCTURE_FIELDS) - {"edge_index"}:
        assert torch.equal(batch[name], torch.cat([graph[name] for graph in graphs])), name
    offsets = torch.tensor([0] + [graph.num_nodes for graph in graphs]).cumsum(0)
    shifted = [graph.edge_index + offset for graph, offset in zip(graphs, offsets, strict=False)]
    assert torch.equal(batch.edge_index, torch.cat(shifted, dim=1))


def test_loader(graphs):
    seen = [graph for batch in DataLoader(graphs, batch_size=4) for graph in batch.to_data_list()]
    for graph, expected in zip(seen, graphs, strict=True):
        assert_same_graph(graph, expected)


def test_batch_of_batches_runs_like_single_graphs():
    graphs = [graph_of("INR", seed).to("cpu") for seed in range(3)] + [graph_of("no bias")]
    points = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    together = execute(Batch.from_data_list(graphs), points)
    alone = torch.cat([execute(graph, points) for graph in graphs])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", TEMPLATES)
def test_subgraph(name):
    graph = graph_of(name)
    keep = torch.ones(graph.num_nodes, dtype=torch.bool)
    keep[0] = False
    part = graph.subgraph(keep)
    assert part.validate()
    assert part.num_nodes == graph.num_nodes - 1
    kept_edges = keep[graph.edge_index].all(dim=0)
    assert torch.equal(part.edge_attr, graph.edge_attr[kept_edges])
    assert torch.equal(part.edge_index, graph.edge_index[:, kept_edges] - 1)
    for field in set(STRUCTURE_FIELDS) - {"edge_index", "edge_kind_id", "position_id"}:
        assert torch.equal(part[field], graph[field][keep]), field
    assert torch.equal(part.edge_kind_id, graph.edge_kind_id[kept_edges])


def test_edge_subgraph():
    graph = graph_of("skip")
    part = graph.edge_subgraph(graph.edge_kind_id == 0)
    assert part.num_nodes == graph.num_nodes
    assert part.num_edges == 3 * 5 + 5 * 4
    assert (part.edge_kind_id == 0).all()


def test_k_hop_subgraph_follows_edges_from_the_inputs():
    graph = graph_of("INR")
    output = graph.num_nodes - 1
    nodes, edge_index, _, edge_mask = k_hop_subgraph(output, 1, graph.edge_index)
    assert graph.layer_id[nodes].tolist() == [2, 2, 2, 3]
    assert torch.equal(edge_index, graph.edge_index[:, edge_mask])


def test_to_networkx():
    graph = graph_of("INR")
    converted = to_networkx(graph, node_attrs=["layer_id", "x"], edge_attrs=["edge_attr"])
    assert converted.number_of_nodes() == graph.num_nodes
    assert converted.number_of_edges() == graph.num_edges
    assert [converted.nodes[node]["layer_id"] for node in converted] == graph.layer_id.tolist()
    assert converted.edges[1, 3]["edge_attr"] == graph.edge_attr[3].tolist()
    assert graph.edge_attr[3] == TEMPLATES["INR"].invert(graph)[3]  # W[1, 1]


@pytest.mark.parametrize("layer", ["gcn", "pna", "transformer"])
def test_layers_of_torch_geometric_run(graphs, layer):
    batch = Batch.from_data_list(graphs)
    counts = torch.bincount(degree(batch.edge_index[1], batch.num_nodes).long())
    torch.manual_seed(0)
    conv: nn.Module = {
        "gcn": lambda: GCNConv(1, 8),
        "pna": lambda: PNAConv(1, 8, ["mean", "std"], ["identity", "amplification"], counts, 1),
        "transformer": lambda: TransformerConv(1, 8, edge_dim=1),
    }[layer]().eval()
    arguments = [batch.x, batch.edge_index]
    arguments += [] if layer == "gcn" else [batch.edge_attr]
    outputs = conv(*arguments)
    assert outputs.shape == (batch.num_nodes, 8)
    assert outputs.isfinite().all()
    first = conv(
        graphs[0].x, graphs[0].edge_index, *([] if layer == "gcn" else [graphs[0].edge_attr])
    )
    torch.testing.assert_close(outputs[: graphs[0].num_nodes], first)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda graph: graph.clone()])
def test_copies(duplicate):
    graph = graph_of("skip")
    other = duplicate(graph)
    assert type(other) is NeuralGraph
    assert_same_graph(other, graph)
    other.x = other.x + 1
    assert not torch.equal(other.x, graph.x)


def test_clones_own_their_tensors():
    graph = graph_of("skip")
    other = graph.clone()
    other.x.zero_()
    assert graph.x.abs().sum() > 0


def test_to_moves_every_tensor():
    graph = graph_of("skip").to("meta")
    assert {graph[name].device.type for name in (*STRUCTURE_FIELDS, "x", "edge_attr")} == {"meta"}


def test_other_features(graphs):
    for graph in (graphs[0], Batch.from_data_list(graphs)):
        changed = graph.with_features(graph.x + 1, 2 * graph.edge_attr)
        assert type(changed) is type(graph)
        torch.testing.assert_close(changed.x - 1, graph.x)
        assert torch.equal(changed.edge_attr, 2 * graph.edge_attr)
        assert changed.num_graphs == graph.num_graphs
        assert torch.equal(changed.edge_index, graph.edge_index)


def test_a_changed_batch_can_be_taken_apart(graphs):
    batch = Batch.from_data_list(graphs)
    parts = batch.with_features(batch.x + 1, 2 * batch.edge_attr).to_data_list()
    for part, graph in zip(parts, graphs, strict=True):
        assert torch.equal(part.x, graph.x + 1)
        assert torch.equal(part.edge_attr, 2 * graph.edge_attr)


def test_a_stack_holds_its_graphs():
    template = TEMPLATES["skip"]
    params = torch.randn(4, template.num_params, generator=torch.Generator().manual_seed(0))
    stack = template.stack(params)
    assert len(stack) == stack.num_graphs == 4
    assert torch.equal(stack.params, params)
    for graph, row in zip(stack, params, strict=True):
        assert_same_graph(graph, template(row))
    assert_same_graph(stack[-1], stack[3])
    with pytest.raises(IndexError):
        stack[4]


def test_a_stack_moves():
    stack = TEMPLATES["skip"].stack(torch.zeros(2, TEMPLATES["skip"].num_params)).to("meta")
    assert stack.node_features.device.type == stack.edge_features.device.type == "meta"
    assert stack.template is TEMPLATES["skip"]


def test_structure_of_a_batch(graphs):
    structure = Batch.from_data_list(graphs).structure
    assert structure.edge_index.max() == sum(graph.num_nodes for graph in graphs) - 1
    assert structure.layer_id.max() == 3


class Allocations(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make."""

    def __init__(self):
        super().__init__()
        self.seen: dict[int, Tensor] = {}  # kept, so that no place in memory is used twice

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self.seen.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return made

    @property
    def num_bytes(self) -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in self.seen.values())


@pytest.mark.parametrize("has_kernels", [False, True])
def test_a_graph_takes_little_more_memory_than_a_stack(has_kernels):
    """Edges are told apart by nine numbers; they are computed when they are asked for."""
    module = nn.Sequential(nn.Linear(60, 200), nn.Tanh(), nn.Linear(200, 100))
    example = torch.zeros(1, 60)
    if has_kernels:
        module = nn.Sequential(nn.Conv2d(20, 40, 3), nn.ReLU(), nn.Conv2d(40, 30, 3))
        example = torch.zeros(1, 20, 8, 8)
    template = trace(module, example)
    with Allocations() as of_stack:
        template.stack(template.parameters.flatten(module).unsqueeze(0))
    with Allocations() as of_graph:
        graph = template(module)
    assert of_graph.num_bytes < 1.3 * of_stack.num_bytes
    with Allocations() as of_edges:
        graph.edge_index  # noqa: B018
    assert of_edges.num_bytes > template.num_edges * 16
    assert graph.validate()


def test_fields_that_come_later_are_fields_like_others():
    fresh = TEMPLATES["skip"]
    expected = fresh.structure().tensors()
    for use in (
        lambda graph: graph.to_dict(),
        lambda graph: pickle.loads(pickle.dumps(graph)).to_dict(),
        lambda graph: copy.copy(graph).to_dict(),
        lambda graph: copy.deepcopy(graph).to_dict(),
        lambda graph: dict(graph.to_dict()),
        lambda graph: {key: graph[key] for key in graph.keys()},  # noqa: SIM118
        lambda graph: {key: graph.get(key) for key in graph.keys()},  # noqa: SIM118
        lambda graph: dict(iter(graph)),
        lambda graph: NeuralGraph(**graph.to_dict()).to_dict(),
        lambda graph: graph.clone().to_dict(),
    ):
        found = use(graph_of("skip"))
        for name, value in expected.items():
            assert torch.equal(found[name], value), name
    graph = graph_of("skip")
    assert "edge_index" in graph
    assert "edge_index=[2, " in repr(graph)
    assert graph.get("nothing", 3) == 3
    del graph.position_id
    assert "position_id" not in graph
    graph.edge_kind_id = graph.edge_kind_id + 1
    assert torch.equal(graph.edge_kind_id, expected["edge_kind_id"] + 1)


def test_a_deep_copy_owns_what_comes_later():
    copy.deepcopy(graph_of("skip")).edge_index.zero_()
    assert graph_of("skip").edge_index.abs().sum() > 0
