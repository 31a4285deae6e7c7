"""Stages that the nodes of many directed acyclic graphs share, with few places left empty.

Every graph puts each of its nodes into a stage behind those of the nodes that lead to it. Layers
would be such stages, but those of many graphs together are as wide as the widest one everywhere;
nodes, however, may wait. Stage after stage gets as many places as the graph that is furthest behind
needs to be done when the deepest one is, and each graph fills them with the nodes from which the
longest paths start (list scheduling: Hu, Operations Research 1961).
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import numpy as np
from jaxtyping import Int

from nn_graphs.structure.layered_graph import LayeredGraph


def common_stages(
    graphs: Sequence[LayeredGraph],
) -> tuple[Int[np.ndarray, " stages"], list[Int[np.ndarray, " _"]]]:
    """Stages for graphs between inputs and outputs.

    The first layer of every graph is the first stage, its last layer the last one; the second stage
    has all nodes that wait for nothing but inputs.

    Returns:
        How many places every stage has, and for each graph the stage of every node.
    """
    queues = [_Queue(graph) for graph in graphs]
    sizes = [max(int(graph.layer_sizes[0]) for graph in graphs)]
    while any(queue.num_left for queue in queues):
        if len(sizes) == 1:
            width = max(len(queue.ready) for queue in queues)
        else:
            num_stages = max(queue.longest_path() for queue in queues)
            width = max(-(-queue.num_left // num_stages) for queue in queues)
        for queue in queues:
            queue.place(len(sizes), width)
        sizes.append(width)
    for queue in queues:
        queue.stages[queue.graph.nodes_by_layer[-1]] = len(sizes)
    sizes.append(max(int(graph.layer_sizes[-1]) for graph in graphs))
    return np.array(sizes), [queue.stages for queue in queues]


class _Queue:
    """The nodes of one graph that have no stage yet; `ready` are those that wait for none."""

    def __init__(self, graph: LayeredGraph):
        self.graph, self.stages = graph, np.zeros(graph.num_nodes, int)
        ends = graph.targets, graph.sources
        self.heights = LayeredGraph.from_edges(*ends, graph.num_nodes).layers.tolist()
        is_hidden = (graph.layers > 0) & (graph.layers < graph.num_layers - 1)
        inside = is_hidden[graph.sources] & is_hidden[graph.targets]
        self.waits = np.bincount(graph.targets[inside], minlength=graph.num_nodes).tolist()
        self.followers: list[list[int]] = [[] for _ in range(graph.num_nodes)]
        pairs = graph.sources[inside].tolist(), graph.targets[inside].tolist()
        for source, target in zip(*pairs, strict=True):
            self.followers[source].append(target)
        self.num_left = int(is_hidden.sum())
        hidden = np.flatnonzero(is_hidden).tolist()
        self.ready = [(-self.heights[n], n) for n in hidden if not self.waits[n]]
        heapify(self.ready)

    def longest_path(self) -> int:
        """Nodes on the longest path of those that are left, the outputs not counted.

        It starts at a node that is ready; one that leads nowhere is a path of its own.
        """
        return max(1, -self.ready[0][0]) if self.ready else 0

    def place(self, stage: int, width: int) -> None:
        """Puts so many ready nodes, or all, into a stage."""
        placed = [heappop(self.ready)[1] for _ in range(min(width, len(self.ready)))]
        self.stages[placed] = stage
        self.num_left -= len(placed)
        for node in placed:
            for follower in self.followers[node]:
                self.waits[follower] -= 1
                if not self.waits[follower]:
                    heappush(self.ready, (-self.heights[follower], follower))
