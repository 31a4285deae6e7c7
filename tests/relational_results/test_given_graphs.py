"""Graphs of files and generators are those that were given, and what is none is told."""

import networkx as nx
import numpy as np
import pytest

from nn_graphs.relational_results.given_graphs import GeneratedGraphs, GraphFile
from nn_graphs.structure import average_clustering, average_path_length, small_selection

WHEEL, PATH, ARCS = nx.wheel_graph(6), nx.path_graph(4), nx.DiGraph([(0, 1), (1, 2)])


def adjacencies(graphs) -> list[np.ndarray]:
    *own, complete = graphs
    assert complete.make() is None
    assert [graph.graph_id for graph in own] == list(range(len(own)))
    return [graph.make().adjacency for graph in own]


def matrix(graph: nx.Graph) -> np.ndarray:
    return nx.to_numpy_array(graph) != 0


def test_rows_of_a_sweep_are_their_graphs(tmp_path):
    table = small_selection(16)[:6]  # as many as it has columns
    np.save(tmp_path / "graphs.npy", table)
    graphs = GraphFile("graphs.npy").read(tmp_path)
    for row, graph, adjacency in zip(table, graphs, adjacencies(graphs), strict=False):
        assert (graph.clustering, graph.path_length) == tuple(row[4:])
        assert average_clustering(adjacency) == pytest.approx(row[4])


def test_matrices_one_or_many(tmp_path):
    many = np.stack([matrix(nx.cycle_graph(5)), matrix(nx.complete_graph(5))])
    np.save(tmp_path / "many.npy", many)
    np.save(tmp_path / "one.npy", matrix(PATH))
    assert np.array_equal(adjacencies(GraphFile("many.npy").read(tmp_path)), many)
    assert np.array_equal(adjacencies(GraphFile("one.npy").read(tmp_path)), [matrix(PATH)])
    assert len(GraphFile("many.npy", first=1).read(tmp_path)) == 2


def test_a_folder_of_files_in_the_order_of_their_names(tmp_path):
    nx.write_graphml(WHEEL, tmp_path / "b.graphml")
    nx.write_edgelist(PATH, tmp_path / "c.edgelist")
    nx.write_gexf(ARCS, tmp_path / "a.gexf")
    (tmp_path / "notes.txt").write_text("no graph")
    graphs = GraphFile(str(tmp_path)).read("elsewhere")
    assert [graph.name for graph in graphs] == ["a", "b", "c", "complete"]
    assert [graph.is_directed for graph in graphs[:3]] == [True, False, False]
    for found, given in zip(adjacencies(graphs), (ARCS, WHEEL, PATH), strict=True):
        assert np.array_equal(found, matrix(given))
    undirected = matrix(ARCS.to_undirected())
    assert graphs[0].path_length == average_path_length(undirected)


def test_generated_graphs_go_over_all_options_and_seeds():
    graphs = GeneratedGraphs("watts_strogatz", 8, {"degree": [2, 4], "p": 0.5}, seeds=[1, 2])
    names = [graph.name for graph in graphs.read("")]
    expected = [f"watts_strogatz n=8 degree={d} p=0.5 seed={s}" for d in (2, 4) for s in (1, 2)]
    assert names == [*expected, "complete"]
    num_edges = [found.sum() // 2 for found in adjacencies(graphs.read(""))]
    assert num_edges == [8, 8, 16, 16]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("missing.npy", None, "neither missing.npy is there"),
        ("torn.npy", b"\x93NUMPY", "torn.npy cannot be read"),
        ("torn.graphml", b"<graphml", "torn.graphml cannot be read"),
        ("objects.npy", np.array([{}]), "objects.npy cannot be read"),
        ("flat.npy", np.zeros(4), "holds an array [4]"),
        ("nan.npy", np.full((3, 6), np.nan), "NaN or infinite"),
    ],
)
def test_what_holds_no_graphs(tmp_path, raises_saying, name, content, found):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        np.save(tmp_path / name, content)
    with raises_saying(asked=f"read graphs from {name}", found=found, do="networkx"):
        GraphFile(name).read(tmp_path)


def test_graphs_of_several_pieces(tmp_path, raises_saying):
    nx.write_adjlist(nx.Graph([(0, 1), (2, 3)]), tmp_path / "pieces.adjlist")
    with raises_saying(asked="relational graph", found="pieces", do=""):
        GraphFile("pieces.adjlist").read(tmp_path)
