"""Fingerprints: weights know a run until its neurons change places."""

import numpy as np
import pytest
import torch

from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.structure_performance import (
    flat_weights,
    permuted_zoo,
    recall_at_one,
    statnn_statistics,
)
from tests.structure_performance.trajectories import CNN, DEEP, FLAT, trajectory_zoo, unchecked


def places(zoo) -> tuple[np.ndarray, np.ndarray]:
    return zoo.table["run"].to_numpy(), zoo.table["epoch"].to_numpy()


@pytest.mark.parametrize("specs", [(FLAT,), (FLAT, DEEP)])
def test_permuted_networks_compute_the_same(specs):
    zoo = trajectory_zoo(specs=specs)
    moved = permuted_zoo(zoo, seed=0)
    inputs = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    for kind, spec in enumerate(specs):
        numbers = np.flatnonzero(zoo.table["spec"] == kind)
        both = [stacked_forward(spec, each.take(numbers), inputs) for each in (zoo, moved)]
        torch.testing.assert_close(*both)
        assert not torch.equal(zoo.take(numbers), moved.take(numbers))


def test_permutations_are_those_of_the_seed():
    zoo = trajectory_zoo(specs=(FLAT, DEEP, CNN))
    first, again, other = (permuted_zoo(zoo, seed=seed) for seed in (0, 0, 1))
    for kind in range(3):
        assert torch.equal(first.params[kind], again.params[kind])
        assert not torch.equal(first.params[kind], other.params[kind])


def test_weights_know_a_run_but_not_after_a_permutation():
    zoo = trajectory_zoo(num_runs=8, specs=(FLAT, DEEP))
    weights, moved = flat_weights(zoo), flat_weights(permuted_zoo(zoo, seed=0))
    assert recall_at_one(weights, weights, *places(zoo)) == 1
    assert recall_at_one(moved, weights, *places(zoo)) < 0.6


def test_an_invariant_embedding_knows_it_after_a_permutation_too():
    zoo = trajectory_zoo(num_runs=8, specs=(FLAT, DEEP))
    found = [
        np.nan_to_num(statnn_statistics(each), nan=9.0) for each in (zoo, permuted_zoo(zoo, seed=0))
    ]
    plain = recall_at_one(found[0], found[0], *places(zoo))
    moved = recall_at_one(found[1], found[0], *places(zoo))
    assert plain > 0.9
    assert moved == pytest.approx(plain)


# By hand.

RUNS, EPOCHS = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])


def test_recall_by_hand():
    line = np.array([[0.0], [1.0], [1.5], [9.0]])  # neighbours: 1, 2, 1, 2
    assert recall_at_one(line, line, RUNS, EPOCHS) == 0.5


def test_a_network_is_not_found_by_itself():
    line = np.array([[0.0], [9.0], [1.0], [9.5]])
    assert recall_at_one(line, line, RUNS, EPOCHS) == 0


def test_neighbours_of_the_own_run_count_from_a_gap_on():
    """With a gap of two epochs, a run's nearest is nearer than what another run has there."""
    runs, epochs = np.repeat([0, 1], 3), np.tile([0, 1, 2], 2)
    line = np.array([[0.0], [1.0], [2.0], [3.5], [4.5], [5.5]])
    assert recall_at_one(line, line, runs, epochs) == 1
    assert recall_at_one(line, line, runs, epochs, min_gap=2) == 0.5  # 0 and 5 find 2 and 3
    far = np.where(runs == 0, 0, 100)[:, None] + line
    assert recall_at_one(far, far, runs, epochs, min_gap=2) == 1


def test_ties_count_as_shares():
    line = np.array([[0.0], [1.0], [-1.0], [50.0]])  # of 0, both 1 and 2 are neighbours
    found = recall_at_one(line, line, RUNS, EPOCHS)
    assert found == pytest.approx((0.5 + 1 + 0 + 0) / 4)


def test_other_architectures_are_no_neighbours():
    line = np.array([[0.0, np.nan], [np.nan, 0.1], [0.2, np.nan], [np.nan, 0.3]])
    assert recall_at_one(line, line, np.array([0, 1, 0, 1]), np.array([0, 0, 5, 5])) == 1


def test_blocks_of_queries(monkeypatch):
    zoo = trajectory_zoo()
    features = statnn_statistics(zoo)
    expected = recall_at_one(features, features, *places(zoo))
    monkeypatch.setattr("nn_graphs.structure_performance.run_recall.BLOCK_ROWS", 7)
    assert recall_at_one(features, features, *places(zoo)) == pytest.approx(expected)


def test_what_has_no_recall(raises_saying):
    line = np.arange(4.0)[:, None]
    with raises_saying(asked="3 epochs apart", found="no run has two such", do="smaller gap"):
        recall_at_one(line, line, RUNS, EPOCHS, min_gap=3)
    with raises_saying(asked="0 epochs apart", found="found by itself", do="1 or more"):
        recall_at_one(line, line, RUNS, EPOCHS, min_gap=0)
    with raises_saying(asked="4 networks among 4", found="[4, 1] and [4, 2]", do="same networks"):
        unchecked(recall_at_one)(line, np.ones((4, 2)), RUNS, EPOCHS)
