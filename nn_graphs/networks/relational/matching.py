"""Widths for which a network with a relational graph costs as many FLOPs as its dense baseline.

The published procedure (You et al., ICML 2020, section 3.3, and its code, which decides what the
paper leaves open), so that the published widths come out. Widths of stages change, stem and head
keep theirs.
"""

import math
from collections.abc import Callable
from functools import cache

from nn_graphs.networks.relational.architectures import Architecture
from nn_graphs.networks.relational.graph import RelationalGraph

Widths = tuple[int, ...]


def match_widths(
    architecture: Architecture, graph: RelationalGraph, *, target_flops: int | None = None
) -> Widths:
    """Widths of the stages, so that FLOPs come close to a target and not below it.

    Args:
        architecture: the kind of network.
        graph: says which weights there are.
        target_flops: those of the dense baseline where it is None.

    Raises:
        NNGraphsError: on the way, a layer gets fewer channels than the graph has nodes, and the
            graph comes in one size.
    """
    target = target_flops or architecture.baseline.num_flops(None)

    @cache
    def count(widths: Widths) -> int:
        return architecture.shape(widths).num_flops(graph)

    widths = architecture.baseline_widths
    if count(widths) == target:
        return widths
    for _ in range(architecture.num_scalings):
        scale = round(math.sqrt(target / count(widths)), 2)
        widths = _rescaled(widths, round(widths[0] * scale))
    widths = _step_all(widths, count, target)
    return _step_each(widths, count, target)


def _rescaled(widths: Widths, first: int) -> Widths:
    """All widths in proportion to a new first one."""
    first = max(first, 1)
    return tuple(max(round(first * (width / widths[0])), 1) for width in widths)


def _step_all(widths: Widths, count: Callable[[Widths], int], target: int) -> Widths:
    """Moves the first width by ones, the others in proportion, until the target is reached.

    Where the last step went below it, that step is taken back; since proportions are rounded at
    each step, this need not lead to the widths before it.
    """
    is_below = count(widths) < target
    step = 1 if is_below else -1
    while True:
        before, widths = widths, _rescaled(widths, widths[0] + step)
        flops = count(widths)
        if flops == target or widths == before:  # the latter where no channel can go any more
            return widths
        if (flops < target) != is_below:
            return widths if is_below else _rescaled(widths, widths[0] - step)


def _step_each(widths: Widths, count: Callable[[Widths], int], target: int) -> Widths:
    """Moves the widths of later stages by ones towards the target, without crossing it."""
    is_below = count(widths) < target
    step = 1 if is_below else -1
    moved = list(widths)
    for stage in range(1, len(widths)):
        for _ in range(round(widths[stage] / widths[0])):
            moved[stage] += step
            if moved[stage] < 1 or (count(tuple(moved)) < target) != is_below:
                moved[stage] -= step
                break
    return tuple(moved)
