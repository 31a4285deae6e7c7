"""Normalised values and positions."""

import math

import torch
from torch.testing import assert_close

from nn_graphs.encoders.equivariant.inputs import NormalisedValues, PositionEncoding
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from tests.encoders.cases import inr, networks, skipping


def test_values_are_normalised_by_the_statistics_of_their_layer():
    template = inr(2, 5, 4, 2)
    params, dims = 3 + 2 * networks(template, 6), GraphDims.of([template])
    statistics = WeightStatistics.measure(dims, [(template, params)])
    values = NormalisedValues(template, statistics).double()
    graphs = template.stack(params)
    mean, std = statistics.per_parameter(template, dims)
    expected = template.stack((params - mean) / std)
    nodes, edges = values(graphs)
    assert_close(nodes[:, 2:], expected.node_features[:, 2:])
    assert_close(edges, expected.edge_features)
    assert len(values.state_dict()) == 4


def test_without_statistics_values_stay():
    template = skipping()
    graphs = template.stack(networks(template, 3))
    nodes, edges = NormalisedValues(template, None)(graphs)
    assert torch.equal(nodes, graphs.node_features)
    assert torch.equal(edges, graphs.edge_features)


def test_positions_of_inputs_and_outputs():
    """Of 3 inputs the second lies at 0; hidden neurons have no position."""
    template = inr(3, 4, 2)
    encoding = PositionEncoding(template, max_frequency=6.0, num_bands=3)
    nodes, edges = encoding(torch.ones(2, 9, 1), torch.ones(2, template.num_edges, 1))
    assert nodes.shape == (2, 9, 1 + 7)
    assert (nodes[..., 0] == 1).all()
    frequencies = torch.tensor([1.0, 2.0, 3.0])
    zero = torch.tensor([0.0, 0, 0, 1, 1, 1, 0])
    last = torch.cat([(math.pi * frequencies).sin(), (math.pi * frequencies).cos(), torch.ones(1)])
    assert_close(nodes[0, 1, 1:], zero)
    assert not nodes[:, 3:7, 1:].any()
    assert_close(nodes[0, 8, 1:], last)
    weights = template.parameters
    first = edges[:, : weights.slot("layers.0.weight").size].unflatten(1, (4, 3))
    second = edges[:, weights.slot("layers.0.weight").size :].unflatten(1, (2, 4))
    for target in range(4):
        assert_close(first[0, target, 1, 1:], zero)
        assert_close(second[0, 1, target, 1:], last)


def test_a_weight_from_input_to_output_has_both_positions():
    template = inr(2, 2)
    encoding = PositionEncoding(template, max_frequency=10.0, num_bands=6)
    nodes, edges = encoding(torch.zeros(1, 4, 1), torch.zeros(1, 4, 1))
    assert_close(
        edges[0, 1], nodes[0, 1] + nodes[0, 2]
    )  # from the second input to the first output
