"""Topologies: every primitive against a plain loop over edges, and all three against each other."""

import math
from dataclasses import dataclass
from functools import cached_property

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.topology import CompleteTopology, EdgeValues, Topology, on_edges
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from tests.graphs.architectures import SPECS

TANH = Activation("tanh")
ARCHITECTURES = {
    "chain": NetworkSpec.mlp((2, 4, 3, 1), activation=TANH),
    "one layer": NetworkSpec(3, (LayerSpec(2),)),
    "widths of one": NetworkSpec.mlp((1, 1, 1), activation=TANH),
    "skip to fewer": NetworkSpec(2, (LayerSpec(5, TANH), LayerSpec(3, TANH, skips=(0, 1)))),
    "skip to more": NetworkSpec(2, (LayerSpec(3, TANH), LayerSpec(5, TANH, skips=(0, 1, 1)))),
    "random": SPECS["random 3"],
}
DIM, NUM_GRAPHS = 3, 2
EXACT = {"rtol": 1e-12, "atol": 1e-12}


@dataclass(frozen=True)
class Directed:
    """A topology with the plain list of its directed edges.

    Attributes:
        source, target: the ends of every directed edge, as node numbers over all graphs.
        nodes: random values in the topology's own layout.
        edges: random values `[num_directed of all graphs, DIM]`, in the order of the list.
        shape: of `edges` in the layout of `join` and `split`.
    """

    topology: Topology
    source: list[int]
    target: list[int]
    nodes: Tensor
    edges: Tensor
    shape: tuple[int, ...]

    @property
    def num_nodes(self) -> int:
        return self.nodes.flatten(0, -2).shape[0]

    @cached_property
    def arriving(self) -> list[list[int]]:
        """For every neuron, the numbers of the directed edges that reach it."""
        numbers: list[list[int]] = [[] for _ in range(self.num_nodes)]
        for number, target in enumerate(self.target):
            numbers[target].append(number)
        return numbers

    def parts(self, flat: Tensor) -> EdgeValues:
        """Values on the listed edges in the topology's own layout."""
        values = flat.unflatten(0, self.shape)
        if isinstance(self.topology, CompleteTopology):
            return (values,)
        directions = values.chunk(2, -2) if self.topology.is_bidirectional else (values, None)
        return self.topology.join(*directions, fill=torch.zeros(DIM))

    def flat(self, parts: EdgeValues) -> Tensor:
        """The inverse of `parts`; values that only broadcast against edges are expanded."""
        full = on_edges(lambda e, v: v.expand_as(e), self.parts(self.edges), parts)
        if isinstance(self.topology, CompleteTopology):
            return full[0].flatten(0, -2)
        values = [value for value in self.topology.split(full) if value is not None]
        return torch.cat(values, dim=-2).flatten(0, -2)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stack_of(name: str):
    template = template_from_spec(ARCHITECTURES[name])
    return template.stack(rand(NUM_GRAPHS, template.num_params))


def ends(edge_index: Tensor, is_bidirectional: bool) -> tuple[list[int], list[int]]:
    source, target = edge_index.tolist()
    return (source + target, target + source) if is_bidirectional else (source, target)


def layered(name: str, is_bidirectional: bool) -> Directed:
    stack = stack_of(name)
    topology = stack.topology.bidirectional if is_bidirectional else stack.topology
    num_nodes = stack.template.num_nodes
    source, target = ends(stack.structure.edge_index, is_bidirectional)
    numbers = range(NUM_GRAPHS)
    return Directed(
        topology,
        [node + graph * num_nodes for graph in numbers for node in source],
        [node + graph * num_nodes for graph in numbers for node in target],
        rand(NUM_GRAPHS, num_nodes, DIM),
        rand(NUM_GRAPHS * len(source), DIM, seed=1),
        (NUM_GRAPHS, len(source)),
    )


def edge_list(names: tuple[str, ...], is_bidirectional: bool) -> Directed:
    batch = Batch.from_data_list([graph for name in names for graph in stack_of(name)])
    topology = batch.topology.bidirectional if is_bidirectional else batch.topology
    source, target = ends(batch.edge_index, is_bidirectional)
    return Directed(
        topology,
        source,
        target,
        rand(batch.num_nodes, DIM),
        rand(len(source), DIM, seed=1),
        (len(source),),
    )


def complete(name: str) -> Directed:
    """All pairs, listed receiver by receiver."""
    stack = stack_of(name)
    num_nodes = stack.template.num_nodes
    pairs = [
        (graph * num_nodes + receiver, graph * num_nodes + sender)
        for graph in range(NUM_GRAPHS)
        for receiver in range(num_nodes)
        for sender in range(num_nodes)
    ]
    return Directed(
        stack.topology.complete(NUM_GRAPHS),
        [sender for _, sender in pairs],
        [receiver for receiver, _ in pairs],
        rand(NUM_GRAPHS, num_nodes, DIM),
        rand(NUM_GRAPHS * num_nodes**2, DIM, seed=1),
        (NUM_GRAPHS, num_nodes, num_nodes),
    )


COMPLETE = ("chain", "one layer", "widths of one", "skip to more")
DIRECTED = {
    **{
        f"{kind} {name}, {'both directions' if both else 'forward'}": (make, name, both)
        for kind, make, names in (
            ("layered", layered, ARCHITECTURES),
            ("edge list", lambda n, b: edge_list((n,), b), ("chain",)),
            ("edge list of all", lambda _, b: edge_list(tuple(ARCHITECTURES), b), ("",)),
        )
        for name in names
        for both in (False, True)
    },
    **{f"complete {name}": (lambda n, _: complete(n), name, True) for name in COMPLETE},
}


EDGES_BOTH_WAYS = [
    name for name, (_, _, both) in DIRECTED.items() if both and "complete" not in name
]


@pytest.fixture(scope="module", params=DIRECTED)
def directed(request) -> Directed:
    make, name, both = DIRECTED[request.param]
    return make(name, both)


def assert_rows(actual: Tensor, expected: list[Tensor]) -> None:
    torch.testing.assert_close(actual.flatten(0, -2), torch.stack(expected), **EXACT)


def test_values_on_edges_keep_their_places(directed):
    assert torch.equal(directed.flat(directed.parts(directed.edges)), directed.edges)


def test_sources_and_targets(directed):
    topology, rows = directed.topology, directed.nodes.flatten(0, -2)
    assert torch.equal(directed.flat(topology.sources(directed.nodes)), rows[directed.source])
    assert torch.equal(directed.flat(topology.targets(directed.nodes)), rows[directed.target])


def test_functions_of_edges_and_their_ends(directed):
    topology, rows = directed.topology, directed.nodes.flatten(0, -2)
    values = on_edges(
        lambda e, s, t: e * s + t.sin(),
        directed.parts(directed.edges),
        topology.sources(directed.nodes),
        topology.targets(directed.nodes),
    )
    expected = directed.edges * rows[directed.source] + rows[directed.target].sin()
    torch.testing.assert_close(directed.flat(values), expected, **EXACT)


def plain_reductions(messages: Tensor) -> dict[str, Tensor]:
    """What each reduction makes of the messages `[k, DIM]` that reach one neuron."""
    if not len(messages):
        return dict.fromkeys(("sum", "mean", "max", "min", "std"), torch.zeros(DIM).double())
    total = sum(messages)
    mean = total / len(messages)
    variance = sum((message - mean) ** 2 for message in messages) / len(messages)
    return {
        "sum": total,
        "mean": mean,
        "max": messages.max(0).values,
        "min": messages.min(0).values,
        "std": (variance + 1e-5).sqrt(),
    }


def reductions(topology: Topology, edges: EdgeValues) -> dict[str, Tensor]:
    mean = topology.reduce_mean(edges)
    return {
        "sum": topology.reduce_sum(edges),
        "mean": mean,
        "max": topology.reduce_max(edges),
        "min": topology.reduce_min(edges),
        "std": topology.reduce_statistics(edges, eps=1e-5).std,
    }


def test_reductions(directed):
    plain = [plain_reductions(directed.edges[numbers]) for numbers in directed.arriving]
    parts = directed.parts(directed.edges)
    for name, values in reductions(directed.topology, parts).items():
        assert values.dtype == torch.float64
        assert_rows(values, [row[name] for row in plain])


def test_weighted_sums_per_head(directed):
    topology, parts = directed.topology, directed.parts(directed.edges)
    weights = on_edges(lambda e: torch.cat([e[..., :1].sin(), e[..., 1:2]], dim=-1), parts)
    found = topology.reduce_weighted(weights, parts)
    heads = [
        topology.reduce_sum(on_edges(lambda w, e, h=h: w[..., h : h + 1] * e, weights, parts))
        for h in range(2)
    ]
    torch.testing.assert_close(found, torch.cat(heads, dim=-1), **EXACT)
    torch.testing.assert_close(Topology.reduce_weighted(topology, weights, parts), found, **EXACT)


@pytest.mark.parametrize("directed", EDGES_BOTH_WAYS, indirect=True)
def test_products_per_direction_and_head(directed):
    topology, edges = directed.topology, directed.parts(directed.edges)
    factors = on_edges(lambda e: torch.cat([e[..., :1].sin(), e[..., 1:2]], dim=-1), edges)
    nodes = torch.cat([directed.nodes * number for number in (1, 2, 3, 4)], dim=-1)
    found = topology.reduce_products(factors, nodes)
    forward, backward = topology.split(factors)
    zeros, fill = torch.zeros_like(forward), forward.new_zeros(2)
    expected = []
    for number, (along, against) in enumerate([(forward, zeros), (zeros, backward)]):
        own = topology.join(along, against, fill=fill)
        for head in range(2):
            sent = on_edges(
                lambda f, x, h=head: f[..., h : h + 1] * x,
                own,
                topology.sources(directed.nodes * (2 * number + head + 1)),
            )
            expected.append(topology.reduce_sum(sent))
    torch.testing.assert_close(found, torch.cat(expected, dim=-1), **EXACT)
    torch.testing.assert_close(Topology.reduce_products(topology, factors, nodes), found, **EXACT)


def test_attended_values_per_head(directed):
    topology, edges = directed.topology, directed.parts(directed.edges)
    weights = on_edges(lambda e: torch.cat([e[..., :1].sin(), e[..., 1:2]], dim=-1), edges)
    nodes = torch.cat([directed.nodes, directed.nodes.cos()], dim=-1)
    found = topology.reduce_attended(weights, nodes)
    heads = [
        topology.reduce_sum(on_edges(torch.mul, own, topology.sources(values)))
        for own, values in zip(
            (on_edges(lambda w, h=h: w[..., h : h + 1], weights) for h in range(2)),
            nodes.chunk(2, dim=-1),
            strict=True,
        )
    ]
    torch.testing.assert_close(found, torch.cat(heads, dim=-1), **EXACT)
    torch.testing.assert_close(Topology.reduce_attended(topology, weights, nodes), found, **EXACT)


def test_dot_products_per_head(directed):
    topology = directed.topology
    receivers, senders = (
        torch.cat([values, values.cos()], dim=-1) for values in (directed.nodes, 2 - directed.nodes)
    )
    found = topology.dot_products(receivers, senders, num_heads=2)
    first, second = (values.flatten(0, -2) for values in (receivers, senders))
    products = first[directed.target] * second[directed.source]
    for head, half in enumerate(products.chunk(2, dim=-1)):
        own = on_edges(lambda v, h=head: v[..., h : h + 1].expand(*v.shape[:-1], DIM), found)
        expected = half.sum(-1, keepdim=True).expand(-1, DIM)
        torch.testing.assert_close(directed.flat(own), expected, **EXACT)
    plain = Topology.dot_products(topology, receivers, senders, num_heads=2)
    for part, other in zip(plain, found, strict=True):
        torch.testing.assert_close(part, other, **EXACT)


def num_outputs(topology: Topology) -> int:
    if isinstance(topology, CompleteTopology):
        return topology.num_outputs
    return topology.groups[-1].width


def test_into_outputs_keeps_what_output_neurons_receive(directed):
    whole, parts = directed.topology, directed.parts(directed.edges)
    restricted = whole.into_outputs()
    chosen = parts if restricted is whole else restricted.chosen(parts)
    ends = [restricted.sources(directed.nodes), restricted.targets(directed.nodes)]
    for received, values in (
        (whole.reduce_sum(parts), restricted.reduce_sum(chosen)),
        (whole.in_degree, restricted.in_degree),
        (
            whole.reduce_sum(
                on_edges(torch.add, whole.softmax(parts), whole.sources(directed.nodes))
            ),
            restricted.reduce_sum(on_edges(torch.add, restricted.softmax(chosen), ends[0])),
        ),
        (
            whole.reduce_max(on_edges(torch.mul, parts, whole.targets(directed.nodes))),
            restricted.reduce_max(on_edges(torch.mul, chosen, ends[1])),
        ),
        *zip(
            whole.reduce_statistics(parts, eps=1e-5),
            restricted.reduce_statistics(chosen, eps=1e-5),
            strict=True,
        ),
    ):
        if restricted is not whole:
            received = received.clone()
            received[..., : -num_outputs(restricted), :] = 0
        torch.testing.assert_close(values, received, **EXACT)


def test_statistics_have_the_gradient_of_their_definition(directed):
    edges = directed.edges.clone().requires_grad_()
    parts, topology = directed.parts(edges), directed.topology
    weights = [rand(*directed.nodes.shape, seed=seed) for seed in range(4)]
    statistics = topology.reduce_statistics(parts, eps=1e-5)
    plain = Topology.reduce_statistics(topology, parts, eps=1e-5)
    found, expected = (
        torch.autograd.grad(
            sum((w * v).sum() for w, v in zip(weights, values, strict=True)),
            edges,
            retain_graph=True,
        )[0]
        for values in (statistics, plain)
    )
    for mine, theirs in zip(statistics, plain, strict=True):
        torch.testing.assert_close(mine, theirs, **EXACT)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_in_degree(directed):
    degree = directed.topology.in_degree.expand(*directed.nodes.shape[:-1], 1)
    expected = [len(numbers) for numbers in directed.arriving]
    assert degree.flatten().tolist() == expected


def test_softmax(directed):
    scores = 30 * directed.edges
    weights = directed.flat(directed.topology.softmax(directed.parts(scores)))
    expected = torch.empty_like(weights)
    for numbers in filter(None, directed.arriving):
        expected[numbers] = scores[numbers].softmax(0)
        torch.testing.assert_close(weights[numbers].sum(0), torch.ones(DIM).double(), **EXACT)
    torch.testing.assert_close(weights, expected, **EXACT)


def test_softmax_of_large_scores_is_finite(directed):
    scores = directed.parts(1e4 * directed.edges - 1e6)
    assert directed.flat(directed.topology.softmax(scores)).isfinite().all()


def test_opposite_is_an_involution_that_swaps_the_ends(directed):
    topology, parts = directed.topology, directed.parts(directed.edges)
    if not topology.is_bidirectional:
        with pytest.raises(AssertionError):
            topology.opposite(parts)
        return
    twice = topology.opposite(topology.opposite(parts))
    assert torch.equal(directed.flat(twice), directed.edges)
    swapped = topology.opposite(topology.sources(directed.nodes))
    targets = topology.targets(directed.nodes)
    assert torch.equal(directed.flat(swapped), directed.flat(targets))
    assert not torch.equal(directed.flat(topology.opposite(parts)), directed.edges)


def test_flatten_and_unflatten(directed):
    flat, graph_id = directed.topology.flatten(directed.nodes)
    assert flat.shape == (len(graph_id), DIM)
    assert torch.equal(directed.topology.unflatten(flat), directed.nodes)
    assert (graph_id.diff() >= 0).all()


def test_graph_mean(directed):
    topology = directed.topology
    mean = topology.graph_mean(directed.nodes).expand_as(directed.nodes)
    flat, graph_id = topology.flatten(directed.nodes)
    means = [flat[graph_id == graph].mean(0) for graph in graph_id.unique()]
    assert_rows(mean, [means[graph] for graph in graph_id])


def test_empty_neighbourhoods_give_zero_with_finite_gradients(directed):
    empty = (directed.topology.in_degree == 0).expand(*directed.nodes.shape[:-1], DIM)
    if not directed.topology.is_bidirectional:
        assert empty.any()  # inputs receive nothing
    edges = directed.edges.clone().requires_grad_()
    for values in reductions(directed.topology, directed.parts(edges)).values():
        assert (values[empty] == 0).all()
        (gradient,) = torch.autograd.grad(values.square().sum(), edges, retain_graph=True)
        assert gradient.isfinite().all()


def test_constant_messages_have_finite_gradients(directed):
    edges = torch.zeros_like(directed.edges).requires_grad_()
    for values in reductions(directed.topology, directed.parts(edges)).values():
        (gradient,) = torch.autograd.grad(values.sum(), edges, retain_graph=True)
        assert gradient.isfinite().all()


def test_ties_share_the_gradient_evenly(directed):
    edges = torch.zeros_like(directed.edges).requires_grad_()
    for reduction in (directed.topology.reduce_max, directed.topology.reduce_min):
        (gradient,) = torch.autograd.grad(reduction(directed.parts(edges)).sum(), edges)
        shares = [1 / len(directed.arriving[target]) for target in directed.target]
        expected = torch.tensor(shares, dtype=torch.float64).unsqueeze(1).expand(-1, DIM)
        torch.testing.assert_close(gradient, expected)


# Layered = edge list.


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("is_bidirectional", [False, True])
def test_layered_equals_edge_list(name, is_bidirectional):
    blocks, pairs = layered(name, is_bidirectional), edge_list((name,), is_bidirectional)
    order = edge_order(blocks, pairs)

    def outputs(directed: Directed, nodes: Tensor, edges: Tensor) -> list[Tensor]:
        topology = directed.topology
        ends = topology.sources(nodes), topology.targets(nodes)
        messages = on_edges(lambda e, s, t: e * (s + t.sin()), directed.parts(edges), *ends)
        values = [*reductions(topology, messages).values()]
        weighted = on_edges(torch.mul, topology.softmax(messages), ends[0])
        values.append(topology.reduce_sum(weighted))
        return [value.flatten(0, -2) for value in values]

    nodes, edges = blocks.nodes.requires_grad_(), blocks.edges.requires_grad_()
    of_blocks = outputs(blocks, nodes, edges)
    of_pairs = outputs(pairs, nodes.flatten(0, 1), edges[order])
    for left, right in zip(of_blocks, of_pairs, strict=True):
        torch.testing.assert_close(left, right, **EXACT)
        weight = rand(*left.shape, seed=2)
        gradients = [
            torch.autograd.grad((values * weight).sum(), (nodes, edges), retain_graph=True)
            for values in (left, right)
        ]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, **EXACT)


def edge_order(blocks: Directed, pairs: Directed) -> list[int]:
    """Which directed edge of the stack each one of the batch is.

    Both go through the edges of a graph in the same order; a stack has graph after graph, each in
    both directions, a batch all graphs forward, then all backward.
    """
    num_directions = 1 + blocks.topology.is_bidirectional
    numbers = torch.arange(len(blocks.source)).view(NUM_GRAPHS, num_directions, -1)
    order = numbers.transpose(0, 1).flatten().tolist()
    assert [blocks.source[number] for number in order] == pairs.source
    assert [blocks.target[number] for number in order] == pairs.target
    return order


# Joining and splitting.


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("make", [layered, lambda name, both: edge_list((name,), both)])
@pytest.mark.parametrize("is_bidirectional", [False, True])
def test_split_undoes_join(name, make, is_bidirectional):
    directed = make(name, is_bidirectional)
    values = directed.edges.unflatten(0, directed.shape)
    forward, backward = values.chunk(2, -2) if is_bidirectional else (values, None)
    parts = directed.topology.join(forward, backward, fill=torch.zeros(DIM))
    again, again_backward = directed.topology.split(parts)
    assert torch.equal(again, forward)
    assert torch.equal(again_backward, backward) if is_bidirectional else again_backward is None


@pytest.mark.parametrize("name", ["chain", "one layer", "widths of one"])
def test_pairs_hold_the_edges_and_the_filling(name):
    stack = stack_of(name)
    topology = stack.topology.complete(NUM_GRAPHS)
    num_nodes, num_edges = stack.template.num_nodes, stack.template.num_edges
    fill = rand(DIM, seed=3)
    forward = rand(NUM_GRAPHS, num_edges, DIM, seed=4)
    backward = rand(NUM_GRAPHS, num_edges, DIM, seed=5)
    pairs = topology.join(forward, backward, fill=fill)
    expected = fill.expand(NUM_GRAPHS, num_nodes, num_nodes, DIM).clone()
    for number, (source, target) in enumerate(stack.structure.edge_index.T.tolist()):
        expected[:, target, source] = forward[:, number]
        expected[:, source, target] = backward[:, number]
    torch.testing.assert_close(pairs[0], expected, **EXACT)
    for actual, before in zip(topology.split(pairs), (forward, backward), strict=True):
        torch.testing.assert_close(actual, before, **EXACT)


def test_edges_between_the_same_pair_add_up_above_the_filling():
    stack = stack_of("skip to more")  # a layer and two skips join neurons 2 and 5
    topology = stack.topology.complete(NUM_GRAPHS)
    edges = rand(NUM_GRAPHS, stack.template.num_edges, DIM)
    fill = rand(DIM, seed=3)
    (pairs,) = topology.join(edges, torch.zeros_like(edges), fill=fill)
    source, target = stack.structure.edge_index
    parallel = edges[:, (source == 2) & (target == 5)]
    assert parallel.shape[1] == 3
    torch.testing.assert_close(pairs[:, 5, 2], fill + (parallel - fill).sum(1), **EXACT)


def test_pairs_of_a_batch_are_those_of_the_stack():
    stack = stack_of("chain")
    batch = Batch.from_data_list(list(stack))
    of_stack, of_batch = stack.topology.complete(NUM_GRAPHS), batch.topology.complete(NUM_GRAPHS)
    forward = rand(NUM_GRAPHS, stack.template.num_edges, DIM)
    backward, fill = forward.flip(1), rand(DIM, seed=1)
    pairs = of_stack.join(forward, backward, fill=fill)
    assert torch.equal(
        pairs[0], of_batch.join(forward.flatten(0, 1), backward.flatten(0, 1), fill=fill)[0]
    )
    for one, other in zip(of_stack.split(pairs), of_batch.split(pairs), strict=True):
        assert torch.equal(one.flatten(0, 1), other)


# Padding.


def attend(topology: CompleteTopology, nodes: Tensor, pairs: EdgeValues) -> dict[str, Tensor]:
    """Everything that a transformer does on pairs."""
    ends = topology.sources(nodes), topology.targets(nodes)
    scores = on_edges(lambda e, s, t: e * s + t, pairs, *ends)
    values = reductions(topology, scores)
    weighted = on_edges(torch.mul, topology.softmax(scores), scores)
    values["attended"] = topology.reduce_sum(weighted)
    values["opposite"] = topology.reduce_sum(topology.opposite(scores))
    values["centred"] = nodes - topology.graph_mean(nodes)
    return values


def test_padding_is_never_seen():
    names = ("chain", "widths of one", "skip to more")
    graphs = [stack_of(name)[0] for name in names]
    batch = Batch.from_data_list(graphs)
    together = batch.topology.complete(3)
    nodes, edges = rand(batch.num_nodes, DIM), rand(batch.num_edges, DIM, seed=1)
    fill = rand(DIM, seed=2)
    padded, pairs = together.unflatten(nodes), together.join(edges, edges.flip(1), fill=fill)
    spoiled = (
        padded.masked_fill(~together.is_real, math.inf),
        (pairs[0].masked_fill(~together.is_pair, math.nan),),
    )
    assert not together.is_real.all()
    for graph, (start, graph_edges) in enumerate(parts(batch)):
        alone = graphs[graph].topology.complete(1)
        own_nodes = nodes[start : start + graphs[graph].num_nodes]
        own_edges = edges[graph_edges]
        own_pairs = alone.join(own_edges, own_edges.flip(1), fill=fill)
        own = attend(alone, alone.unflatten(own_nodes), own_pairs)
        for inputs in ((padded, pairs), spoiled):
            for name, values in attend(together, *inputs).items():
                flat, graph_id = together.flatten(values)
                torch.testing.assert_close(flat[graph_id == graph], own[name][0], **EXACT)


def parts(batch: Batch) -> list[tuple[int, Tensor]]:
    """First node and edges of every graph of a batch."""
    graph_of_edge = batch.batch[batch.edge_index[0]]
    starts = batch.ptr[:-1].tolist()
    return [(start, graph_of_edge == graph) for graph, start in enumerate(starts)]


def test_padding_gets_no_gradient():
    batch = Batch.from_data_list([stack_of(name)[0] for name in ("chain", "widths of one")])
    topology = batch.topology.complete(2)
    nodes = topology.unflatten(rand(batch.num_nodes, DIM)).requires_grad_()
    pairs = rand(2, topology.max_nodes, topology.max_nodes, DIM).requires_grad_()
    total = sum(
        topology.flatten(v)[0].square().sum() for v in attend(topology, nodes, (pairs,)).values()
    )
    total.backward()
    is_real, is_pair = topology.is_real.squeeze(-1), topology.is_pair.squeeze(-1)
    assert (nodes.grad[~is_real] == 0).all()
    assert (pairs.grad[~is_pair] == 0).all()
    assert (nodes.grad[is_real] != 0).all()
    assert nodes.grad.isfinite().all()


def test_graphs_of_a_batch_do_not_meet():
    """Edge lists: what a neighbour in the batch holds changes nothing."""
    directed = edge_list(("chain", "skip to more"), True)
    first = directed.topology.graph_id < NUM_GRAPHS
    of_first = first[directed.topology.source]
    nodes = torch.where(first.unsqueeze(1), directed.nodes, math.inf)
    edges = torch.where(of_first.unsqueeze(1), directed.edges, math.inf)
    topology = directed.topology
    for value, spoiled in zip(
        reductions(topology, (directed.edges,)).values(),
        reductions(topology, (edges,)).values(),
        strict=True,
    ):
        assert torch.equal(value[first], spoiled[first])
    assert torch.equal(
        topology.graph_mean(nodes)[first], topology.graph_mean(directed.nodes)[first]
    )


# A virtual node.


def test_a_virtual_node_is_no_neuron():
    stack = stack_of("chain")
    plain = stack.topology.complete(NUM_GRAPHS)
    topology = stack.topology.complete(NUM_GRAPHS, has_virtual_node=True)
    nodes = rand(NUM_GRAPHS, stack.template.num_nodes, DIM)
    edges, fill = rand(NUM_GRAPHS, stack.template.num_edges, DIM), rand(DIM, seed=1)
    with_node = topology.unflatten(nodes.flatten(0, 1))
    assert with_node.shape == (NUM_GRAPHS, stack.template.num_nodes + 1, DIM)
    assert (with_node[:, 0] == 0).all()
    assert torch.equal(topology.flatten(with_node)[0], nodes.flatten(0, 1))
    pairs = topology.join(edges, edges.flip(1), fill=fill)
    assert (pairs[0][:, 0] == 0).all()
    assert (pairs[0][:, :, 0] == 0).all()
    assert torch.equal(pairs[0][:, 1:, 1:], plain.join(edges, edges.flip(1), fill=fill)[0])
    torch.testing.assert_close(topology.split(pairs)[0], edges, **EXACT)
    degree = stack.template.num_nodes + 1
    assert (topology.in_degree == degree).all()
