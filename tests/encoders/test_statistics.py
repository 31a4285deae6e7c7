"""Statistics of training networks: one mean and deviation per layer."""

import torch
from torch.testing import assert_close

from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from tests.encoders.cases import formula, inr, linear_map, networks, plain_features, skipping

TEMPLATE = inr(2, 5, 4, 2)
DIMS = GraphDims.of([TEMPLATE])


def test_sizes_are_those_of_the_largest_graphs():
    dims = GraphDims.of([inr(2, 9, 1), inr(3, 2, 2, 2, 1), inr(1, 4)])
    assert dims == GraphDims(num_inputs=3, num_hidden_layers=3, num_outputs=4, num_activations=8)
    assert dims.num_layers == 5
    assert dims.num_positions == 10


def test_rows_by_layer_and_by_position():
    dims = GraphDims.of([TEMPLATE])
    structure = TEMPLATE.structure()
    assert dims.layer_row(structure).tolist() == [0] * 2 + [1] * 5 + [2] * 4 + [3] * 2
    assert dims.position_row(structure).tolist() == [0, 1] + [2] * 5 + [3] * 4 + [4, 5]


def test_rows_of_smaller_graphs_count_from_the_front_and_outputs_are_last():
    dims = GraphDims(num_inputs=3, num_hidden_layers=4, num_outputs=2)
    structure = inr(2, 3, 1).structure()
    assert dims.layer_row(structure).tolist() == [0, 0, 1, 1, 1, 5]
    assert dims.position_row(structure).tolist() == [0, 1, 3, 3, 3, 7]
    assert dims.layer_row(linear_map().structure()).tolist() == [0, 0, 5, 5]


def test_measured_values_are_those_of_each_layer():
    params = networks(TEMPLATE, 20)
    statistics = WeightStatistics.measure(DIMS, [(TEMPLATE, params)])
    tensors = TEMPLATE.parameters.unflatten(params)
    for layer in range(3):
        weight, bias = tensors[f"layers.{layer}.weight"], tensors[f"layers.{layer}.bias"]
        for name, values in (("weight", weight), ("bias", bias)):
            assert_close(getattr(statistics, f"{name}_mean")[layer + 1], values.mean().float())
            deviation = values.std(unbiased=False).float()
            assert_close(getattr(statistics, f"{name}_std")[layer + 1], deviation)
    assert statistics.weight_mean[0] == statistics.bias_mean[0] == 0
    assert statistics.weight_std[0] == statistics.bias_std[0] == 1


def test_several_architectures_share_their_layers():
    other = inr(2, 3, 2)
    populations = [(TEMPLATE, networks(TEMPLATE, 20)), (other, networks(other, 11))]
    statistics = WeightStatistics.measure(DIMS, populations)
    first = torch.cat(
        [t.parameters.unflatten(p)["layers.0.weight"].flatten() for t, p in populations]
    )
    last = torch.cat(
        [
            TEMPLATE.parameters.unflatten(populations[0][1])["layers.2.weight"].flatten(),
            other.parameters.unflatten(populations[1][1])["layers.1.weight"].flatten(),
        ]
    )
    assert_close(statistics.weight_mean[1], first.mean().float())
    assert_close(statistics.weight_std[3], last.std(unbiased=False).float())


def test_normalised_training_networks_have_mean_0_and_deviation_1_in_each_layer():
    template = skipping()
    dims = GraphDims.of([template])
    params = 5 + 3 * networks(template, 30) + formula((30, template.num_params), 0)
    stack, structure = template.stack(params), template.structure()
    features = plain_features(dims, WeightStatistics.measure(dims, [(template, params)])).double()
    weights, biases = features.normalised_weights(stack), features._normalised_biases(stack)
    rows = dims.layer_row(structure)
    is_weight = structure.edge_kind_id == 0
    for layer in range(1, dims.num_layers):
        into = is_weight & (rows[structure.edge_index[1]] == layer)
        own = structure.has_bias & (rows == layer)
        for values in (weights[:, into], biases[:, own]):
            if values.numel():  # one layer has no biases
                assert abs(values.mean()) < 1e-5
                assert abs(values.std(unbiased=False) - 1) < 1e-5


def test_constant_edges_and_missing_biases_are_left_alone():
    template = skipping()
    dims, params = GraphDims.of([template]), 5 + 3 * networks(template, 30)
    stack, structure = template.stack(params), template.structure()
    features = plain_features(dims, WeightStatistics.measure(dims, [(template, params)]))
    is_constant = structure.edge_kind_id != 0
    assert is_constant.any()
    assert not structure.has_bias[:2].any()
    assert (features.normalised_weights(stack)[:, is_constant] == 1).all()
    assert (features._normalised_biases(stack)[:, ~structure.has_bias] == 0).all()


def test_a_layer_of_equal_values_is_only_centred():
    params = networks(TEMPLATE, 7)
    bias = TEMPLATE.parameters.view(params, TEMPLATE.parameters.slot("layers.1.bias"))
    bias.fill_(0.1)  # squares of 0.1 add up with rounding
    statistics = WeightStatistics.measure(DIMS, [(TEMPLATE, params)])
    assert_close(statistics.bias_mean[2], torch.tensor(0.1))
    assert statistics.bias_std[2] == 1


def test_identity_leaves_weights_as_they_are():
    stack = TEMPLATE.stack(networks(TEMPLATE, 3))
    features = plain_features(DIMS, WeightStatistics.identity(DIMS))
    assert torch.equal(features.normalised_weights(stack), stack.edge_features)
    assert torch.equal(features._normalised_biases(stack), stack.node_features)


def test_values_of_every_parameter():
    statistics = WeightStatistics.measure(DIMS, [(TEMPLATE, networks(TEMPLATE, 9))])
    mean, std = statistics.per_parameter(TEMPLATE, DIMS)
    means, stds = TEMPLATE.parameters.unflatten(mean), TEMPLATE.parameters.unflatten(std)
    for layer in range(3):
        assert (means[f"layers.{layer}.weight"] == statistics.weight_mean[layer + 1]).all()
        assert (stds[f"layers.{layer}.bias"] == statistics.bias_std[layer + 1]).all()
