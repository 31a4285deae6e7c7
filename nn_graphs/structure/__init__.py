"""Graphs as graphs: generators, connectomes, measures, sweeps over the (C, L) plane, and layers."""

from nn_graphs.structure.adjacency import (
    Adjacencies,
    Adjacency,
    adjacency_matrix,
    is_undirected,
    networkx_graph,
    symmetrised,
)
from nn_graphs.structure.connectomes import Connectome, connectome_names, read_connectome
from nn_graphs.structure.generators import GENERATORS, GraphRecipe
from nn_graphs.structure.graph_building import LayeredGraphBuilder
from nn_graphs.structure.growing import grow, sample_proportions, sizes_at
from nn_graphs.structure.layered_files import load_layered_graph, save_layered_graph
from nn_graphs.structure.layered_graph import LayeredGraph
from nn_graphs.structure.measures import (
    MEASURES,
    average_clustering,
    degree_assortativity,
    degrees,
    local_clustering,
    measure_graphs,
    modularity,
    spectral_gap,
)
from nn_graphs.structure.orientations import acyclic_orientation
from nn_graphs.structure.paths import (
    average_path_length,
    betweenness,
    diameter,
    distances,
    global_efficiency,
)
from nn_graphs.structure.plane import Plane, nested_selections
from nn_graphs.structure.selections import small_selection
from nn_graphs.structure.sweep import PUBLISHED_SWEEPS, Sweep, run_sweep
from nn_graphs.structure.wsflex import ws_flex, ws_flex_graphs

__all__ = [
    "GENERATORS",
    "MEASURES",
    "PUBLISHED_SWEEPS",
    "Adjacencies",
    "Adjacency",
    "Connectome",
    "GraphRecipe",
    "LayeredGraph",
    "LayeredGraphBuilder",
    "Plane",
    "Sweep",
    "acyclic_orientation",
    "adjacency_matrix",
    "average_clustering",
    "average_path_length",
    "betweenness",
    "connectome_names",
    "degree_assortativity",
    "degrees",
    "diameter",
    "distances",
    "global_efficiency",
    "grow",
    "is_undirected",
    "load_layered_graph",
    "local_clustering",
    "measure_graphs",
    "modularity",
    "nested_selections",
    "networkx_graph",
    "read_connectome",
    "run_sweep",
    "sample_proportions",
    "save_layered_graph",
    "sizes_at",
    "small_selection",
    "spectral_gap",
    "symmetrised",
    "ws_flex",
    "ws_flex_graphs",
]
