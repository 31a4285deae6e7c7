"""Which neurons move together where channels of two values are multiplied pair by pair.

In attention, queries and keys share one permutation inside a head, values and outputs another, and
heads permute as blocks. Where several heads read the same keys and values (grouped-query
attention), these heads permute inside their group, and all keep the order of the channels that they
share.
"""

import numpy as np

from nn_graphs.graphs.parts.groups import EdgeBlock
from nn_graphs.graphs.symmetry.colours import Numbers
from nn_graphs.graphs.symmetry.ties import AxisTies


def tie_match(ties: AxisTies, target: int, blocks: list[EdgeBlock]) -> None:
    """Each neuron sums over the products of a row of channels of both arguments."""
    width = max(blocks[0].joins[1]) + 1
    heads = ties.elements(target, np.arange(width))
    rows = [_sources(ties, block).reshape(width, -1) for block in blocks]
    for own in rows:
        distinct, row_of = np.unique(own, axis=0, return_inverse=True)
        if len(distinct) == width:
            ties.nest_elements(own, np.broadcast_to(heads[:, None], own.shape))
        else:
            _nest_shared(ties, distinct, heads, row_of.ravel())
    queries, keys = rows
    if _is_shared(keys) == _is_shared(queries):  # both shared: as if they were not
        ties.tie_elements(queries, keys)
    elif _is_shared(keys):
        ties.follow(queries, keys)
    else:
        ties.follow(keys, queries)


def tie_pairs(ties: AxisTies, target: int, blocks: list[EdgeBlock]) -> None:
    """Each neuron is the product of one channel of each argument."""
    left, right = (_sources(ties, block) for block in blocks)
    outs = ties.elements(target, np.arange(len(left)))
    for own, other in ((left, right), (right, left)):
        if _is_shared(own):
            continue
        ties.tie_elements(outs, own)
        if not _is_shared(other):
            ties.tie_elements(outs, other)
        elif (other != other[0]).any():  # one factor for all tells nothing apart
            ties.nest_elements(outs, other)
        return
    rows = _rows(left, right)
    if rows is None:
        left, right = right, left
        rows = _rows(left, right)
    ties.nest_elements(outs, left)
    if rows is None:
        ties.nest_elements(outs, right)  # a grid: blocks that overlap, which are left fixed
        return
    heads, shared = rows
    distinct, row_of = np.unique(shared, axis=0, return_inverse=True)
    _nest_shared(ties, distinct, heads, row_of.ravel())
    ties.follow(outs, right)


def _rows(left: Numbers, right: Numbers) -> tuple[Numbers, Numbers] | None:
    """The distinct ones on the left, and those that each meets, where each meets as many.

    None where these rows overlap without being the same.
    """
    heads, counts = np.unique(left, return_counts=True)
    if len(np.unique(counts)) > 1:
        return None
    rows = right[np.argsort(left, kind="stable")].reshape(len(heads), -1)
    distinct = np.unique(rows, axis=0)
    is_apart = len(np.unique(distinct)) == distinct.size
    return (heads, rows) if is_apart else None


def _nest_shared(ties: AxisTies, distinct: Numbers, heads: Numbers, row_of: Numbers) -> None:
    """Heads that read one row lie in one block with it."""
    if len(distinct) > 1:  # one block around everything says nothing
        ties.nest_shared(distinct, heads, row_of)


def _sources(ties: AxisTies, block: EdgeBlock) -> Numbers:
    return ties.elements(block.source, block.first_source + np.asarray(block.joins[0]))


def _is_shared(elements: Numbers) -> bool:
    return len(np.unique(elements)) < elements.size
