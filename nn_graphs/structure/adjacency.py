"""Graphs as boolean adjacency matrices, made from whatever a user has.

`adjacency[i, j]` is the arc from node i to node j; an undirected graph has both. Matrices hold no
self loops: every node of a relational graph has a self-edge, which is added where a mask is made
(You et al., ICML 2020, section 2).
"""

from collections.abc import Sequence
from typing import TypeAlias

import networkx as nx
import numpy as np
from jaxtyping import Bool
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from nn_graphs.errors import NNGraphsError

Adjacency = Bool[np.ndarray, "n n"]
Adjacencies = Bool[np.ndarray, "*graphs n n"]
AnyGraph: TypeAlias = nx.Graph | np.ndarray | sparse.sparray | sparse.spmatrix | Sequence

ASKED = "use this as a relational graph"


def is_directed(graph: AnyGraph) -> bool:
    """Whether a graph of networkx says so, or a matrix is not its own transpose."""
    if isinstance(graph, nx.Graph):
        return graph.is_directed()
    matrix = _dense(graph)
    return matrix.ndim == 2 and (matrix.shape != matrix.T.shape or bool((matrix != matrix.T).any()))


def adjacency_matrix(
    graph: AnyGraph, *, is_directed: bool = False, is_connected: bool = True
) -> Adjacency:
    """The adjacency matrix of a graph, checked.

    Args:
        graph: of networkx, nodes in its own order and weights left out; or a matrix of zeros and
            ones (array, nested lists, scipy.sparse), row = where an arc begins.
        is_directed: whether arcs may go one way only.
        is_connected: whether the graph must be of one piece (directed: with arcs read both ways).

    Raises:
        NNGraphsError: for a matrix that is empty, not square or not of zeros and ones, for self
            loops, for arcs without their opposite, and for a graph of several pieces.
    """
    matrix = _dense(graph)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        fault = "empty" if matrix.shape == (0, 0) else "not square"
        raise NNGraphsError(
            ASKED,
            found=f"the adjacency matrix is {list(matrix.shape)}, {fault}.",
            do="Give one row and one column a node.",
        )
    if not np.isin(matrix, (0, 1)).all():
        raise NNGraphsError(
            ASKED,
            found="the adjacency matrix holds other values than 0 and 1.",
            do="For a weighted graph, give `matrix != 0`.",
        )
    adjacency = matrix.astype(bool)
    _check_arcs(adjacency, is_directed=is_directed)
    if is_connected and (num_pieces := num_components(adjacency)) > 1:
        raise NNGraphsError(
            ASKED,
            found=f"it is disconnected: {num_pieces} pieces.",
            do="Give its largest piece, or connect the pieces.",
        )
    return adjacency


def symmetrised(adjacency: Adjacencies) -> Adjacencies:
    """The undirected graph: an edge wherever there is an arc, whichever way."""
    return adjacency | adjacency.swapaxes(-1, -2)


def is_undirected(adjacency: Adjacencies) -> bool:
    """Whether every arc has its opposite, in all graphs."""
    return bool((adjacency == adjacency.swapaxes(-1, -2)).all())


def num_components(adjacency: Adjacency) -> int:
    """Pieces that a graph falls into, arcs read both ways."""
    return int(connected_components(adjacency, directed=False, return_labels=False))


def networkx_graph(adjacency: Adjacency) -> nx.Graph:
    """The graph of networkx, a `DiGraph` where an arc lacks its opposite; nodes 0 to n - 1."""
    kind = nx.Graph if is_undirected(adjacency) else nx.DiGraph
    return nx.from_numpy_array(adjacency.astype(np.uint8), create_using=kind, edge_attr=None)


def _dense(graph: AnyGraph) -> np.ndarray:
    if isinstance(graph, nx.Graph):
        return nx.to_numpy_array(graph, weight=None) != 0
    if sparse.issparse(graph):
        return graph.toarray()
    try:
        return np.asarray(graph)
    except ValueError as error:  # nested lists of several lengths
        raise NNGraphsError(
            ASKED,
            found="its rows differ in length, so it is not square.",
            do="Give one row and one column a node.",
        ) from error


def _check_arcs(adjacency: Adjacency, *, is_directed: bool) -> None:
    loops = np.flatnonzero(adjacency.diagonal())
    if len(loops):
        raise NNGraphsError(
            ASKED,
            found=f"{len(loops)} nodes have self loops, the first is node {loops[0]}.",
            do="Leave them out: every node of a relational graph has a self-edge anyway.",
        )
    if not is_directed and not is_undirected(adjacency):
        source, target = np.argwhere(adjacency & ~adjacency.T)[0]
        raise NNGraphsError(
            ASKED,
            found=f"it is directed: an arc goes from {source} to {target}, none comes back.",
            do="Pass is_directed=True, or give symmetrised(adjacency).",
        )
