"""Graphs to try measures on, networkx' own and random ones, directed and not."""

import networkx as nx
import numpy as np


def random_graphs(num_nodes: int, *, is_directed: bool = False, seed: int = 0) -> np.ndarray:
    """Twelve graphs `[12, n, n]` from nearly empty to complete."""
    generator = np.random.default_rng(seed)
    density = np.linspace(0.05, 1, 12)[:, None, None]
    graphs = generator.random((12, num_nodes, num_nodes)) < density
    graphs &= ~np.eye(num_nodes, dtype=bool)
    return graphs if is_directed else np.triu(graphs) | np.triu(graphs).swapaxes(1, 2)


def networkx_of(adjacency: np.ndarray) -> nx.Graph:
    is_directed = bool((adjacency != adjacency.T).any())
    return nx.from_numpy_array(adjacency, create_using=nx.DiGraph if is_directed else nx.Graph)


def path_graph(num_nodes: int) -> np.ndarray:
    return nx.to_numpy_array(nx.path_graph(num_nodes)) > 0
