"""Features of networks by hand, in the order of the table, for one architecture and several."""

import numpy as np
import pandas as pd
import pytest
import torch

from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.structure_performance import (
    BASELINES,
    epoch_index,
    graph_measures,
    permuted_zoo,
    statnn_statistics,
    weight_norms,
)
from nn_graphs.zoos.zoo import Zoo
from tests.structure_performance.trajectories import CNN, DEEP, FLAT, trajectory_zoo

CHAIN = NetworkSpec.mlp((1, 1, 1), activation=Activation("relu"))
MIX = (FLAT, DEEP, CNN)


def chain_zoo(*params: list[float]) -> Zoo:
    table = pd.DataFrame({"run": 0, "epoch": range(len(params))})
    return Zoo.single(CHAIN, torch.tensor(params), table)


def test_epochs_are_those_of_the_table():
    zoo = trajectory_zoo()
    np.testing.assert_array_equal(epoch_index(zoo)[:, 0], zoo.table["epoch"])


def test_weight_norms_of_a_chain():
    zoo = chain_zoo([3.0, -1.0, -4.0, 2.0])  # weight and bias, weight and bias
    np.testing.assert_allclose(weight_norms(zoo), [[3, 4, 1, 2]])


def test_weight_norms_of_a_mix_are_root_mean_squares():
    zoo = trajectory_zoo(num_runs=6, num_epochs=3, specs=(FLAT, DEEP))
    norms = weight_norms(zoo)
    assert norms.shape == (18, 6)
    for number in (0, 5, 11):
        spec = zoo.specs[zoo.table["spec"][number]]
        params = zoo.take([number])[0]
        first = params[: 2 * spec.layers[0].width]
        assert norms[number, 0] == pytest.approx(first.square().mean().sqrt().item(), rel=1e-5)
    is_flat = zoo.table["spec"].to_numpy() == 0
    assert (np.isnan(norms).any(axis=1) == is_flat).all()


@pytest.mark.parametrize("name", [*BASELINES])
def test_rows_follow_the_table(name):
    zoo = trajectory_zoo(num_runs=6, num_epochs=3, specs=MIX)
    features = BASELINES[name].features(zoo)
    order = np.random.default_rng(1).permutation(len(zoo))
    again = BASELINES[name].features(zoo.select(order))
    np.testing.assert_allclose(again, features[order], rtol=1e-5, atol=1e-6)
    assert len(np.unique(features[:, -1].round(6))) > 1 or name == "statnn_statistics"


@pytest.mark.parametrize("features", [weight_norms, statnn_statistics, graph_measures])
def test_neurons_in_another_order_have_the_same_features(features):
    zoo = trajectory_zoo(num_runs=6, num_epochs=3, specs=MIX)
    moved = permuted_zoo(zoo, seed=0)
    assert not torch.equal(moved.params[0], zoo.params[0])
    np.testing.assert_allclose(features(moved), features(zoo), rtol=1e-4, atol=1e-5)


def test_graph_measures_of_a_chain():
    """Neurons in a row with weights 2 and 4: distances are 1/2, 1/4 and their sum."""
    found = graph_measures(chain_zoo([2.0, 9.0, -4.0, 9.0]))[0]
    assert found[:2].tolist() == [3, 2]
    strength = np.array([2, 6, 4])
    np.testing.assert_allclose(found[2:5], [strength.mean(), strength.std(), 6])
    assert found[5] == pytest.approx((2 + 4 + 4 / 3) / 3)
    laplacian = np.eye(3)
    for (i, j), weight in {(0, 1): 2, (1, 2): 4}.items():
        laplacian[i, j] = laplacian[j, i] = -weight / np.sqrt(strength[i] * strength[j])
    assert found[6] == pytest.approx(np.linalg.eigvalsh(laplacian)[1])


def test_graph_measures_where_no_weight_is_left():
    found = graph_measures(chain_zoo([0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 3.0, 1.0]))
    np.testing.assert_allclose(found[0], [3, 2, 0, 0, 0, 0, 0])
    assert found[1, 5] == pytest.approx(1.0)  # one pair of three, at a distance of 1/3
    assert np.isfinite(found).all()


def test_what_has_no_epochs(raises_saying, tiny_zoo):
    with raises_saying(asked="epochs of 64 networks", found="columns", do="trajectories"):
        epoch_index(tiny_zoo)


@pytest.mark.parametrize("features", [weight_norms, statnn_statistics, graph_measures])
def test_diverged_networks(features, raises_saying):
    zoo = chain_zoo([1.0, 0.0, 1.0, 0.0], [1.0, float("nan"), 1.0, 0.0])
    with raises_saying(asked="2 networks", found="the first is number 1", do="Drop them"):
        features(zoo)
