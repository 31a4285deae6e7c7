"""Encodings of positions against numpy, networkx and torch-geometric, on graphs of every kind.

Eigenvectors of repeated eigenvalues are compared as the space that they span.
"""

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.sparse.linalg import ArpackNoConvergence
from torch import Tensor
from torch.testing import assert_close
from torch_geometric.data import Batch
from torch_geometric.transforms import AddRandomWalkPE

from nn_graphs.graphs import positional
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.positional import LaplacianEncoding, RandomFeatures, ReturnProbabilities
from nn_graphs.graphs.symmetry import apply_symmetries, apply_to_graphs, sample_symmetries
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import NetworkSpec
from tests.graphs.hand_made import hand_made, random_graph
from tests.graphs.test_undirected_graphs import as_networkx

ITERATIVE, DENSE = 0, 512
TANH = Activation("tanh")


def union(*graphs: NeuralGraph) -> NeuralGraph:
    """One graph of several, which are not joined."""
    edges, weights, start = [], [], 0
    for graph in graphs:
        edges += (graph.edge_index + start).T.tolist()
        weights += graph.edge_attr.flatten().tolist()
        start += graph.num_nodes
    return hand_made(start, edges, weights)


def bipartite(num_first: int, num_second: int) -> NeuralGraph:
    """All of one side are joined to all of the other: eigenvalue 1 again and again."""
    edges = [(i, num_first + j) for i in range(num_first) for j in range(num_second)]
    return hand_made(num_first + num_second, edges)


GRAPHS: dict[str, Callable[[], NeuralGraph]] = {
    "sparse": lambda: random_graph(30, 45, seed=1),  # with neurons without edges
    "dense": lambda: random_graph(24, 200, seed=2),
    "complete": lambda: random_graph(12, 66, seed=3),
    "bipartite": lambda: bipartite(9, 6),
    "disconnected": lambda: union(
        random_graph(12, 30, seed=4), random_graph(9, 14), bipartite(3, 3)
    ),
    "twins": lambda: union(*[random_graph(11, 22, seed=5)] * 3),
    "path": lambda: hand_made(20, [(i, i + 1) for i in range(19)]),
    "isolated": lambda: union(hand_made(6, []), random_graph(14, 30, seed=6), hand_made(3, [])),
}


def laplacian(graph: NeuralGraph, *, is_weighted: bool) -> Tensor:
    known = as_networkx(graph, is_weighted=is_weighted)
    return torch.from_numpy(nx.normalized_laplacian_matrix(known).toarray())


def nontrivial(matrix: Tensor, graph: NeuralGraph) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors by numpy, without as many of 0 as networkx counts components."""
    num_components = nx.number_connected_components(as_networkx(graph, is_weighted=False))
    values, vectors = np.linalg.eigh(matrix.numpy())
    assert abs(values[:num_components]).max() < 1e-9
    assert len(values) == num_components or values[num_components] > 1e-6
    return torch.from_numpy(values[num_components:]), torch.from_numpy(vectors[:, num_components:])


def assert_spaces_of(found: Tensor, values: Tensor, vectors: Tensor) -> None:
    """Found vectors are orthonormal, of the eigenvalues in order, and span their whole spaces.

    The last space may be cut: there the found vectors lie in it.
    """
    count = min(found.shape[1], len(values))
    assert (found[:, count:] == 0).all()
    found, wanted = found[:, :count], values[:count]
    assert_close(found.T @ found, torch.eye(count, dtype=found.dtype), rtol=0, atol=1e-8)
    for value in wanted:
        ours = found[:, (wanted - value).abs() < 1e-6]
        space = vectors[:, (values - value).abs() < 1e-6]
        projector = space @ space.T
        assert_close(projector @ ours, ours, rtol=0, atol=1e-7)
        if ours.shape[1] == space.shape[1]:
            assert_close(ours @ ours.T, projector, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dense_below", [DENSE, ITERATIVE])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_eigenvectors_are_numpys(name, is_weighted, dense_below):
    graph = GRAPHS[name]()
    encoding = LaplacianEncoding(7, is_weighted=is_weighted, dense_below=dense_below)
    values, vectors = nontrivial(laplacian(graph, is_weighted=is_weighted), graph)
    assert_spaces_of(encoding(graph), values, vectors)


def test_all_eigenvectors_of_a_graph():
    graph = GRAPHS["disconnected"]()
    values, vectors = nontrivial(laplacian(graph, is_weighted=True), graph)
    found = LaplacianEncoding(40, is_weighted=True)(graph)
    assert_spaces_of(found, values, vectors)
    assert (found != 0).any(0).sum() == graph.num_nodes - 3


def test_weak_ties_keep_their_eigenvector():
    """Two parts that almost nothing joins are one component, whose trivial vector is known."""
    parts = union(random_graph(9, 25, seed=1), random_graph(8, 22, seed=2))
    edges = [*parts.edge_index.T.tolist(), (0, 12)]
    graph = hand_made(17, edges, [*parts.edge_attr.flatten().tolist(), 1e-13])
    for dense_below in (DENSE, ITERATIVE):
        first = LaplacianEncoding(3, is_weighted=True, dense_below=dense_below)(graph)[:, 0]
        assert (first[:9].sign() == -first[9:].sign()[0]).all()
        degree = laplacian(graph, is_weighted=True)
        assert (degree @ first).norm() < 1e-9


def test_where_iterations_do_not_converge(monkeypatch):
    def fails(*args, **options):
        raise ArpackNoConvergence("no", np.zeros(0), np.zeros((0, 0)))

    monkeypatch.setattr(positional, "eigsh", fails)
    graph = GRAPHS["sparse"]()
    found, expected = (LaplacianEncoding(4, dense_below=n)(graph) for n in (ITERATIVE, DENSE))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dense_below", [DENSE, ITERATIVE])
@pytest.mark.parametrize(
    "make", [LaplacianEncoding, ReturnProbabilities], ids=["laplacian", "walks"]
)
def test_nothing_to_find(make, dense_below):
    for is_weighted in (False, True):
        encoding = make(3, is_weighted=is_weighted, dense_below=dense_below)
        for num_nodes in (1, 2, 9):
            found = encoding(hand_made(num_nodes, []))
            assert torch.equal(found, torch.zeros(num_nodes, 3, dtype=torch.float64))
        zeros = encoding(hand_made(3, [(0, 1), (1, 2)], [0.0, 0.0]))
        assert is_weighted == (zeros == 0).all().item()


def test_fewer_eigenvectors_than_asked_for():
    found = LaplacianEncoding(5)(hand_made(2, [(0, 1)]))
    assert_close(found[:, 0].abs(), torch.full((2,), 0.5, dtype=torch.float64).sqrt())
    assert (found[:, 1:] == 0).all()


# Stacks and batches.


def mlp(*widths: int) -> GraphTemplate:
    return template_from_spec(NetworkSpec.mlp(widths, activation=TANH))


def params_of(template: GraphTemplate, count: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, template.num_params, dtype=torch.float64, generator=generator)


ENCODINGS = {
    "laplacian": lambda **options: LaplacianEncoding(4, **options),
    "equivariant": lambda **options: LaplacianEncoding(4, is_equivariant=True, **options),
    "walks": lambda **options: ReturnProbabilities(5, **options),
}


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("name", ENCODINGS)
def test_stacks_and_mixed_batches_are_their_graphs(name, is_weighted, monkeypatch):
    monkeypatch.setattr("nn_graphs.graphs.positional_encoding.CORE_VALUES", 300)  # several parts
    encoding = ENCODINGS[name](is_weighted=is_weighted)
    stacks = [t.stack(params_of(t, 5)) for t in (mlp(2, 5, 4, 2), mlp(3, 9, 1), mlp(1, 1))]
    members = [graph for stack in stacks for graph in stack]
    alone = torch.cat([encoding(graph) for graph in members])
    assert_close(encoding(Batch.from_data_list(members)), alone, rtol=0, atol=1e-12)
    together = torch.cat([encoding(stack).flatten(0, 1) for stack in stacks])
    assert_close(together, alone, rtol=0, atol=1e-12)
    backwards = encoding(Batch.from_data_list(members[::-1]))
    sizes = [graph.num_nodes for graph in members[::-1]]
    assert_close(torch.cat(backwards.split(sizes)[::-1]), alone, rtol=0, atol=1e-12)


def test_threads_do_not_count(monkeypatch):
    monkeypatch.setattr("nn_graphs.graphs.positional_encoding.CORE_VALUES", 300)
    template = mlp(2, 5, 4, 2)
    stack, encoding = template.stack(params_of(template, 9)), LaplacianEncoding(4, is_weighted=True)
    alone = encoding(stack)
    torch.set_num_threads(2)  # put back by the fixture of this folder
    assert torch.equal(encoding(stack), alone)


def test_unweighted_ones_are_made_once(monkeypatch):
    encoding, template = LaplacianEncoding(3), mlp(2, 5, 2)
    stack, other = (template.stack(params_of(template, 4, seed=seed)) for seed in (0, 1))
    first, batch = encoding(stack), encoding(Batch.from_data_list([*stack]))
    monkeypatch.setattr(encoding, "_dense", None)
    assert torch.equal(encoding(other), first)
    assert torch.equal(encoding(Batch.from_data_list([*other][:2])), batch[:18])
    with pytest.raises(TypeError):
        encoding(mlp(2, 6, 2).stack(params_of(mlp(2, 6, 2), 1)))


def test_precision_and_gradients():
    template = mlp(2, 5, 2)
    stack = template.stack(params_of(template, 2).float().requires_grad_())
    found = LaplacianEncoding(3, is_weighted=True)(stack)
    assert found.dtype == torch.float32
    assert not found.requires_grad


# Signs and order.


def test_signs_are_drawn_for_each_graph():
    template = mlp(2, 5, 4, 2)
    stack, encoding = template.stack(params_of(template, 6)), LaplacianEncoding(4)

    def drawn(graphs, seed: int) -> Tensor:
        return encoding(graphs, generator=torch.Generator().manual_seed(seed))

    found = drawn(stack, 1)
    signs = (found / encoding(stack)).nanmean(1)
    assert_close(signs.abs(), torch.ones_like(signs))
    assert len(signs.unique(dim=0)) > 2
    assert torch.equal(drawn(stack, 1), found)
    assert not torch.equal(drawn(stack, 2), found)
    assert torch.equal(drawn(Batch.from_data_list([*stack]), 1), found.flatten(0, 1))
    walks = ReturnProbabilities(4)
    assert torch.equal(walks(stack, generator=torch.Generator()), walks(stack))


def permuted(encoding, template: GraphTemplate) -> tuple[Tensor, Tensor]:
    """Encodings after a permutation of neurons, and those before in the new order."""
    params = params_of(template, 3)
    generator = torch.Generator().manual_seed(0)
    element = sample_symmetries(template, 3, kinds=("permutation",), generator=generator)
    moved = template.stack(apply_symmetries(template, params, element))
    plain = template.stack(params)
    numbers = torch.arange(template.num_nodes, dtype=torch.float64).expand(3, -1)
    numbered = plain.with_features(numbers.unsqueeze(-1), plain.edge_features)
    order = apply_to_graphs(template, numbered, element).node_features.long()
    return encoding(moved), encoding(plain).gather(1, order.expand(-1, -1, encoding.num_features))


@pytest.mark.parametrize("widths", [(2, 5, 4, 2), (1, 2, 1), (3, 2, 2, 1)])
def test_neurons_in_another_order(widths):
    template = mlp(*widths)
    for is_weighted in (False, True):
        options = {"is_weighted": is_weighted}
        for encoding in (
            LaplacianEncoding(6, is_equivariant=True, **options),
            ReturnProbabilities(5, **options),
        ):
            assert_close(*permuted(encoding, template), rtol=0, atol=1e-9)


def test_as_published_the_order_of_neurons_counts():
    """Neurons of a layer are alike in an unweighted graph, and yet are given different vectors."""
    after, before = permuted(LaplacianEncoding(6), mlp(2, 5, 4, 2))
    assert (after - before).abs().max() > 0.1
    after, before = permuted(RandomFeatures(6), mlp(2, 5, 4, 2))
    assert (after - before).abs().max() > 0.1


def test_what_an_equivariant_encoding_leaves_out():
    graph = GRAPHS["twins"]()  # every eigenvalue three times
    assert (LaplacianEncoding(6, is_equivariant=True)(graph) == 0).all()
    path = GRAPHS["path"]()
    whole, kept = (LaplacianEncoding(6, is_equivariant=flag)(path) for flag in (False, True))
    assert torch.equal(whole, kept)  # layers tell the ends apart


# Other encodings.


@pytest.mark.parametrize("name", GRAPHS)
def test_return_probabilities_are_torch_geometrics(name):
    graph = GRAPHS[name]()
    both = torch.cat([graph.edge_index, graph.edge_index.flip(0)], dim=1)
    plain = NeuralGraph(edge_index=both, num_nodes=graph.num_nodes)
    expected = AddRandomWalkPE(6, attr_name="walks")(plain).walks.double()
    for dense_below in (DENSE, ITERATIVE):
        found = ReturnProbabilities(6, dense_below=dense_below)(graph)
        assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", GRAPHS)
def test_weighted_return_probabilities_by_powers(name):
    graph = GRAPHS[name]()
    adjacency = torch.from_numpy(nx.to_numpy_array(as_networkx(graph, is_weighted=True)))
    degree = adjacency.sum(1)
    step = adjacency / torch.where(degree > 0, degree, 1.0).unsqueeze(1)
    expected = torch.stack(
        [torch.linalg.matrix_power(step, power).diagonal() for power in range(1, 6)], dim=-1
    )
    for dense_below in (DENSE, ITERATIVE):
        encoding = ReturnProbabilities(5, is_weighted=True, dense_below=dense_below)
        assert_close(encoding(graph), expected, rtol=1e-9, atol=1e-12)


def test_large_matrices_are_multiplied_in_columns(monkeypatch):
    graph = GRAPHS["dense"]()
    expected = ReturnProbabilities(5)(graph)
    monkeypatch.setattr(positional, "NUM_COLUMNS", 7)
    assert_close(ReturnProbabilities(5, dense_below=ITERATIVE)(graph), expected)


def test_random_features():
    large, small = (RandomFeatures(50)(hand_made(count, [])) for count in (400, 30))
    assert torch.equal(small, large[:30])
    assert not torch.equal(RandomFeatures(50, seed=1)(hand_made(30, [])), small)
    assert abs(large.mean()) < 5 / 20000**0.5
    assert abs(large.square().mean() - 1) < 5 * (2 / 20000) ** 0.5
    assert abs((large[:-1] * large[1:]).mean()) < 5 / 20000**0.5
    assert abs((large[:, :-1] * large[:, 1:]).mean()) < 5 / 20000**0.5


# Bad input.


def test_weights_that_are_not_finite(raises_saying):
    graph = hand_made(3, [(0, 1), (1, 2)], [1.0, float("nan")])
    with raises_saying(asked="1 weighted graphs", found="1 weights are not finite", do="diverged"):
        LaplacianEncoding(2, is_weighted=True)(graph)
    assert LaplacianEncoding(2)(graph).isfinite().all()


def test_no_features(raises_saying):
    with raises_saying(asked="LaplacianEncoding", found="num_features: 0 is", do="Correct"):
        LaplacianEncoding(0)


@pytest.mark.gpu
def test_gpu_equals_cpu():
    template = mlp(2, 5, 4, 2)
    stack = template.stack(params_of(template, 3))
    for make in ENCODINGS.values():
        encoding = make(is_weighted=True)
        assert_close(encoding(stack.to("cuda")).cpu(), encoding(stack), rtol=0, atol=1e-9)
