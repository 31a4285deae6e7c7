"""Layered graphs in files: GraphML, which other programs read, and npz, which is fast and small.

GraphML is written and read by networkx; a file of another program without layers gets those of the
longest path. An npz file holds the arrays of the graph; no code in it is ever run.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import ParseError

import networkx as nx
import numpy as np

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.structure.layered_graph import LayeredGraph

ARRAYS = ("sources", "targets", "layers")


def save_layered_graph(graph: LayeredGraph, path: str | Path) -> None:
    """Writes a graph; the ending of the path, `.graphml` or `.npz`, says how.

    Raises:
        NNGraphsError: it ends otherwise.
    """
    path = Path(path)
    _check_ending(path, f"save a layered graph as {path.name}")
    if path.suffix == ".npz":
        np.savez(path, **{name: getattr(graph, name) for name in ARRAYS})
    else:
        nx.write_graphml_xml(graph.to_networkx(), path)


def load_layered_graph(path: str | Path) -> LayeredGraph:
    """Reads a graph that `save_layered_graph`, or for GraphML any program, has written.

    Nodes of GraphML that are called by the numbers from 0 on keep them; others are numbered in
    their order in the file.

    Raises:
        NNGraphsError: the path ends otherwise, there is no such file, it is none of these, or the
            graph in it is empty or has a cycle.
    """
    path = Path(path)
    asked = f"load a layered graph from {path}"
    _check_ending(path, asked)
    if not path.exists():
        raise NNGraphsError(asked, found="there is no such file.", do="Give another path.")
    reader: Callable[[Path], LayeredGraph] = READERS[path.suffix]
    try:
        return reader(path)
    except (ParseError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise NNGraphsError(
            asked,
            found=f"its contents are of another kind ({type(error).__name__}).",
            do="Give a file that holds a graph.",
        ) from error
    except nx.NetworkXError as error:
        raise NNGraphsError(
            asked, found=f"networkx says: {error}.", do="Give a file of GraphML."
        ) from error


def _read_npz(path: Path) -> LayeredGraph:
    with np.load(path, allow_pickle=False) as file:
        sources, targets, layers = (file[name] for name in ARRAYS)
    return LayeredGraph.from_edges(sources, targets, len(layers), layers=layers)


def _read_graphml(path: Path) -> LayeredGraph:
    graph = nx.read_graphml(path)
    names = [str(number) for number in range(len(graph))]
    if set(graph) == set(names):
        ordered = graph.__class__()
        ordered.add_nodes_from((name, graph.nodes[name]) for name in names)
        ordered.add_edges_from((u, v) for u, v, *_ in graph.edges)
        graph = ordered
    has_layers = len(graph) and all("layer" in graph.nodes[node] for node in graph)
    return LayeredGraph.from_networkx(graph, layer="layer" if has_layers else None)


READERS = {".graphml": _read_graphml, ".npz": _read_npz}


def _check_ending(path: Path, asked: str) -> None:
    check_known(path.suffix, READERS, asked=asked)
