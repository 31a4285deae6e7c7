"""Classic graphs have the edges that they should, and impossible ones are refused."""

import json
import pickle

import networkx as nx
import numpy as np
import pytest

from nn_graphs.structure import GENERATORS, GraphRecipe, adjacency_matrix
from tests.structure.graphs import networkx_of

OPTIONS = {
    "ws_flex": {"sparsity": 0.3, "p": 0.4},
    "watts_strogatz": {"degree": 4, "p": 0.3},
    "erdos_renyi": {"num_edges": 30},
    "barabasi_albert": {"num_links": 3},
    "harary": {"degree": 5},
    "random_regular": {"degree": 5},
}
RANDOM = {*OPTIONS, "tree"} - {"harary"}


def recipe(name: str, num_nodes: int = 16, seed: int = 0) -> GraphRecipe:
    return GraphRecipe(name, num_nodes, OPTIONS.get(name, {}), seed=seed)


def edges(name: str, num_nodes: int, **options) -> set[tuple[int, int]]:
    graph = GENERATORS[name](num_nodes, **options)
    return {tuple(pair) for pair in np.argwhere(np.triu(graph)).tolist()}


@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_gives_a_relational_graph(name):
    graph = recipe(name).make()
    assert graph.shape == (16, 16)
    np.testing.assert_array_equal(adjacency_matrix(graph), graph)


@pytest.mark.parametrize("name", GENERATORS)
def test_seeds(name):
    graph = recipe(name).make()
    np.testing.assert_array_equal(recipe(name).make(), graph)
    differs = [not np.array_equal(recipe(name, seed=seed).make(), graph) for seed in (1, 2, 3)]
    assert all(differs) if name in RANDOM else not any(differs)


def test_hand_made_graphs():
    assert edges("ring", 4) == {(0, 1), (1, 2), (2, 3), (0, 3)}
    assert edges("star", 4) == {(0, 1), (0, 2), (0, 3)}
    assert edges("complete", 3) == {(0, 1), (0, 2), (1, 2)}
    assert edges("complete", 1) == set()
    assert edges("grid", 6) == {(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)}
    assert edges("grid", 4, num_rows=1) == {(0, 1), (1, 2), (2, 3)}
    assert edges("grid", 6, num_rows=3) == {(0, 1), (2, 3), (4, 5), (0, 2), (2, 4), (1, 3), (3, 5)}
    assert edges("hypercube", 4) == {(0, 1), (0, 2), (1, 3), (2, 3)}
    assert edges("harary", 5, degree=2) == edges("ring", 5)
    assert edges("harary", 5, degree=4) == edges("complete", 5)
    assert edges("tree", 2) == {(0, 1)}


def test_counts_of_edges():
    num_edges = {name: int(recipe(name).make().sum()) // 2 for name in GENERATORS}
    assert num_edges == {
        "ws_flex": round(0.3 * 16 * 16 / 2),
        "watts_strogatz": 32,
        "erdos_renyi": 30,
        "barabasi_albert": 3 * 13,  # three links of each node behind the first three
        "harary": 40,
        "ring": 16,
        "star": 15,
        "grid": 24,
        "hypercube": 32,
        "tree": 15,
        "random_regular": 40,
        "complete": 120,
    }


def test_regular_graphs_are_regular_and_harary_graphs_hold_together():
    for name in ("random_regular", "harary"):
        assert set(recipe(name).make().sum(0).tolist()) == {5}
    assert nx.node_connectivity(networkx_of(recipe("harary").make())) == 5


def test_trees_are_drawn_evenly():
    """Of the sixteen trees of four numbered nodes, four are stars."""
    drawn = [GENERATORS["tree"](4, seed=seed) for seed in range(400)]
    assert len({graph.tobytes() for graph in drawn}) == 16
    assert 60 < sum(graph.sum(0).max() == 3 for graph in drawn) < 140


def test_sparse_random_graphs_are_drawn_again_until_connected(raises_saying):
    assert GENERATORS["erdos_renyi"](10, num_edges=10, seed=1).sum() == 20
    with raises_saying(asked="Erdos-Renyi", found="none of 100 tries of seed 0", do="more edges"):
        GENERATORS["erdos_renyi"](60, num_edges=60)
    with raises_saying(asked="regular", found="none of 100 tries", do="more edges"):
        GENERATORS["random_regular"](6, degree=1)


@pytest.mark.parametrize(
    ("name", "num_nodes", "options", "found"),
    [
        ("watts_strogatz", 8, {"degree": 3, "p": 0.1}, "half of the degree"),
        ("watts_strogatz", 8, {"degree": 8, "p": 0.1}, "degree is not from 2 to 7"),
        ("watts_strogatz", 8, {"degree": 0, "p": 0.1}, "degree is not from 2 to 7"),
        ("watts_strogatz", 8, {"degree": 4, "p": 1.5}, "p is no probability"),
        ("erdos_renyi", 8, {"num_edges": 6}, "connected graphs have 7 to 28 edges"),
        ("erdos_renyi", 8, {"num_edges": 29}, "connected graphs have 7 to 28 edges"),
        ("barabasi_albert", 8, {"num_links": 0}, "links to 1 to 7 others"),
        ("barabasi_albert", 8, {"num_links": 8}, "links to 1 to 7 others"),
        ("harary", 8, {"degree": 0}, "degree is not from 1 to 7"),
        ("harary", 8, {"degree": 8}, "degree is not from 1 to 7"),
        ("ring", 2, {}, "three nodes or more"),
        ("star", 1, {}, "two nodes or more"),
        ("grid", 7, {}, "no rectangle"),
        ("grid", 0, {}, "no rectangle"),
        ("grid", 8, {"num_rows": 3}, "3 rows of the same length"),
        ("grid", 8, {"num_rows": 0}, "0 rows"),
        ("hypercube", 12, {}, "no power of 2"),
        ("hypercube", 0, {}, "no power of 2"),
        ("tree", 1, {}, "two nodes or more"),
        ("random_regular", 7, {"degree": 3}, "an odd number of nodes"),
        ("random_regular", 8, {"degree": 8}, "degree is not from 1 to 7"),
        ("complete", 0, {}, "no nodes"),
    ],
)
def test_impossible_graphs(raises_saying, name, num_nodes, options, found):
    with raises_saying(asked=f"of {num_nodes} nodes", found=found, do="Choose"):
        GENERATORS[name](num_nodes, **options)


def test_recipes_are_data():
    mine = recipe("ws_flex", seed=3)
    assert mine == GraphRecipe("ws_flex", 16, {"p": 0.4, "sparsity": 0.3}, seed=3)
    assert mine != recipe("ws_flex", seed=4)
    assert len({mine, recipe("ws_flex", seed=3), recipe("ring")}) == 2
    assert pickle.loads(pickle.dumps(mine)) == mine
    assert GraphRecipe(**json.loads(json.dumps(vars(mine)))) == mine


def test_options_of_a_recipe_are_its_own():
    options = {"sparsity": 0.3, "p": 0.4}
    mine = GraphRecipe("ws_flex", 16, options)
    options["p"] = 0.9
    assert mine.options["p"] == 0.4


def test_resized_is_the_generator_with_another_number_of_nodes():
    small = recipe("ws_flex", num_nodes=64, seed=2).resized(14)
    np.testing.assert_array_equal(
        small.make(), GENERATORS["ws_flex"](14, sparsity=0.3, p=0.4, seed=2)
    )


def test_resizing_to_an_impossible_size_says_so(raises_saying):
    with raises_saying(asked="hypercube of 14", found="no power of 2", do="2, 4, 8"):
        recipe("hypercube").resized(14).make()


@pytest.mark.parametrize(
    ("name", "options", "found", "do"),
    [
        ("small_world", {}, "it is unknown", "ws_flex or watts_strogatz"),
        ("ring", {"degree": 4}, "it has no option degree", "no options"),
        ("harary", {}, "it wants the option degree", "the options degree"),
        ("ws_flex", {"sparsity": 0.1}, "it wants the option p", "sparsity, p"),
        ("ws_flex", {"sparsity": 0.1, "p": 0.1, "seed": 3}, "no option seed", "sparsity, p"),
    ],
)
def test_recipes_of_other_options(raises_saying, name, options, found, do):
    with raises_saying(asked=f"the generator {name!r}", found=found, do=do):
        GraphRecipe(name, 16, options)
