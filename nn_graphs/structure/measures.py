"""Measures of graphs, batched over graphs of one size, and a table of them by name.

The two of the relational-graph studies are average clustering C and average path length L (You et
al., ICML 2020, section 3), of the graph without self-edges. All functions take one adjacency matrix
`[n, n]` or a batch `[..., n, n]`; the shortest-path measures are in `paths`.
"""

from collections.abc import Callable, Iterable

import networkx as nx
import numpy as np
from jaxtyping import Float

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.structure.adjacency import Adjacencies, is_undirected, networkx_graph
from nn_graphs.structure.paths import (
    AnyMatrices,
    average_path_length,
    betweenness,
    diameter,
    global_efficiency,
    in_chunks,
)

Values = Float[np.ndarray, "*graphs"]

LOUVAIN_SEED = 0


def average_clustering(adjacency: AnyMatrices) -> Values:
    """C: mean over nodes of how many pairs of their neighbours are linked (Watts and Strogatz).

    A node with fewer than two neighbours counts as 0. Directed graphs: triangles of all kinds among
    those that a node's arcs allow (Fagiolo, 2007), which for undirected graphs is the same.

    Nodes are summed up one by one from the smallest value on: the mean is the published one to the
    last bit, which decides the cell of graphs on a border, and doesn't depend on the nodes' order.
    """
    return in_chunks(_mean_clustering, adjacency)


def local_clustering(adjacency: AnyMatrices) -> Float[np.ndarray, "*graphs n"]:
    """The clustering of each node; see `average_clustering`."""
    return in_chunks(_clustering, adjacency)


def degrees(adjacency: AnyMatrices) -> Float[np.ndarray, "*graphs n"]:
    """Neighbours of each node of undirected graphs."""
    return in_chunks(_degrees, adjacency)


def degree_assortativity(adjacency: AnyMatrices) -> Values:
    """Correlation of the degrees at both ends of edges (Newman, 2002), of undirected graphs.

    Not a number where all nodes that have edges have the same degree: there it is undefined.
    """
    return in_chunks(_assortativity, adjacency)


def spectral_gap(adjacency: AnyMatrices) -> Values:
    """Second smallest eigenvalue of the normalised Laplacian of undirected graphs.

    One minus the second largest eigenvalue of a random walk: 0 for disconnected graphs, large
    where walks mix fast. A node without edges has a row of zeros.
    """
    return in_chunks(_spectral_gap, adjacency)


def modularity(adjacency: AnyMatrices) -> Values:
    """Modularity of the communities that networkx' Louvain method finds in undirected graphs.

    One graph after the other, about 10 ms for one of 64 nodes.
    """
    return in_chunks(_modularity, adjacency)


MEASURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "average_clustering": average_clustering,
    "average_path_length": average_path_length,
    "diameter": diameter,
    "global_efficiency": global_efficiency,
    "mean_degree": lambda adjacency: degrees(adjacency).mean(-1),
    "min_degree": lambda adjacency: degrees(adjacency).min(-1),
    "max_degree": lambda adjacency: degrees(adjacency).max(-1),
    "degree_deviation": lambda adjacency: degrees(adjacency).std(-1),
    "degree_assortativity": degree_assortativity,
    "spectral_gap": spectral_gap,
    "max_betweenness": lambda adjacency: betweenness(adjacency).max(-1),
    "betweenness_deviation": lambda adjacency: betweenness(adjacency).std(-1),
    "modularity": modularity,
}
"""One number a graph, by name. Deviations are over the nodes of a graph (population, ddof 0)."""


def measure_graphs(
    adjacency: AnyMatrices, names: Iterable[str] = tuple(MEASURES)
) -> dict[str, Values]:
    """The measures `names` of graphs `[..., n, n]`, one value a graph.

    Raises:
        NNGraphsError: a name is unknown; a graph is disconnected or directed, and a measure is not
            defined for it.
    """
    names = tuple(names)
    for name in names:
        check_known(name, MEASURES, asked=f"measure {name}")
    return {name: MEASURES[name](adjacency) for name in names}


def _mean_clustering(graphs: Adjacencies) -> Float[np.ndarray, " N"]:
    ascending = np.sort(_clustering(graphs), axis=-1)
    return np.add.accumulate(ascending, axis=-1)[:, -1] / graphs.shape[-1]


def _clustering(graphs: Adjacencies) -> Float[np.ndarray, "N n"]:
    arcs = graphs.astype(np.float32)
    both = arcs + arcs.swapaxes(-1, -2)
    num_triangles = (both @ both * both).sum(-1, dtype=np.float64)
    num_arcs = both.sum(-1, dtype=np.float64)
    num_mutual = (both == 2).sum(-1)
    num_possible = 2 * (num_arcs * (num_arcs - 1) - 2 * num_mutual)
    zeros = np.zeros_like(num_arcs)
    return np.divide(num_triangles, num_possible, out=zeros, where=num_possible > 0)


def _degrees(graphs: Adjacencies) -> Float[np.ndarray, "N n"]:
    _check_undirected(graphs, "degrees")
    return graphs.sum(-1, dtype=np.float64)


def _assortativity(graphs: Adjacencies) -> Float[np.ndarray, " N"]:
    """Moments over ends of edges: each end counts its node's degree, so a node counts it often."""
    degree = _degrees(graphs)
    num_ends = degree.sum(-1)
    products = np.einsum("ni,ni->n", (graphs @ degree[..., None])[..., 0], degree)
    covariance = num_ends * products - (degree**2).sum(-1) ** 2
    variance = num_ends * (degree**3).sum(-1) - (degree**2).sum(-1) ** 2
    undefined = np.full(len(graphs), np.nan)
    return np.divide(covariance, variance, out=undefined, where=variance > 0)


def _spectral_gap(graphs: Adjacencies) -> Float[np.ndarray, " N"]:
    _check_undirected(graphs, "the spectral gap")
    num_nodes = graphs.shape[-1]
    if num_nodes < 2:
        return np.zeros(len(graphs))
    degree = graphs.sum(-1, dtype=np.float64)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    laplacian = -(scale[:, :, None] * graphs * scale[:, None, :])
    np.einsum("nii->ni", laplacian)[:] = degree > 0
    return np.linalg.eigvalsh(laplacian)[:, 1]


def _modularity(graphs: Adjacencies) -> Float[np.ndarray, " N"]:
    _check_undirected(graphs, "modularity")
    return np.array([_louvain(networkx_graph(graph)) for graph in graphs], dtype=np.float64)


def _louvain(graph: nx.Graph) -> float:
    if not graph.number_of_edges():
        return 0.0
    communities = nx.community.louvain_communities(graph, seed=LOUVAIN_SEED)
    return nx.community.modularity(graph, communities)


def _check_undirected(graphs: Adjacencies, what: str) -> None:
    if not is_undirected(graphs):
        raise NNGraphsError(
            f"compute {what}",
            found="a graph is directed.",
            do="Give symmetrised(adjacency).",
        )
