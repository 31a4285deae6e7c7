"""Edges as pairs of node numbers, for any mix of architectures."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.graphs.graph_structure import GraphStructure
from nn_graphs.graphs.topology.complete import CompleteTopology
from nn_graphs.graphs.topology.edge_reductions import Receivers
from nn_graphs.graphs.topology.primitives import EdgeValues, NodeValues, Topology


class EdgeListTopology(Topology):
    """Edges as pairs of node numbers, over a batch of any graphs."""

    def __init__(
        self,
        structure: GraphStructure,
        graph_id: Int[Tensor, "num_nodes"],
        *,
        is_bidirectional: bool = False,
    ):
        self.structure, self.graph_id = structure, graph_id
        self.is_bidirectional = is_bidirectional
        self.num_nodes, self.num_edges = len(graph_id), structure.edge_index.shape[1]
        edge_index = structure.edge_index
        if is_bidirectional:
            edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)
        self.source, self.target = edge_index
        self.receivers = Receivers(self.target, self.num_nodes)
        self.in_degree = self.receivers.num_received.to(structure.offset.dtype).unsqueeze(-1)
        self.graph_size = torch.bincount(graph_id)
        self.num_graphs = len(self.graph_size)

    @property
    def bidirectional(self) -> "EdgeListTopology":
        """The same edges, with messages in both directions."""
        return EdgeListTopology(self.structure, self.graph_id, is_bidirectional=True)

    def complete(self, num_graphs: int, *, has_virtual_node: bool = False) -> CompleteTopology:
        """All pairs of the neurons of each graph."""
        graph_size = torch.bincount(self.graph_id, minlength=num_graphs)
        return CompleteTopology(
            self.structure.edge_index,
            self.graph_id,
            graph_size=graph_size,
            max_nodes=int(graph_size.max()),
            has_virtual_node=has_virtual_node,
        )

    def join(self, forward: Tensor, backward: Tensor | None, *, fill: Tensor) -> EdgeValues:
        return (torch.cat([forward, backward]) if self.is_bidirectional else forward,)

    def split(self, edges: EdgeValues) -> tuple[Tensor, Tensor | None]:
        backward = edges[0][self.num_edges :] if self.is_bidirectional else None
        return edges[0][: self.num_edges], backward

    def sources(self, nodes: NodeValues) -> EdgeValues:
        return (nodes.index_select(0, self.source),)

    def targets(self, nodes: NodeValues) -> EdgeValues:
        return (nodes.index_select(0, self.target),)

    def opposite(self, edges: EdgeValues) -> EdgeValues:
        assert self.is_bidirectional
        return (edges[0].roll(self.num_edges, dims=0),)

    def reduce_sum(self, edges: EdgeValues) -> NodeValues:
        return self.receivers.reduce(edges[0], "sum")

    def reduce_max(self, edges: EdgeValues) -> NodeValues:
        return self.receivers.reduce(edges[0], "max")

    def reduce_min(self, edges: EdgeValues) -> NodeValues:
        return self.receivers.reduce(edges[0], "min")

    def graph_mean(self, nodes: NodeValues) -> Float[Tensor, "*B copies dim"]:
        total = nodes.new_zeros(self.num_graphs, nodes.shape[1]).index_add(0, self.graph_id, nodes)
        return (total / self.graph_size.unsqueeze(1)).index_select(0, self.graph_id)

    def flatten(self, nodes: NodeValues) -> tuple[Tensor, Int[Tensor, "num_all_nodes"]]:
        return nodes, self.graph_id

    def unflatten(self, flat: Float[Tensor, "num_all_nodes dim"]) -> NodeValues:
        return flat
