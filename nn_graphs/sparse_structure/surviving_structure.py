"""The graph that masks have left of a feed-forward network, and measures of it.

They are defined at any density: most graphs of few weights fall into pieces, so that distances
between neurons are none.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from nn_graphs.errors import NNGraphsError
from nn_graphs.sparse_structure.graph_properties import log_num_paths
from nn_graphs.structure.layered_graph import LayeredGraph


def layers_of_masks(masks: Sequence[Bool[np.ndarray, "_ _"]]) -> LayeredGraph:
    """A layered graph with a node for every input and neuron, and an edge for every weight left.

    Args:
        masks: `[out, in]` of the layers in their order.

    Raises:
        NNGraphsError: there are none, or a layer has other inputs than the one before has outputs.
    """
    widths = [mask.shape[1] for mask in masks] + [mask.shape[0] for mask in masks[-1:]]
    outputs = [mask.shape[0] for mask in masks]
    if not masks or outputs != widths[1:]:
        raise NNGraphsError(
            f"make a graph of {len(masks)} masks",
            found=f"they are {', '.join(str(list(mask.shape)) for mask in masks)}." * bool(masks)
            or "there is nothing.",
            do="Give [out, in] of every layer, each with as many inputs as there are outputs.",
        )
    firsts = np.cumsum([0, *widths])
    ends = [np.nonzero(mask) for mask in masks]
    sources = [columns + firsts[n] for n, (_, columns) in enumerate(ends)]
    targets = [rows + firsts[n + 1] for n, (rows, _) in enumerate(ends)]
    return LayeredGraph.from_edges(
        np.concatenate(sources),
        np.concatenate(targets),
        int(firsts[-1]),
        layers=np.repeat(np.arange(len(widths)), widths),
    )


def surviving_measures(graph: LayeredGraph) -> dict[str, float]:
    """Measures of a feed-forward graph, whose first layer are inputs and whose last are outputs.

    Returns:
        `useful_edges`: share of the edges that lie on a path from an input to an output;
        `live_neurons`: share of the hidden neurons that do; `live_inputs`: of the inputs;
        `joined_pairs`: share of the pairs of an input and an output with a path between them;
        `log10_paths`: logarithm of the number of such paths, not below 0;
        `degree_variation`: deviation of the in-degrees of live hidden neurons, by their mean;
        `top_neurons`: share of the edges into hidden neurons that end in the tenth of the neurons
        with most of them.
    """
    is_input = graph.layers == 0
    is_output = graph.layers == graph.num_layers - 1
    is_hidden = ~(is_input | is_output)
    before = log_num_paths(graph, is_input)
    behind = log_num_paths(graph, is_output, is_back=True)
    is_live = np.isfinite(before) & np.isfinite(behind)
    is_useful = is_live[graph.sources] & is_live[graph.targets]
    degrees = graph.in_degrees[is_hidden & is_live]
    total = np.logaddexp.reduce(before[is_output])
    return {
        "useful_edges": _mean(is_useful),
        "live_neurons": _mean(is_live[is_hidden]),
        "live_inputs": _mean(is_live[is_input]),
        "joined_pairs": _joined_pairs(graph, is_input, is_output),
        "log10_paths": max(0.0, float(total) / float(np.log(10))),
        "degree_variation": float(degrees.std() / degrees.mean()) if len(degrees) else 0.0,
        "top_neurons": _top_share(graph.in_degrees[is_hidden]),
    }


def _joined_pairs(
    graph: LayeredGraph, is_input: Bool[np.ndarray, " n"], is_output: Bool[np.ndarray, " n"]
) -> float:
    """Reachability of outputs from inputs, layer after layer, as products of the masks."""
    reached = np.eye(int(is_input.sum()), dtype=np.float32)
    for layer in range(1, graph.num_layers):
        reached = (graph.mask([layer - 1], layer) @ reached > 0).astype(np.float32)
    return float(reached.mean())


def _top_share(degrees: np.ndarray) -> float:
    if not degrees.sum():
        return 0.0
    top = -(-len(degrees) // 10)
    return float(np.sort(degrees)[-top:].sum() / degrees.sum())


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
