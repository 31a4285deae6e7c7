"""Undirected graphs as directed acyclic ones: each edge runs from the earlier node to the later.

Which node comes earlier is an order of the nodes: their own, as the Watts-Strogatz graphs of Stier
& Granitzer (deepstruct) are read, any that is given, or one by their degrees. Every order gives a
graph without cycles, and every acyclic way to direct the edges comes from an order.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from nn_graphs.errors import NNGraphsError, check_known

RULES = ("numbers", "hubs_first", "hubs_last")


def acyclic_orientation(
    sources: Int[np.ndarray, " e"],
    targets: Int[np.ndarray, " e"],
    num_nodes: int,
    *,
    order: str | Sequence[int] = "numbers",
) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"]]:
    """Directs every edge from the node that is earlier in an order to the later one.

    Args:
        sources, targets: the two ends of each edge, in any order.
        num_nodes: how many nodes there are.
        order: "numbers" takes nodes as they are numbered, "hubs_first" and "hubs_last" by their
            degree (of equal ones by number); or all nodes in the order that is meant.

    Returns:
        Sources and targets.

    Raises:
        NNGraphsError: the order is unknown or does not name every node once, or an edge joins a
            node to itself.
    """
    asked = f"direct the edges of an undirected graph of {num_nodes} nodes"
    loops = np.flatnonzero(sources == targets)
    if len(loops):
        raise NNGraphsError(
            asked,
            found=f"{len(loops)} edges join a node to itself, the first node {sources[loops[0]]}.",
            do="Leave them out.",
        )
    ranks = _ranks(sources, targets, num_nodes, order, asked)
    is_forward = ranks[sources] < ranks[targets]
    return np.where(is_forward, sources, targets), np.where(is_forward, targets, sources)


def _ranks(
    sources: np.ndarray,
    targets: np.ndarray,
    num_nodes: int,
    order: str | Sequence[int],
    asked: str,
) -> Int[np.ndarray, " n"]:
    """The place of every node."""
    if isinstance(order, str):
        check_known(order, RULES, asked=f"{asked} by {order!r}")
        degrees = np.bincount(np.concatenate([sources, targets]), minlength=num_nodes)
        signs = {"numbers": 0, "hubs_first": -1, "hubs_last": 1}
        order = np.argsort(degrees * signs[order], kind="stable")
    nodes = np.asarray(order)
    if not np.array_equal(np.sort(nodes), np.arange(num_nodes)):
        raise NNGraphsError(
            asked,
            found=f"the order of {len(nodes)} nodes does not name each of them once.",
            do=f"Give every number from 0 to {num_nodes - 1} once.",
        )
    ranks = np.empty(num_nodes, np.int64)
    ranks[nodes] = np.arange(num_nodes)
    return ranks
