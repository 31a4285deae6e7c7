"""Which earlier layers each layer of a layered graph reads at once, and the graph back from masks.

A layer reads either only those that lead to it, or all from some layer on (a window), which takes
fewer and cheaper operations but larger matrices with more zeros in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from nn_graphs.structure.layered_graph import LayeredGraph

MAX_SURPLUS = 2.0  # weights of windows to those of single layers, where there are many
FEW_WEIGHTS = 2**16  # so many are multiplied in less time than an operation takes to start


@dataclass(frozen=True)
class Reading:
    """What the layers behind the first one read.

    Attributes:
        layers: for each, the earlier ones, ascending.
        is_windowed: whether these are always all from some layer on, never an earlier one than
            for the layer before.
        kept: with windows, for each layer, how many of the values that it has read the next one
            reads too.
    """

    layers: tuple[tuple[int, ...], ...]
    is_windowed: bool
    kept: tuple[int, ...]

    def first_values(self, sizes: Int[np.ndarray, " layers"]) -> list[int]:
        """For each layer how many values lie before the first layer that it reads."""
        before = np.cumsum(sizes) - sizes
        return [int(before[reads[0]]) for reads in self.layers]


def make_reading(
    sizes: Int[np.ndarray, " layers"], connections: Shaped[np.ndarray, "layers layers"]
) -> Reading:
    """Windows where their matrices are small, or not much larger than those of single layers.

    Args:
        sizes: nodes of every layer.
        connections: not zero where an edge leads from one layer (row) to a later one (column).
    """
    single = [
        tuple(np.flatnonzero(connections[:number, number]).tolist()) or (number - 1,)
        for number in range(1, len(sizes))
    ]
    firsts = np.minimum.accumulate([reads[0] for reads in single][::-1])[::-1]
    windows = [tuple(range(first, number)) for number, first in enumerate(firsts.tolist(), 1)]
    weights = [
        sum(int(sizes[list(reads)].sum() * sizes[number]) for number, reads in enumerate(own, 1))
        for own in (windows, single)
    ]
    if not are_few(*weights):
        return Reading(tuple(single), False, ())
    following = [*(own[0] for own in windows[1:]), len(sizes) - 1]
    kept = tuple(int(sizes[first:number].sum()) for number, first in enumerate(following, 1))
    return Reading(tuple(windows), True, kept)


def are_few(num_weights: int, num_needed: int) -> bool:
    """Whether products with so many weights take about as long as with those that are needed."""
    return num_weights <= max(MAX_SURPLUS * num_needed, FEW_WEIGHTS)


def next_window(window: Tensor, values: Tensor, kept: int) -> Tensor:
    """What the next layer reads: the last `kept` of the values read before, then the new ones.

    Values lie on the second axis.
    """
    if not kept:
        return values
    if kept < window.shape[1]:  # a slice's gradient is written into zeros of the window's size
        window = window[:, -kept:]
    return torch.cat([window.expand(values.shape[0], *window.shape[1:]), values], 1)


def read_layers(
    nodes: Sequence[Int[np.ndarray, " _"]],
    node_layers: Int[np.ndarray, " n"],
    masks: Sequence[tuple[int, Sequence[int], Bool[np.ndarray, "_ _"]]],
) -> LayeredGraph:
    """The graph of masks.

    Args:
        nodes: of every layer, in the order of rows and columns.
        node_layers: the layer of every node.
        masks: for each the layer of its rows, those of its columns, and which connections exist.
    """
    none = np.zeros(0, int)
    sources, targets = [none], [none]
    for layer, reads, mask in masks:
        rows, columns = mask.nonzero()
        sources.append(np.concatenate([nodes[read] for read in reads])[columns])
        targets.append(nodes[layer][rows])
    return LayeredGraph.from_edges(
        np.concatenate(sources), np.concatenate(targets), len(node_layers), layers=node_layers
    )
