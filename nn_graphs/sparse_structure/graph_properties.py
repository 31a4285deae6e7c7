"""Properties of layered graphs as numbers, from which the accuracy of their networks is predicted.

Sizes, degrees, layers and paths of the directed graph, and the measures of `nn_graphs.structure` of
the undirected one, as Stier & Granitzer (2019) take them; NaN where a graph does not have one.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from nn_graphs.structure.adjacency import symmetrised
from nn_graphs.structure.layered_graph import LayeredGraph
from nn_graphs.structure.measures import measure_graphs
from nn_graphs.structure.paths import average_path_length

UNDIRECTED = (
    "average_clustering",
    "global_efficiency",
    "degree_deviation",
    "degree_assortativity",
    "spectral_gap",
    "max_betweenness",
    "betweenness_deviation",
)


def structural_properties(graph: LayeredGraph) -> dict[str, float]:
    """All properties of a graph by name."""
    ends = {"sources": graph.in_degrees == 0, "sinks": graph.out_degrees == 0}
    sizes, spans = graph.layer_sizes, np.diff(_edge_layers(graph), axis=0)[0]
    found = {
        "num_nodes": graph.num_nodes,
        "num_edges": graph.num_edges,
        "density": graph.num_edges / max(1, graph.num_nodes * (graph.num_nodes - 1) / 2),
        "num_layers": graph.num_layers,
        "layer_size_deviation": sizes.std(),
        "max_layer_size": sizes.max(),
        **{f"num_{name}": is_end.sum() for name, is_end in ends.items()},
        **{f"mean_layer_of_{name}": graph.layers[own].mean() for name, own in ends.items()},
        "mean_layer": graph.layers.mean(),
        "in_degree_deviation": graph.in_degrees.std(),
        "max_in_degree": graph.in_degrees.max(),
        "out_degree_deviation": graph.out_degrees.std(),
        "max_out_degree": graph.out_degrees.max(),
        "mean_span": spans.mean() if len(spans) else 0.0,
        "max_span": spans.max(initial=0),
        "share_of_skips": (spans > 1).mean() if len(spans) else 0.0,
        **_path_properties(graph, ends["sources"], ends["sinks"]),
        **_undirected(graph),
    }
    return {name: float(value) for name, value in found.items()}


def property_table(graphs: Sequence[LayeredGraph]) -> pd.DataFrame:
    """One row a graph, one column a property."""
    return pd.DataFrame([structural_properties(graph) for graph in graphs])


def log_num_paths(
    graph: LayeredGraph, starts: Bool[np.ndarray, " n"], *, is_back: bool = False
) -> Float[np.ndarray, " n"]:
    """Logarithm (base e) of the number of paths from any of some nodes to every node.

    A path of no edge counts; minus infinity where there is none. Numbers of paths grow beyond
    floating point in deep graphs, logarithms don't.

    Args:
        graph: whose paths are counted.
        starts: where they begin.
        is_back: count paths from every node to the `starts` instead.
    """
    counts = np.where(starts, 0.0, -np.inf)
    into, out_of = graph.targets, graph.sources
    if is_back:
        into, out_of = out_of, into
    order = np.argsort(graph.layers[into], kind="stable")
    bounds = np.searchsorted(graph.layers[into][order], np.arange(graph.num_layers + 1))
    layers = range(graph.num_layers)
    for layer in reversed(layers) if is_back else layers:
        edges = order[bounds[layer] : bounds[layer + 1]]
        np.logaddexp.at(counts, into[edges], counts[out_of[edges]])
    return counts


def _path_properties(
    graph: LayeredGraph, is_source: Bool[np.ndarray, " n"], is_sink: Bool[np.ndarray, " n"]
) -> dict[str, float]:
    """How many paths lead from sources to sinks, and how many edges they have on average.

    An edge is on as many paths as lead to its source, times those from its target on.
    """
    before = log_num_paths(graph, is_source)
    behind = log_num_paths(graph, is_sink, is_back=True)
    total = np.logaddexp.reduce(before[is_sink])
    through = np.exp(before[graph.sources] + behind[graph.targets] - total)
    return {"log_num_paths": total, "mean_path_edges": through.sum()}


def _undirected(graph: LayeredGraph) -> dict[str, float]:
    adjacency = symmetrised(graph.adjacency().toarray())
    found = {name: float(value) for name, value in measure_graphs(adjacency, UNDIRECTED).items()}
    length = float(average_path_length(adjacency, if_disconnected="inf"))
    return {**found, "average_path_length": length if np.isfinite(length) else np.nan}


def _edge_layers(graph: LayeredGraph) -> np.ndarray:
    """The layers of the two ends of every edge."""
    return np.stack([graph.layers[graph.sources], graph.layers[graph.targets]])
