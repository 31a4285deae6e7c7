"""Structures of families: every one is made, comes back, and does not depend on how many."""

import networkx as nx
import pytest

from nn_graphs.sparse_structure import FAMILIES, sample_structures
from nn_graphs.structure.adjacency import num_components, symmetrised


def test_families_take_turns_and_are_connected():
    sampled = sample_structures(60, num_nodes=(12, 40))
    assert [one.family for one in sampled[:6]] == list(FAMILIES)
    for one in sampled:
        graph = one.make()
        assert graph.num_nodes == one.recipe.num_nodes
        assert 12 <= graph.num_nodes <= 40
        assert num_components(symmetrised(graph.adjacency().toarray())) == 1
        assert one.make().equals(graph)
    sizes = {one.recipe.num_nodes for one in sampled}
    assert len(sizes) > 15


def test_the_first_do_not_depend_on_how_many_there_are():
    assert sample_structures(5, seed=3) == sample_structures(9, seed=3)[:5]
    assert sample_structures(5, seed=3) != sample_structures(5, seed=4)


def test_names_tell_all_that_makes_a_structure():
    sampled = sample_structures(200)
    assert len({one.name for one in sampled}) == len(set(sampled)) == 200
    assert sampled[0].name.startswith("watts_strogatz n=")


def test_orders_direct_the_same_edges_otherwise():
    sampled = sample_structures(30, families=["barabasi_albert"], orders=["hubs_first"])
    assert {one.order for one in sampled} == {"hubs_first"}
    graph = sampled[0].make()
    degrees = graph.in_degrees + graph.out_degrees
    assert (degrees[graph.sources] >= degrees[graph.targets]).all()
    assert nx.is_directed_acyclic_graph(graph.to_networkx())


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"families": ["small_world"]}, "there is no 'small_world'"),
        ({"orders": ["by_hand"]}, "there is no 'by_hand'"),
        ({"families": []}, "there are 0 families"),
        ({"orders": []}, "0 orders"),
        ({"num_nodes": (40, 12)}, "6 families"),
        ({"num_nodes": (4, 12)}, "6 families"),
        ({"number": 0}, "6 families"),
    ],
)
def test_what_cannot_be_sampled(raises_saying, wrong, found):
    with raises_saying(asked="sample", found=found, do=""):
        sample_structures(**{"number": 3, **wrong})
