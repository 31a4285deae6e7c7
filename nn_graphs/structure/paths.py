"""Shortest paths of many graphs at once: distances, and what is made of them.

A step of a breadth-first search from all nodes of all graphs is one product of matrices of zeros
and ones; graphs whose nodes have all been reached drop out. All functions take one graph `[n, n]`
or a batch `[..., n, n]`, directed or not, and follow arcs.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from nn_graphs.errors import NNGraphsError
from nn_graphs.structure.adjacency import Adjacencies

CHUNK_ENTRIES = 2**17  # of adjacency matrices looked at together: they stay in cache

AnyMatrices = Shaped[np.ndarray, "*graphs rows columns"]
"""Adjacency matrices; what isn't boolean or square gets an error."""


def distances(adjacency: AnyMatrices) -> Float[np.ndarray, "*graphs n n"]:
    """Steps from node to node, infinite where no path leads.

    Raises:
        NNGraphsError: for matrices that aren't square or boolean; so in all measures.
    """
    return in_chunks(_distances, adjacency)


def average_path_length(
    adjacency: AnyMatrices, *, if_disconnected: Literal["raise", "inf"] = "raise"
) -> Float[np.ndarray, "*graphs"]:
    """L: mean distance over all pairs of different nodes; 0 for a single node.

    Raises:
        NNGraphsError: where nodes of a graph cannot reach each other, unless that gives "inf".
    """
    lengths = in_chunks(_mean_distance, adjacency)
    if if_disconnected == "raise" and not np.isfinite(lengths).all():
        raise NNGraphsError(
            "compute average path lengths",
            found=f"graph {np.flatnonzero(~np.isfinite(lengths))[0]} of {lengths.size} is "
            "disconnected, or its arcs don't lead from every node to every other.",
            do="Leave such graphs out, pass if_disconnected='inf', or take global_efficiency.",
        )
    return lengths


def diameter(adjacency: AnyMatrices) -> Float[np.ndarray, "*graphs"]:
    """The largest distance; infinite for disconnected graphs."""
    return in_chunks(lambda graphs: _distances(graphs).max((-2, -1)), adjacency)


def global_efficiency(adjacency: AnyMatrices) -> Float[np.ndarray, "*graphs"]:
    """Mean of 1 / distance over all pairs of different nodes (Latora and Marchiori, 2001)."""
    return in_chunks(_efficiency, adjacency)


def betweenness(adjacency: AnyMatrices) -> Float[np.ndarray, "*graphs n"]:
    """Share of the shortest paths between other nodes that lead through a node (Brandes, 2001)."""
    return in_chunks(_betweenness, adjacency)


def in_chunks(
    measure: Callable[[Adjacencies], np.ndarray], adjacency: AnyMatrices
) -> Shaped[np.ndarray, "..."]:
    """`measure`, which maps graphs `[N, n, n]` to `[N, ...]`, of graphs `[..., n, n]`."""
    if adjacency.dtype != bool or adjacency.shape[-1] != adjacency.shape[-2]:
        raise NNGraphsError(
            "measure graphs",
            found=f"the matrices are {adjacency.dtype} {list(adjacency.shape)}.",
            do="Give boolean matrices [..., n, n], as adjacency_matrix(graph) makes them.",
        )
    num_nodes = adjacency.shape[-1]
    if not num_nodes or adjacency.diagonal(axis1=-2, axis2=-1).any():
        raise NNGraphsError(
            "measure graphs",
            found="they have self loops." if num_nodes else "they have no nodes.",
            do="Give matrices with zeros on the diagonal, as adjacency_matrix(graph) makes them.",
        )
    graphs = adjacency.reshape(-1, num_nodes, num_nodes)
    step = max(1, CHUNK_ENTRIES // num_nodes**2)
    parts = [measure(graphs[i : i + step]) for i in range(0, max(1, len(graphs)), step)]
    values = np.concatenate(parts)
    return values.reshape((*adjacency.shape[:-2], *values.shape[1:]))


def _distances(graphs: Adjacencies) -> Float[np.ndarray, "N n n"]:
    num_nodes = graphs.shape[-1]
    steps = graphs.astype(np.float32)
    reached = np.broadcast_to(np.eye(num_nodes, dtype=np.float32), graphs.shape)
    found = np.zeros(graphs.shape, np.float32)
    searching = np.arange(len(graphs))
    while len(searching):
        missing = reached == 0
        found[searching] += missing
        reached_next = (reached @ steps + reached > 0).astype(np.float32)
        is_moving = (reached_next != reached).any((-2, -1))
        stuck = ~is_moving[:, None, None] & missing
        found[searching] = np.where(stuck, np.inf, found[searching])
        searching = searching[is_moving]
        reached, steps = reached_next[is_moving], steps[is_moving]
    return found


def _mean_distance(graphs: Adjacencies) -> Float[np.ndarray, " N"]:
    """Every step adds one for each pair that it hasn't joined."""
    num_nodes = graphs.shape[-1]
    num_pairs = num_nodes * (num_nodes - 1)
    total = np.full(len(graphs), float(num_pairs))
    searching, steps = np.arange(len(graphs)), graphs.astype(np.float32)
    reached = steps + np.eye(num_nodes, dtype=np.float32)
    num_missing = num_pairs - np.count_nonzero(graphs, axis=(-2, -1))
    while len(searching := searching[num_missing > 0]):
        steps, reached = steps[num_missing > 0], reached[num_missing > 0]
        num_missing = num_missing[num_missing > 0]
        total[searching] += num_missing
        reached = (reached @ steps + reached > 0).astype(np.float32)
        still_missing = num_nodes**2 - np.count_nonzero(reached, axis=(-2, -1))
        is_stuck = still_missing == num_missing
        total[searching[is_stuck]] = np.inf
        num_missing = np.where(is_stuck, 0, still_missing)
    return total / max(num_pairs, 1)


def _efficiency(graphs: Adjacencies) -> Float[np.ndarray, " N"]:
    num_nodes = graphs.shape[-1]
    steps = _distances(graphs).astype(np.float64)
    inverse = np.divide(1, steps, out=np.zeros_like(steps), where=steps > 0)
    return inverse.sum((-2, -1)) / max(num_nodes * (num_nodes - 1), 1)


def _betweenness(graphs: Adjacencies) -> Float[np.ndarray, "N n"]:
    """Brandes' two sweeps, from all sources at once: numbers of paths out, dependencies back."""
    num_nodes = graphs.shape[-1]
    arcs = graphs.astype(np.float64)
    paths = np.broadcast_to(np.eye(num_nodes), graphs.shape)
    levels, num_paths = [paths], paths.copy()
    while (paths := np.where(num_paths > 0, 0, paths @ arcs)).any():
        levels.append(paths)
        num_paths = num_paths + paths
    dependency = np.zeros(graphs.shape)
    for nearer, level in zip(levels[-2::-1], levels[:0:-1], strict=True):
        a_path = np.divide(1 + dependency, level, out=np.zeros_like(level), where=level > 0)
        dependency += nearer * (a_path @ arcs.swapaxes(-1, -2))
    own = np.diagonal(dependency, axis1=-2, axis2=-1)
    return (dependency.sum(-2) - own) / max((num_nodes - 1) * (num_nodes - 2), 1)
