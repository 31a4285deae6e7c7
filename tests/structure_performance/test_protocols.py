"""Both protocols: who is on which side, and what they refuse."""

import numpy as np
import pytest

from nn_graphs.structure_performance import PROTOCOLS, divide
from tests.structure_performance.trajectories import unchecked

RUNS = np.repeat(np.array(["d", "a", "c", "b", "e", "f", "g", "h", "i", "j"]), 30)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_network_is_on_one_side(protocol):
    division = divide(RUNS, protocol, seed=3)
    assert sorted([*division.train, *division.val]) == list(range(len(RUNS)))
    assert len(division.val) == 60
    for side in (division.train, division.val):
        assert (np.diff(side) > 0).all()


def test_runs_lie_on_both_sides_or_on_one():
    sides = [divide(RUNS, protocol, seed=0) for protocol in ("random", "run_disjoint")]
    shared = [set(RUNS[side.train]) & set(RUNS[side.val]) for side in sides]
    assert [len(names) for names in shared] == [10, 0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_seeds_divide_otherwise_and_the_same_again(protocol):
    vals = [divide(RUNS, protocol, seed=seed).val.tolist() for seed in (0, 1, 0)]
    assert vals[0] == vals[2] != vals[1]


def test_run_disjoint_does_not_depend_on_the_order_of_networks():
    order = np.random.default_rng(0).permutation(len(RUNS))
    held = [set(runs[divide(runs, "run_disjoint", seed=0).val]) for runs in (RUNS, RUNS[order])]
    assert held[0] == held[1]


def test_fewer_runs_than_needed(raises_saying):
    runs = np.repeat([0, 1], 20)
    with raises_saying(asked="2 runs", found="1 are left to fit to; 2 are needed", do="more runs"):
        divide(runs, "run_disjoint", seed=0)
    assert len(divide(runs, "random", seed=0).val) == 8
    assert len(divide(np.repeat([0, 1, 2], 20), "run_disjoint", seed=0).val) == 20


def test_too_few_networks(raises_saying):
    with raises_saying(asked="divide 9 networks", found="needs 10", do="more epochs"):
        divide(np.arange(9), "random", seed=0)


def test_an_unknown_protocol(raises_saying):
    with raises_saying(asked="'published'", found="no 'published'", do="random, run_disjoint"):
        unchecked(divide)(RUNS, "published", seed=0)
