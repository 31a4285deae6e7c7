"""The encoder sees neither the order of nodes nor other graphs, and learns from structure."""

import numpy as np
import pytest
import torch

from nn_graphs.sparse_structure import DAGEncoder, DAGRegressor, sample_structures
from nn_graphs.sparse_structure.dag_encoder import NUM_NODE_FEATURES, node_features
from nn_graphs.structure import LayeredGraph

pytestmark = pytest.mark.usefixtures("one_thread")


def graphs(number: int, seed: int = 0) -> list[LayeredGraph]:
    return [one.make() for one in sample_structures(number, num_nodes=(12, 20), seed=seed)]


def permuted(graph: LayeredGraph, seed: int) -> LayeredGraph:
    names = np.random.default_rng(seed).permutation(graph.num_nodes)
    return LayeredGraph.from_edges(names[graph.sources], names[graph.targets], graph.num_nodes)


def turned(graph: LayeredGraph) -> LayeredGraph:
    return LayeredGraph.from_edges(graph.targets, graph.sources, graph.num_nodes)


@pytest.fixture(scope="module")
def fitted() -> tuple[DAGRegressor, list[LayeredGraph]]:
    seen = graphs(24)
    labels = np.array([graph.num_layers for graph in seen], float)
    return DAGRegressor(dim=8, num_epochs=2).fit(seen, labels), seen


def test_predictions_do_not_depend_on_the_order_of_nodes(fitted):
    regressor, seen = fitted
    before = regressor.predict(seen)
    after = regressor.predict([permuted(graph, n) for n, graph in enumerate(seen)])
    np.testing.assert_allclose(after, before, rtol=1e-4)


def test_predictions_depend_on_the_direction_of_edges(fitted):
    regressor, seen = fitted
    difference = regressor.predict(seen) - regressor.predict([turned(graph) for graph in seen])
    assert np.abs(difference).max() > 0.01


def test_a_graph_alone_is_as_in_a_batch(fitted):
    regressor, seen = fitted
    alone = np.concatenate([regressor.predict([graph]) for graph in seen])
    np.testing.assert_allclose(alone, regressor.predict(seen), rtol=1e-4)


def test_padding_passes_no_gradient():
    torch.manual_seed(0)
    encoder = DAGEncoder(NUM_NODE_FEATURES, dim=8, dropout=0.0)
    features = torch.randn(2, 5, NUM_NODE_FEATURES, requires_grad=True)
    adjacency = torch.zeros(2, 5, 5)
    adjacency[:, 0, 1] = adjacency[0, 1, 4] = 1
    is_node = torch.tensor([[True] * 5, [True, True, True, False, False]])
    encoder(features, adjacency, is_node)[1].backward()
    assert features.grad[1, 3:].abs().max() == 0
    assert features.grad[1, :3].abs().min() > 0
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_features_of_nodes():
    found = node_features(LayeredGraph.from_edges([0, 0, 1], [1, 2, 2], 3))
    assert found.shape == (3, NUM_NODE_FEATURES)
    np.testing.assert_allclose(found[:, 0], np.log1p([0, 1, 2]))
    np.testing.assert_allclose(found[:, 4:7], [[0, 2, 0], [1, 1, 0.5], [2, 0, 1]])
    np.testing.assert_allclose(found[:, 7], np.log([1, 1, 2]))
    np.testing.assert_allclose(found[:, 8], np.log([2, 1, 1]))


def test_it_learns_from_structure():
    seen, unseen = graphs(120), graphs(40, seed=1)
    labels, wanted = (
        np.array(
            [(graph.layers[graph.targets] - graph.layers[graph.sources]).mean() for graph in g]
        )
        for g in (seen, unseen)
    )
    predicted = DAGRegressor(num_epochs=30).fit(seen, labels).predict(unseen)
    assert np.corrcoef(predicted, wanted)[0, 1] > 0.8


def test_a_seed_gives_the_same_predictions():
    seen = graphs(12)
    labels = np.arange(12.0)
    first, again = (DAGRegressor(dim=8, num_epochs=2).fit(seen, labels) for _ in range(2))
    assert np.array_equal(first.predict(seen), again.predict(seen))
