"""Predictors find what is in the properties, and nothing where there is nothing."""

import numpy as np
import pytest

from nn_graphs.sparse_structure import predict_accuracy, property_table, sample_structures

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def sampled():
    graphs = [one.make() for one in sample_structures(150, num_nodes=(12, 30))]
    return graphs, property_table(graphs)


def test_what_properties_tell_is_found(sampled):
    graphs, properties = sampled
    accuracies = 60 - 0.5 * properties["num_layers"].to_numpy() + properties["mean_span"].to_numpy()
    for name, least in (("linear", 0.999), ("quadratic", 0.9), ("boosted_trees", 0.8)):
        found = predict_accuracy(name, graphs, properties, accuracies)
        assert found.scores.r2 > least
        assert found.r2_fitted >= found.scores.r2
        assert len(found.predicted) == len(graphs)
    spans = properties["share_of_skips"].to_numpy()
    by_size = predict_accuracy("size_linear", graphs, properties, spans)
    by_all = predict_accuracy("linear", graphs, properties, spans)
    assert by_size.scores.r2 < by_all.scores.r2


def test_chance_is_not_predicted(sampled):
    """Fitted, noise is explained; on structures that were not seen it is not."""
    graphs, properties = sampled
    noise = np.random.default_rng(0).normal(size=len(graphs))
    found = predict_accuracy("boosted_trees", graphs, properties, noise)
    assert found.r2_fitted > 0.5
    assert found.scores.r2 < 0.1


def test_the_graph_encoder_stands_beside(sampled):
    graphs, properties = sampled
    accuracies = properties["num_sources"].to_numpy()
    found = predict_accuracy("graph_encoder", graphs, properties, accuracies, num_folds=2)
    assert found.scores.r2 > 0.8


@pytest.mark.parametrize(
    ("name", "rows", "folds", "found"),
    [
        ("forest", 10, 5, "there is no 'forest'"),
        ("linear", 9, 5, "9 rows of properties"),
        ("linear", 10, 6, "10 rows"),
        ("linear", 10, 1, "10 rows"),
    ],
)
def test_what_cannot_be_predicted(raises_saying, sampled, name, rows, folds, found):
    graphs, properties = sampled
    with raises_saying(asked="predict accuracies", found=found, do=""):
        predict_accuracy(name, graphs[:10], properties[:rows], np.arange(10.0), num_folds=folds)


def test_equal_accuracies_are_told(raises_saying, sampled):
    graphs, properties = sampled
    with raises_saying(asked="correlate", found="all have the performance 3", do="harder task"):
        predict_accuracy("linear", graphs[:10], properties[:10], np.full(10, 3.0))
