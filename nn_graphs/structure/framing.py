"""Structures between inputs and outputs, as layers in front of and behind those of a graph.

Every input leads to every node that hears no other, and every node that no other hears leads to
every output, so that all nodes matter; published code joins the inputs to the first layer and the
last layer to the outputs, and whatever ends earlier is lost ("layers").
"""

from itertools import pairwise

import numpy as np

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.structure.layered_graph import LayeredGraph

RULES = ("ends", "layers")


def frame(
    structure: LayeredGraph,
    num_inputs: int | None,
    num_outputs: int | None,
    *,
    joins: str = "ends",
) -> LayeredGraph:
    """A structure with a layer of inputs before it and one of outputs behind it.

    Inputs are numbered first, then the nodes of the structure, then the outputs.

    Args:
        structure: the nodes between them.
        num_inputs, num_outputs: None: the structure has them itself.
        joins: "ends" or "layers", see above.

    Raises:
        NNGraphsError: there are fewer than one, or the rule is unknown.
    """
    check_known(joins, RULES, asked=f"join inputs and outputs to a structure by {joins!r}")
    if min(count for count in (num_inputs, num_outputs, 1) if count is not None) < 1:
        raise NNGraphsError(
            "put a structure between inputs and outputs",
            found=f"there are {num_inputs} inputs and {num_outputs} outputs.",
            do="Give one at least, or None where the structure has them itself.",
        )
    if joins == "ends":
        is_first, is_last = structure.in_degrees == 0, structure.out_degrees == 0
    else:
        is_first = structure.layers == 0
        is_last = structure.layers == structure.num_layers - 1
    before, behind = num_inputs or 0, num_outputs or 0
    stop = before + structure.num_nodes
    edges = [(structure.sources + before, structure.targets + before)]
    for nodes, others in (
        (np.arange(before), np.flatnonzero(is_first) + before),
        (np.flatnonzero(is_last) + before, stop + np.arange(behind)),
    ):
        edges.append((np.repeat(nodes, len(others)), np.tile(others, len(nodes))))
    shift = int(before > 0)
    layers = [
        np.zeros(before, int),
        structure.layers + shift,
        np.full(behind, structure.num_layers + shift),
    ]
    sources, targets = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    return LayeredGraph.from_edges(sources, targets, stop + behind, layers=np.concatenate(layers))


def unframe(framed: LayeredGraph, num_inputs: int | None, num_outputs: int | None) -> LayeredGraph:
    """The structure between inputs and outputs that `frame` has put around it."""
    first = num_inputs or 0
    stop = framed.num_nodes - (num_outputs or 0)
    inside = (framed.sources >= first) & (framed.targets < stop)
    return LayeredGraph.from_edges(
        framed.sources[inside] - first,
        framed.targets[inside] - first,
        stop - first,
        layers=framed.layers[first:stop],
    )


def complete_layers(sizes: list[int] | tuple[int, ...]) -> LayeredGraph:
    """Layers of the given sizes, each joined completely to the next: a feed-forward network.

    Raises:
        NNGraphsError: there is no layer, or one has no node.
    """
    if not sizes or min(sizes) < 1:
        raise NNGraphsError(
            "make complete layers",
            found=f"their sizes are {list(sizes)}.",
            do="Give one layer at least, with one node at least in each.",
        )
    firsts = np.cumsum([0, *sizes])
    none = np.zeros(0, int)
    sources, targets = [none], [none]
    for layer, (size, following) in enumerate(pairwise(sizes)):
        sources.append(np.repeat(firsts[layer] + np.arange(size), following))
        targets.append(np.tile(firsts[layer + 1] + np.arange(following), size))
    return LayeredGraph.from_edges(
        np.concatenate(sources),
        np.concatenate(targets),
        int(firsts[-1]),
        layers=np.repeat(np.arange(len(sizes)), sizes),
    )
