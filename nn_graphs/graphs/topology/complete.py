"""All pairs of the neurons of each graph, for the published relational transformer."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from nn_graphs.graphs.topology.primitives import EdgeValues, NodeValues, Topology


class CompleteTopology(Topology):
    """All pairs of the neurons of each graph, itself included; smaller graphs are padded.

    The value of an edge as the graph has it lies where its target receives, that of the reversed
    edge where its source does.

    Args:
        edge_index: ends of the edges, as numbers of neurons over all graphs.
        graph_id: the graph of each neuron; neurons of a graph stand together, graphs in order.
        graph_size: neurons of each graph.
        max_nodes: the largest of these.
        has_virtual_node: every graph has one more node, number 0 of `[B, max_nodes, dim]`, that is
            no neuron: pairs with it begin as zeros, and `flatten` leaves it out.
        num_outputs: given where all graphs are of one size (so that there is no padding) and end in
            so many outputs.
    """

    is_bidirectional = True

    def __init__(
        self,
        edge_index: Int[Tensor, "2 *B num_edges"],
        graph_id: Int[Tensor, "num_nodes"],
        *,
        graph_size: Int[Tensor, "num_graphs"],
        max_nodes: int,
        has_virtual_node: bool = False,
        num_outputs: int | None = None,
    ):
        self.num_outputs = num_outputs
        self.has_padding = num_outputs is None
        self.graph_id, self.has_virtual_node = graph_id, has_virtual_node
        self.num_graphs, self.max_nodes = len(graph_size), max_nodes + has_virtual_node
        start = graph_size.cumsum(0) - graph_size
        number = torch.arange(len(graph_id), device=graph_id.device) - start[graph_id]
        self.place = graph_id * self.max_nodes + number + has_virtual_node  # in the padded layout
        source, target = self.place[edge_index]
        self.forward_pair = target * self.max_nodes + source % self.max_nodes
        self.backward_pair = source * self.max_nodes + target % self.max_nodes
        places = torch.arange(self.max_nodes, device=graph_id.device)
        is_real = places < graph_size.unsqueeze(1) + has_virtual_node
        self.is_real: Bool[Tensor, "B max_nodes 1"] = is_real.unsqueeze(-1)
        self.is_pair: Bool[Tensor, "B receivers senders 1"] = self.is_real.unsqueeze(
            2
        ) & self.is_real.unsqueeze(1)
        self.in_degree = self.is_pair.sum(2)

    def into_outputs(self) -> Topology:
        return self if self.num_outputs is None else _IntoOutputs(self, self.num_outputs)

    def join(self, forward: Tensor, backward: Tensor | None, *, fill: Tensor) -> EdgeValues:
        pairs = fill.expand(self.num_graphs * self.max_nodes**2, -1)
        for place, values in ((self.forward_pair, forward), (self.backward_pair, backward)):
            flat = values.reshape(-1, values.shape[-1])
            pairs = pairs.index_add(0, place.flatten(), flat - fill)
        pairs = pairs.unflatten(0, (self.num_graphs, self.max_nodes, self.max_nodes))
        if self.has_virtual_node:
            pairs = pad(pairs[:, 1:, 1:], (0, 0, 1, 0, 1, 0))
        return (pairs,)

    def split(self, edges: EdgeValues) -> tuple[Tensor, Tensor | None]:
        flat = edges[0].flatten(0, 2)
        return flat[self.forward_pair], flat[self.backward_pair]

    def sources(self, nodes: NodeValues) -> EdgeValues:
        return (nodes.unsqueeze(1),)

    def targets(self, nodes: NodeValues) -> EdgeValues:
        return (nodes.unsqueeze(2),)

    def opposite(self, edges: EdgeValues) -> EdgeValues:
        return (edges[0].transpose(1, 2),)

    def reduce_sum(self, edges: EdgeValues) -> NodeValues:
        return self._present(edges)[0].sum(2)

    def reduce_weighted(self, weights: EdgeValues, edges: EdgeValues) -> NodeValues:
        (present,) = self._present(weights)
        return (present.transpose(2, 3) @ edges[0]).flatten(-2)

    def reduce_max(self, edges: EdgeValues) -> NodeValues:
        return self._extreme(edges[0], torch.amax, neutral=float("-inf"))

    def reduce_min(self, edges: EdgeValues) -> NodeValues:
        return self._extreme(edges[0], torch.amin, neutral=float("inf"))

    def graph_mean(self, nodes: NodeValues) -> Float[Tensor, "*B copies dim"]:
        total = torch.where(self.is_real, nodes, 0.0).sum(1, keepdim=True)
        return total / self.is_real.sum(1, keepdim=True)

    def flatten(self, nodes: NodeValues) -> tuple[Tensor, Int[Tensor, "num_all_nodes"]]:
        return nodes.flatten(0, 1).index_select(0, self.place), self.graph_id

    def unflatten(self, flat: Float[Tensor, "num_all_nodes dim"]) -> NodeValues:
        padded = flat.new_zeros(self.num_graphs * self.max_nodes, flat.shape[-1])
        padded = padded.index_copy(0, self.place, flat)
        return padded.unflatten(0, (self.num_graphs, self.max_nodes))

    def softmax(self, scores: EdgeValues) -> EdgeValues:
        (values,) = scores
        if self.has_padding:  # nobody listens to padding; what padding itself hears does not matter
            values = torch.where(self.is_real.unsqueeze(1), values, float("-inf"))
        return self._present((values.softmax(2),))

    def _extreme(self, edges: Tensor, reduction: Callable, *, neutral: float) -> NodeValues:
        if not self.has_padding:
            return reduction(edges, dim=2)
        extreme = reduction(torch.where(self.is_pair, edges, neutral), dim=2)
        return torch.where(self.is_real, extreme, 0.0)

    def _present(self, edges: EdgeValues) -> EdgeValues:
        if not self.has_padding:
            return edges
        return tuple(torch.where(self.is_pair, part, 0.0) for part in edges)


class _IntoOutputs(CompleteTopology):
    """Of a complete topology without padding, the pairs whose receiver is an output neuron."""

    def __init__(self, whole: CompleteTopology, num_outputs: int):
        vars(self).update(vars(whole))
        self.num_receivers = num_outputs
        is_output = torch.arange(whole.max_nodes, device=whole.place.device) >= (
            whole.max_nodes - num_outputs
        )
        self.in_degree = whole.in_degree * is_output.unsqueeze(-1)

    def chosen(self, edges: EdgeValues) -> EdgeValues:
        return tuple(part[:, -self.num_receivers :] for part in edges)

    def targets(self, nodes: NodeValues) -> EdgeValues:
        return super().targets(nodes[:, -self.num_receivers :])

    def reduce_sum(self, edges: EdgeValues) -> NodeValues:
        return self._among_all(super().reduce_sum(edges))

    def reduce_weighted(self, weights: EdgeValues, edges: EdgeValues) -> NodeValues:
        return self._among_all(super().reduce_weighted(weights, edges))

    def _extreme(self, edges: Tensor, reduction: Callable, *, neutral: float) -> NodeValues:
        return self._among_all(super()._extreme(edges, reduction, neutral=neutral))

    def _among_all(self, outputs: Tensor) -> NodeValues:
        """Values of output neurons, with 0 for the others."""
        return pad(outputs, (0, 0, self.max_nodes - self.num_receivers, 0))
