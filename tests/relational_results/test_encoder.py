"""The graph network sees graphs, not the order of their nodes, and learns what depends on them."""

import networkx as nx
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import r2_score

from nn_graphs.relational_results import GraphRegressor, mean_errors, predict_errors
from nn_graphs.relational_results.encoder import RelationalGraphEncoder, node_measures
from nn_graphs.structure import networkx_graph, ws_flex_graphs
from tests.relational_results.tables import make_runs

QUICK = {"dim": 8, "num_layers": 1, "num_epochs": 25, "batch_size": 16, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def graphs():
    generator = np.random.default_rng(0)
    sparsity, p = generator.uniform(0.3, 0.9, 120), generator.uniform(0, 1, 120)
    return ws_flex_graphs(12, sparsity, p, np.arange(120))


@pytest.fixture(scope="module")
def fitted(graphs):
    return GraphRegressor(**QUICK).fit(graphs[:90], triangles(graphs[:90]))


def triangles(graphs):
    counts = graphs.astype(float)
    return np.trace(counts @ counts @ counts, axis1=1, axis2=2) / 6


def test_it_learns_from_some_graphs_what_holds_for_others(graphs, fitted):
    assert r2_score(triangles(graphs[90:]), fitted.predict(graphs[90:])) > 0.95


def test_predictions_do_not_depend_on_the_order_of_nodes(graphs, fitted):
    order = np.random.default_rng(1).permutation(12)
    moved = graphs[:, order][:, :, order]
    assert not np.array_equal(moved, graphs)
    np.testing.assert_allclose(fitted.predict(moved), fitted.predict(graphs), rtol=1e-5)


def test_graphs_of_a_batch_do_not_see_each_other(graphs, fitted):
    together = fitted.predict(graphs)
    alone = np.concatenate([fitted.predict(graphs[i : i + 1]) for i in (0, 40, 119)])
    np.testing.assert_allclose(alone, together[[0, 40, 119]], rtol=1e-5)


def test_messages_pass_along_edges():
    """With measures that are zero for all nodes but one, edges alone tell graphs apart."""
    torch.manual_seed(0)
    encoder = RelationalGraphEncoder(1, dim=4, num_layers=1, dropout=0.0).double().eval()
    path, star = (torch.zeros(1, 4, 4, dtype=torch.double) for _ in range(2))
    for graph, edges in ((path, [(0, 1), (1, 2), (2, 3)]), (star, [(0, 1), (0, 2), (0, 3)])):
        for one, other in edges:
            graph[0, one, other] = graph[0, other, one] = 1
    measures = torch.zeros(1, 4, 1, dtype=torch.double)
    measures[0, 0] = 1
    assert not torch.allclose(encoder(measures, path), encoder(measures, star))


def test_the_seed_decides_and_nothing_outside_changes(graphs):
    regressor = GraphRegressor(**{**QUICK, "num_epochs": 1})
    labels = triangles(graphs)
    state = torch.random.get_rng_state()
    first = regressor.fit(graphs, labels).predict(graphs)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(clone(regressor).fit(graphs, labels).predict(graphs), first)
    other = clone(regressor).set_params(seed=1).fit(graphs, labels).predict(graphs)
    assert not np.allclose(other, first)


def test_gradients_reach_every_parameter(graphs):
    encoder = RelationalGraphEncoder(5, dim=8, num_layers=2, dropout=0.0)
    inputs = torch.from_numpy(node_measures(graphs)).float(), torch.from_numpy(graphs).float()
    encoder(*inputs).square().sum().backward()
    assert all(param.grad.abs().sum() > 0 for param in encoder.parameters())


def test_measures_of_nodes(graphs):
    graph = networkx_graph(graphs[3])
    steps = dict(nx.all_pairs_shortest_path_length(graph))
    between, clustering = nx.betweenness_centrality(graph), nx.clustering(graph)
    expected = [
        [
            graph.degree(node) / 12,
            clustering[node],
            sum(steps[node].values()) / 11,
            max(steps[node].values()),
            between[node],
        ]
        for node in range(12)
    ]
    np.testing.assert_allclose(node_measures(graphs)[3], expected)


def test_errors_are_predicted_from_graphs(graphs, raises_saying):
    labels = triangles(graphs)
    errors = mean_errors(make_runs({i: [float(label)] for i, label in enumerate(labels)}))
    regressor = GraphRegressor(**QUICK)
    found = predict_errors(errors[30:], regressor, adjacency=graphs, num_folds=3)
    assert found.r2 > 0.9
    assert found.predicted.index.tolist() == [*range(30, 120)]
    with raises_saying(asked="from 100 graphs", found="a graph 119", do="order of graph_id"):
        predict_errors(errors, regressor, adjacency=graphs[:100])
