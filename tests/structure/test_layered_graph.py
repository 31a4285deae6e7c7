"""Layered graphs: layers against networkx, every way in and out, and what is said of bad input."""

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

from nn_graphs.structure.graph_building import LayeredGraphBuilder
from nn_graphs.structure.layered_files import load_layered_graph, save_layered_graph
from nn_graphs.structure.layered_graph import LayeredGraph
from nn_graphs.structure.layering import MIN_ARRAY
from nn_graphs.structure.orientations import acyclic_orientation


def random_dag(seed: int, largest: int = 40) -> LayeredGraph:
    """Some with many edges a layer, some with few, some without any."""
    rng = np.random.default_rng(seed)
    number = int(rng.integers(1, largest))
    sources, targets = np.triu_indices(number, 1)
    is_edge = rng.random(len(sources)) < rng.choice([0, 0.05, 0.3, 0.9])
    names = rng.permutation(number)
    return LayeredGraph.from_edges(names[sources[is_edge]], names[targets[is_edge]], number)


def layers_by_networkx(graph: nx.DiGraph) -> list[int]:
    layers: dict[int, int] = {}
    for node in nx.topological_sort(graph):
        layers[node] = max((layers[u] + 1 for u in graph.predecessors(node)), default=0)
    return [layers[node] for node in range(len(graph))]


THOUSAND = [pytest.param(first, 50, marks=pytest.mark.slow) for first in range(50, 1000, 50)]


@pytest.mark.parametrize(("first", "number"), [(0, 50), *THOUSAND])
def test_random_graphs_keep_everything_on_every_way(first, number):
    for seed in range(first, first + number):
        graph = random_dag(seed)
        network = graph.to_networkx()
        assert layers_by_networkx(network) == graph.layers.tolist()
        assert LayeredGraph.from_networkx(network).equals(graph)
        assert LayeredGraph.from_adjacency(graph.adjacency()).equals(graph)
        assert LayeredGraph.from_adjacency(graph.adjacency().toarray()).equals(graph)
        again = LayeredGraph.from_edges(
            graph.sources[::-1], graph.targets[::-1], graph.num_nodes, layers=graph.layers
        )
        assert again.equals(graph)


def test_layers_where_arrays_and_single_edges_take_turns():
    """Wide, narrow and wide again, so that the sweep changes its way twice."""
    wide = 2 * MIN_ARRAY
    graph = nx.DiGraph((f"a{n}", "b0") for n in range(wide))
    nx.add_path(graph, [f"b{n}" for n in range(wide)])
    graph.add_edges_from((f"b{wide - 1}", f"c{n}") for n in range(wide))
    graph.add_edges_from((f"c{n}", "d") for n in range(wide))
    number = {name: place for place, name in enumerate(graph)}
    sources, targets = np.array([(number[u], number[v]) for u, v in graph.edges]).T
    layers = LayeredGraph.from_edges(sources, targets).layers
    assert [layers[number[name]] for name in ("a5", "b0", "b7", "c3", "d")] == [
        0, 1, 8, wide + 1, wide + 2,
    ]  # fmt: skip


def test_a_path_of_a_hundred_thousand_nodes_needs_no_recursion():
    number = 100_000
    graph = LayeredGraph.from_edges(np.arange(number - 1), np.arange(1, number))
    assert np.array_equal(graph.layers, np.arange(number))


def test_a_wide_graph_has_its_layers():
    """1,000 nodes and 160,000 edges."""
    layers = np.repeat(np.arange(5), 200)
    order = np.random.default_rng(0).permutation(1000)
    builder = LayeredGraph.from_adjacency(layers[:, None] + 1 == layers[None])
    mixed = LayeredGraph.from_edges(order[builder.sources], order[builder.targets])
    assert mixed.num_edges == 160_000
    assert np.array_equal(mixed.layers[order], layers)


def test_sources_and_isolated_nodes_are_in_the_first_layer():
    graph = LayeredGraph.from_edges([0, 1, 0], [1, 2, 2], 5)
    assert graph.layers.tolist() == [0, 1, 2, 0, 0]
    assert graph.layer_sizes.tolist() == [3, 1, 1]
    assert [nodes.tolist() for nodes in graph.nodes_by_layer] == [[0, 3, 4], [1], [2]]
    assert graph.in_degrees.tolist() == [0, 1, 2, 0, 0]
    assert graph.out_degrees.tolist() == [2, 1, 0, 0, 0]


def test_edges_that_are_there_twice_become_one():
    assert LayeredGraph.from_edges([0, 0, 1], [1, 1, 2]).num_edges == 2


def test_connections_between_layers_and_their_masks():
    graph = LayeredGraph.from_edges([0, 1, 0, 2], [2, 2, 3, 3])
    assert graph.num_connections.tolist() == [[0, 2, 1], [0, 0, 1], [0, 0, 0]]
    assert graph.is_layer_connected(2, 0)
    assert graph.mask([0, 1], 2).tolist() == [[True, False, True]]
    assert graph.mask([1], 2).tolist() == [[True]]
    assert graph.mask([1, 0], 2).tolist() == [[True, True, False]]
    apart = LayeredGraph.from_edges([0, 1], [1, 2])
    assert not apart.is_layer_connected(0, 2)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (0, 3), (-1, 0)])
def test_layers_that_cannot_be_connected(raises_saying, first, second):
    graph = LayeredGraph.from_edges([0, 1, 0, 2], [2, 2, 3, 3])
    with raises_saying(asked=f"{first} and {second}", found="layers 0 to 2", do="two of them"):
        graph.is_layer_connected(first, second)


@pytest.mark.parametrize("ending", [".npz", ".graphml"])
def test_files_keep_numbers_layers_and_edges(tmp_path, ending):
    for seed in range(20):
        graph = random_dag(seed, largest=14)
        layers = graph.layers * 2  # gaps are closed
        given = LayeredGraph.from_edges(
            graph.sources, graph.targets, graph.num_nodes, layers=layers
        )
        save_layered_graph(given, tmp_path / f"graph{ending}")
        assert load_layered_graph(tmp_path / f"graph{ending}").equals(given)


def test_files_keep_given_layers_that_are_not_the_longest_path(tmp_path):
    graph = LayeredGraph.from_edges([0], [2], 4, layers=[0, 1, 2, 2])
    for ending in (".npz", ".graphml"):
        save_layered_graph(graph, tmp_path / f"graph{ending}")
        assert load_layered_graph(tmp_path / f"graph{ending}").layers.tolist() == [0, 1, 2, 2]


def test_graphml_of_other_programs(tmp_path):
    nx.write_graphml(nx.DiGraph([("b", "a"), ("a", "c")]), tmp_path / "graph.graphml")
    assert load_layered_graph(tmp_path / "graph.graphml").layers.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "contents", "found"),
    [
        ("graph.txt", b"", "no '.txt'"),
        ("graph.npz", None, "no such file"),
        ("graph.npz", b"PK nothing", "of another kind"),
        ("graph.npz", b"", "of another kind"),
        ("graph.graphml", b"<graphml", "of another kind"),
        ("graph.graphml", b"<graphml xmlns='http://graphml.graphdrawing.org/xmlns'/>", "networkx"),
    ],
)
def test_files_that_hold_no_graph(raises_saying, tmp_path, name, contents, found):
    if contents is not None:
        (tmp_path / name).write_bytes(contents)
    with raises_saying(asked="load a layered graph", found=found, do=""):
        load_layered_graph(tmp_path / name)


def test_npz_files_run_no_code(raises_saying, tmp_path):
    np.savez(tmp_path / "graph.npz", sources=np.array([print], dtype=object))
    with raises_saying(asked="load", found="of another kind (ValueError)", do="holds a graph"):
        load_layered_graph(tmp_path / "graph.npz")


def test_errors_show_cycles_by_the_names_of_nodes(raises_saying):
    graph = nx.DiGraph([("in", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("c", "out")])
    with raises_saying(asked="layers", found="a cycle of 3 nodes", do="acyclic_orientation"):
        LayeredGraph.from_networkx(graph)
    with pytest.raises(Exception, match=r"(a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c)"):
        LayeredGraph.from_networkx(graph)


def test_errors_shorten_long_cycles(raises_saying):
    number = 5000
    nodes = np.arange(number)
    with raises_saying(asked="layers", found="a cycle of 5000 nodes", do="Leave one"):
        LayeredGraph.from_edges(nodes, (nodes + 1) % number)
    with pytest.raises(Exception, match=r" -> \.\.\. -> ") as caught:
        LayeredGraph.from_edges(nodes, (nodes + 1) % number)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("size", [1, 2])
def test_the_smallest_cycles(raises_saying, size):
    with raises_saying(asked="layers", found=f"a cycle of {size} nodes", do="Leave one"):
        LayeredGraph.from_edges(range(size), [*range(1, size), 0])


@pytest.mark.parametrize(
    ("arguments", "settings", "found"),
    [
        (([], []), {}, "no nodes"),
        (([0], [1, 2]), {}, "int64 [1] and int64 [2]"),
        ((np.array([0.5]), np.array([1.0])), {}, "float64 [1]"),
        (([-1], [1]), {}, "node -1, which is none"),
        (([0], [3], 3), {}, "node 3, which is none"),
        (([0], [1]), {"layers": [0]}, "the layers of its 2 nodes are int64 [1]"),
        (([0], [1]), {"layers": [1, 1]}, "from node 0 in layer 1 to node 1 in layer 1"),
        (([0], [1]), {"layers": np.array([0.0, 1.0])}, "are float64"),
    ],
)
def test_edges_that_make_no_graph(raises_saying, arguments, settings, found):
    with raises_saying(asked="make a layered graph", found=found, do=""):
        LayeredGraph.from_edges(*arguments, **settings)


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), sparse.csr_array((3, 2))])
def test_matrices_that_are_not_square(raises_saying, matrix):
    with raises_saying(asked="make a layered graph", found="not square", do="one column a node"):
        LayeredGraph.from_adjacency(matrix)


def test_a_layer_attribute_that_is_missing(raises_saying):
    graph = nx.DiGraph([(0, 1)])
    graph.nodes[0]["layer"] = 0
    with raises_saying(asked="layered", found="as its attribute 'layer'", do="another attribute"):
        LayeredGraph.from_networkx(graph, layer="layer")


def test_undirected_graphs_run_from_earlier_nodes_to_later_ones():
    graph = nx.watts_strogatz_graph(60, 4, 0.5, seed=1)
    layered = LayeredGraph.from_networkx(graph)
    ends = {(min(u, v), max(u, v)) for u, v in graph.edges}
    assert ends == set(zip(layered.sources.tolist(), layered.targets.tolist(), strict=True))
    matrix = nx.to_numpy_array(graph)
    assert LayeredGraph.from_adjacency(matrix, is_directed=False).equals(layered)


def test_undirected_graphs_by_degrees_and_by_a_given_order():
    star = nx.star_graph(3)  # node 0 in the middle
    assert LayeredGraph.from_networkx(star, order="hubs_first").layers.tolist() == [0, 1, 1, 1]
    assert LayeredGraph.from_networkx(star, order="hubs_last").layers.tolist() == [1, 0, 0, 0]
    assert LayeredGraph.from_networkx(star, order=[3, 0, 2, 1]).layers.tolist() == [1, 2, 2, 0]


@pytest.mark.parametrize(
    ("order", "found"), [("names", "no 'names'"), ([0, 1], "2 nodes"), ([0, 1, 1], "3 nodes")]
)
def test_orders_that_are_none(raises_saying, order, found):
    with raises_saying(asked="undirected graph of 3 nodes", found=found, do=""):
        LayeredGraph.from_networkx(nx.path_graph(3), order=order)


def test_self_loops_of_undirected_graphs(raises_saying):
    with raises_saying(asked="undirected", found="the first node 1", do="Leave them out"):
        acyclic_orientation(np.array([0, 1]), np.array([1, 1]), 2)


def test_graphs_built_layer_by_layer_count_exactly():
    """15 to 20 layers of 50 to 100 nodes with random edges over several of them."""
    rng = np.random.default_rng(3)
    builder, layers, edges = LayeredGraphBuilder(), [], set()
    for layer in range(int(rng.integers(15, 21))):
        layers.append(builder.add_nodes(int(rng.integers(50, 101)), layer=layer))
        for earlier in layers[:-1]:
            ends = rng.choice(earlier, 20), rng.choice(layers[-1], 20)
            builder.add_edges(*ends)
            edges |= set(zip(*map(np.ndarray.tolist, ends), strict=True))
    graph = builder.build()
    assert graph.num_nodes == builder.num_nodes == sum(map(len, layers))
    assert graph.num_edges == len(edges)
    assert graph.num_layers == len(layers)
    assert all(map(np.array_equal, graph.nodes_by_layer, layers))


def test_builders_connect_layers_completely_and_close_gaps():
    builder = LayeredGraphBuilder()
    first, second = builder.add_nodes(3, layer=0), builder.add_nodes(2, layer=5)
    builder.connect(first, second)
    graph = builder.build()
    assert (graph.num_edges, graph.layers.tolist()) == (6, [0, 0, 0, 1, 1])


def test_builders_take_no_edge_that_closes_a_cycle(raises_saying):
    builder = LayeredGraphBuilder()
    a, b, c = (builder.add_nodes(1, layer=layer) for layer in range(3))
    builder.add_edges(np.concatenate([a, b]), np.concatenate([b, c]))
    for edge in ([2], [0]), ([0, 2], [2, 0]):  # one by one, and among others
        with raises_saying(asked="layered", found="1 edges do not lead to a later", do="layers"):
            builder.add_edges(*edge)
    graph = builder.build()
    assert (graph.num_nodes, graph.num_edges, graph.num_layers) == (3, 2, 3)


def test_builders_take_no_edge_without_nodes(raises_saying):
    with raises_saying(asked="layered graph", found="node 1, which is none", do="Number"):
        builder = LayeredGraphBuilder()
        builder.add_nodes(1, layer=0)
        builder.add_edges([0], [1])
    with raises_saying(asked="add 0 nodes to layer 0", found="nothing to add", do="one node"):
        LayeredGraphBuilder().add_nodes(0, layer=0)
    with raises_saying(asked="layered graph", found="no nodes", do="one node"):
        LayeredGraphBuilder().build()


def test_appended_graphs_share_a_layer():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(1, 6, size=rng.integers(2, 6))
        first, second = layered(rng, sizes), layered(rng, [sizes[-1], *rng.integers(1, 6, size=3)])
        both = first.append(second)
        assert both.num_nodes == first.num_nodes + second.num_nodes - sizes[-1]
        assert both.num_edges == first.num_edges + second.num_edges
        assert both.num_layers == first.num_layers + second.num_layers - 1
        kept = both.sources < first.num_nodes, both.targets < first.num_nodes
        assert (kept[0] & kept[1]).sum() == first.num_edges


def layered(rng: np.random.Generator, sizes) -> LayeredGraph:
    layers = np.repeat(np.arange(len(sizes)), sizes)
    matrix = (layers[:, None] < layers) & (rng.random((len(layers), len(layers))) < 0.5)
    return LayeredGraph.from_edges(*matrix.nonzero(), len(layers), layers=layers)


def test_graphs_that_cannot_be_appended(raises_saying):
    one, two = LayeredGraph.from_edges([0], [1]), LayeredGraph.from_edges([0, 1], [2, 2])
    with raises_saying(asked="append", found="first layer has 2 nodes", do="as many nodes"):
        one.append(two)
    with raises_saying(asked="append", found="it has 1 layers", do="two layers"):
        one.append(LayeredGraph.from_edges([], [], 1))
