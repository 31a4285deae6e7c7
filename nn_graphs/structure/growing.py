"""Structures of other sizes: every node of a layered graph becomes several, edges become complete.

A structure with one proportion a node is drawn at any scale (Stier & Granitzer, deepstruct). Here
no node is lost: it becomes one at least.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from nn_graphs.errors import NNGraphsError
from nn_graphs.structure.layered_graph import LayeredGraph

CONCENTRATION = 100.0  # of the published Dirichlet distribution: nearly equal proportions


def sample_proportions(
    number: int, generator: np.random.Generator, *, concentration: float = CONCENTRATION
) -> Float[np.ndarray, " number"]:
    """Proportions that add up to one, from a symmetric Dirichlet distribution."""
    return generator.dirichlet(np.full(number, concentration))


def sizes_at(proportions: Sequence[float] | np.ndarray, scale: int) -> Int[np.ndarray, " number"]:
    """`max(1, round(proportion * scale))` for each, e.g. the widths of the layers of a network.

    Raises:
        NNGraphsError: the proportions are negative or do not add up to one, or the scale is
            below 1.
    """
    shares = np.asarray(proportions, float)
    if shares.ndim != 1 or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-3 or scale < 1:
        raise NNGraphsError(
            f"divide a scale of {scale} by {shares.size} proportions",
            found=f"they add up to {shares.sum():.4g}, the smallest is "
            f"{shares.min(initial=np.inf):.4g}.",
            do="Give numbers from 0 to 1 that add up to 1, and a scale of 1 at least.",
        )
    return np.maximum(1, np.round(shares * scale)).astype(int)


def grow(structure: LayeredGraph, sizes: Sequence[int] | np.ndarray) -> LayeredGraph:
    """Every node becomes as many as `sizes` says, every edge all edges between these.

    The nodes that one has become are neighbours, and in its layer.

    Raises:
        NNGraphsError: there is not one positive size a node.
    """
    sizes = np.asarray(sizes)
    if sizes.shape != (structure.num_nodes,) or sizes.dtype.kind not in "iu" or sizes.min() < 1:
        raise NNGraphsError(
            f"grow a structure of {structure.num_nodes} nodes",
            found=f"the sizes are {sizes.dtype} {list(sizes.shape)}, the smallest is "
            f"{sizes.min(initial=0)}.",
            do="Give a whole number from 1 on for each node.",
        )
    ends = np.cumsum(sizes)
    firsts = ends - sizes
    outs, ins = sizes[structure.sources], sizes[structure.targets]
    counts = outs * ins
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    width = np.repeat(ins, counts)
    return LayeredGraph.from_edges(
        np.repeat(firsts[structure.sources], counts) + inside // width,
        np.repeat(firsts[structure.targets], counts) + inside % width,
        int(ends[-1]),
        layers=np.repeat(structure.layers, sizes),
    )
