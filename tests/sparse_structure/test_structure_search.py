"""The space keeps its bound, changes are small, and evolution finds what chance does not."""

import numpy as np
import pytest

from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.sparse_structure import (
    Candidate,
    SearchSpace,
    best_so_far,
    search_structures,
)
from nn_graphs.sparse_structure.structure_search import CHANGES, survivors
from nn_graphs.structure import LayeredGraph

SPACE = SearchSpace(12, 60, in_features=8, out_features=3)


def test_weights_are_those_of_the_network():
    generator = np.random.default_rng(0)
    for _ in range(30):
        structure = SPACE.draw(generator)
        network = DAGNetwork(structure, in_features=8, out_features=3)
        assert SPACE.num_weights(structure) == network.num_connections <= 60
        assert structure.num_nodes == 12


def test_changed_structures_are_of_the_space_and_near():
    generator = np.random.default_rng(0)
    structure = SPACE.draw(generator)
    for _ in range(200):
        changed = SPACE.change(structure, generator)
        assert SPACE.num_weights(changed) <= 60
        assert changed.num_nodes == 12
        assert not changed.equals(structure)
        structure = changed


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_single_changes(change):
    generator = np.random.default_rng(0)
    before = np.triu(generator.random((8, 8)) < 0.4, 1)
    for _ in range(50):
        after = before.copy()
        change(after, generator)
        assert not np.tril(after).any()
        difference = {"_add": 1, "_remove": -1}.get(change.__name__, 0)
        assert after.sum() - before.sum() == difference
        assert change.__name__ == "_swap" or (after != before).sum() <= 2


def test_full_and_empty_graphs_can_be_changed():
    generator = np.random.default_rng(0)
    full, empty = np.triu(np.ones((4, 4), bool), 1), np.zeros((4, 4), bool)
    for adjacency in (full, empty):
        for change in CHANGES:
            change(adjacency.copy(), generator)


def depth(structures) -> np.ndarray:
    return np.array([one.num_layers + one.num_edges / 100 for one in structures])


def run(method: str, seed: int) -> list[list[Candidate]]:
    options = {"num_evaluations": 330, "population": 20, "tournament": 4, "seed": seed}
    return list(search_structures(method, SPACE, depth, **options))


@pytest.mark.parametrize("seed", range(3))
def test_evolution_is_ahead_of_chance_at_equal_cost(seed):
    found = {method: run(method, seed) for method in ("evolution", "random")}
    for generations in found.values():
        assert [len(generation) for generation in generations] == [20] * 16 + [10]
    curves = {method: best_so_far(generations) for method, generations in found.items()}
    assert curves["evolution"][19] == curves["random"][19]  # the first generation is the same
    assert curves["evolution"][-1] > curves["random"][-1]
    assert (np.diff(curves["evolution"]) >= 0).all()


def test_a_seed_gives_the_same_search():
    first, again = (best_so_far(run("evolution", 7)) for _ in range(2))
    assert np.array_equal(first, again)


def test_survivors():
    structure = LayeredGraph.from_edges([0], [1])
    old, new = (
        [Candidate(structure, value) for value in values]
        for values in ([0.1, 0.9, 0.5, 0.4], [0.2, 0.3, 0.8, 0.0])
    )
    assert [one.fitness for one in survivors(old, new, 4)] == [0.9, 0.5, 0.8, 0.3]
    assert [one.fitness for one in survivors([], new, 4)] == [0.8, 0.3, 0.2, 0.0]


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"method": "hill"}, "there is no 'hill'"),
        ({"population": 1}, "population is 1"),
        ({"num_evaluations": 9}, "population is 10"),
        ({"tournament": 11}, "a tournament 11"),
        ({"tournament": 0}, "a tournament 0"),
    ],
)
def test_searches_that_are_none(raises_saying, wrong, found):
    options = {"method": "random", "num_evaluations": 20, "population": 10, "tournament": 2}
    options |= wrong
    with raises_saying(asked="search", found=found, do=""):
        next(search_structures(options.pop("method"), SPACE, depth, **options))


def test_spaces_that_are_empty(raises_saying):
    with raises_saying(asked="up to 20 weights", found="a path of the nodes has 22", do="more"):
        SearchSpace(12, 20, in_features=8, out_features=3)
    with raises_saying(asked="12 nodes", found="none of 1000 has 22 weights", do="fewer nodes"):
        SearchSpace(12, 22, in_features=8, out_features=3).draw(np.random.default_rng(0))
