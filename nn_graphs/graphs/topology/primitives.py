"""The primitives of message passing that every topology has."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

NodeValues = Float[Tensor, "*B num_nodes dim"]
EdgeValues = tuple[Tensor, ...]


def on_edges(function: Callable[..., Tensor], *values: EdgeValues) -> EdgeValues:
    """`function` of values on edges, e.g. `on_edges(torch.add, edges, topology.sources(nodes))`."""
    return tuple(function(*parts) for parts in zip(*values, strict=True))


class MessageStatistics(NamedTuple):
    """Of the messages that reach each neuron; see `Topology.reduce_statistics`."""

    mean: NodeValues
    smallest: NodeValues
    largest: NodeValues
    std: NodeValues


class Topology(ABC):
    """The primitives. Abstract: ends of edges and reductions; the rest follows from them."""

    is_bidirectional: bool
    in_degree: Float[Tensor, "*B num_nodes 1"]

    @abstractmethod
    def join(self, forward: Tensor, backward: Tensor | None, *, fill: Tensor) -> EdgeValues:
        """Values on directed edges, from those of the edges as they are and of the reversed ones.

        Args:
            forward: `[*B, num_edges, dim]`, in the order of the graphs' edges.
            backward: the same, for the reversed edges; None where the topology has none.
            fill: `[dim]`, the value of a pair that no edge joins (complete topology only). Of
                several edges between a pair, what each has above `fill` adds up.
        """

    @abstractmethod
    def split(self, edges: EdgeValues) -> tuple[Tensor, Tensor | None]:
        """The inverse of `join`: values of the edges as they are, and of the reversed ones."""

    @abstractmethod
    def sources(self, nodes: NodeValues) -> EdgeValues:
        """The value of the neuron that each message comes from."""

    @abstractmethod
    def targets(self, nodes: NodeValues) -> EdgeValues:
        """The value of the neuron that each message goes to."""

    @abstractmethod
    def opposite(self, edges: EdgeValues) -> EdgeValues:
        """The value of the same edge in the other direction, where there is one."""

    @abstractmethod
    def reduce_sum(self, edges: EdgeValues) -> NodeValues:
        """Sum over the messages that reach a neuron."""

    @abstractmethod
    def reduce_max(self, edges: EdgeValues) -> NodeValues:
        """Largest message that reaches a neuron, 0 where none does; ties share the gradient."""

    @abstractmethod
    def reduce_min(self, edges: EdgeValues) -> NodeValues:
        """Smallest message that reaches a neuron, 0 where none does; ties share the gradient."""

    @abstractmethod
    def graph_mean(self, nodes: NodeValues) -> Float[Tensor, "*B copies dim"]:
        """Mean over a graph's neurons, broadcast to (or broadcastable over) them."""

    @abstractmethod
    def flatten(self, nodes: NodeValues) -> tuple[Tensor, Int[Tensor, "num_all_nodes"]]:
        """All neurons of all graphs, `[num_all_nodes, dim]`, and which graph each belongs to."""

    @abstractmethod
    def unflatten(self, flat: Float[Tensor, "num_all_nodes dim"]) -> NodeValues:
        """The inverse of `flatten`."""

    def reduce_mean(self, edges: EdgeValues) -> NodeValues:
        """Mean of the messages that reach a neuron, 0 where none does."""
        return self.reduce_sum(edges) / self.in_degree.clamp_min(1)

    def reduce_weighted(self, weights: EdgeValues, edges: EdgeValues) -> NodeValues:
        """Per head, the sum of messages times weights, `[*B, num_nodes, num_heads * dim]`.

        Args:
            weights: one per message and head.
            edges: the messages, shared by all heads.
        """
        products = on_edges(_outer, weights, edges)
        return self.reduce_sum(products)

    def reduce_products(self, factors: EdgeValues, nodes: NodeValues) -> NodeValues:
        """Per direction and head, the sum of the senders' values times factors of the edges.

        For topologies of edges with messages in both directions.

        Args:
            factors: one per message and head, `[..., num_heads]`.
            nodes: `[*B, num_nodes, 2 * num_heads * dim]`, what is sent along edges, then what is
                sent against them; the result holds what arrives in the same order.
        """
        ones = self.split(factors)[0][..., :1].detach() * 0 + 1
        is_along = self.join(ones, torch.zeros_like(ones), fill=ones.new_zeros(1))
        messages = on_edges(_directed_products, factors, self.sources(nodes), is_along)
        return self.reduce_sum(messages)

    def reduce_attended(self, weights: EdgeValues, nodes: NodeValues) -> NodeValues:
        """Per head, the sum of the senders' values, each times a weight of the message.

        Args:
            weights: one per message and head, `[..., num_heads]`.
            nodes: `[*B, num_nodes, num_heads * dim]`, as the result is.
        """
        return self.reduce_sum(on_edges(_attended, weights, self.sources(nodes)))

    def dot_products(
        self, receivers: NodeValues, senders: NodeValues, *, num_heads: int
    ) -> EdgeValues:
        """Per head, the product of a vector of the receiver with one of the sender.

        Args:
            receivers, senders: `[*B, num_nodes, num_heads * dim]`.
            num_heads: the result has so many numbers per message.
        """

        def product(receiver: Tensor, sender: Tensor) -> Tensor:
            return (receiver * sender).unflatten(-1, (num_heads, -1)).sum(-1)

        return on_edges(product, self.targets(receivers), self.sources(senders))

    def reduce_statistics(self, edges: EdgeValues, *, eps: float) -> MessageStatistics:
        """Mean, smallest, largest and spread of the messages that reach a neuron.

        The spread is `sqrt(variance + eps)`, in a second pass; all are 0 where none arrives.
        """
        mean = self.reduce_mean(edges)
        deviations = on_edges(lambda e, m: (e - m).square(), edges, self.targets(mean))
        std = (self.reduce_mean(deviations) + eps).sqrt() * (self.in_degree > 0)
        return MessageStatistics(mean, self.reduce_min(edges), self.reduce_max(edges), std)

    def into_outputs(self) -> "Topology":
        """This topology with the messages alone that reach output neurons.

        Other neurons receive nothing. For the last layer of a model that reads output neurons only;
        `chosen` takes values on all edges to those on its own.
        """
        return self

    def chosen(self, edges: EdgeValues) -> EdgeValues:
        """Of values on the edges of the topology that `into_outputs` was called on, one's own."""
        return edges

    def softmax(self, scores: EdgeValues) -> EdgeValues:
        """Softmax over all messages that reach a neuron."""
        largest = self.reduce_max(scores).detach()
        weights = self._present(on_edges(torch.sub, scores, self.targets(largest)))
        weights = self._present(on_edges(torch.exp, weights))
        total = self.reduce_sum(weights).clamp_min(1e-30)
        return on_edges(torch.div, weights, self.targets(total))

    def _present(self, edges: EdgeValues) -> EdgeValues:
        """`edges`, with 0 where there is only padding."""
        return edges


def _outer(weights: Tensor, edges: Tensor) -> Tensor:
    return (weights.unsqueeze(-1) * edges.unsqueeze(-2)).flatten(-2)


def _directed_products(factors: Tensor, values: Tensor, is_along: Tensor) -> Tensor:
    """Products with the half of the values of a message's own direction; zeros in the other one."""
    heads = values.unflatten(-1, (2, factors.shape[-1], -1))
    directions = torch.cat([is_along, 1 - is_along], dim=-1)[..., None, None]
    return (factors[..., None, :, None] * heads * directions).flatten(-3)


def _attended(weights: Tensor, values: Tensor) -> Tensor:
    heads = values.unflatten(-1, (weights.shape[-1], -1))
    return (weights.unsqueeze(-1) * heads).flatten(-2)
