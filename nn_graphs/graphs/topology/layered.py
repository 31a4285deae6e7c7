"""Blocks of edges between the groups of one architecture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.graphs.graph_structure import GraphStructure
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.node_groups import NodeGroup
from nn_graphs.graphs.topology.complete import CompleteTopology
from nn_graphs.graphs.topology.primitives import EdgeValues, MessageStatistics, NodeValues, Topology
from nn_graphs.graphs.topology.reductions import (
    GroupStatistics,
    group_max,
    group_min,
    group_sum,
)


class LayeredTopology(Topology):
    """Blocks of edges between the groups of one architecture.

    `bidirectional` is the same topology with messages in both directions.
    """

    _chosen: list[int]  # of `into_outputs`: which parts of the whole it has

    def __init__(
        self,
        groups: Sequence[NodeGroup],
        blocks: Sequence[EdgeBlock],
        structure: GraphStructure,
        *,
        is_bidirectional: bool = False,
    ):
        self.groups, self.blocks, self.structure = tuple(groups), tuple(blocks), structure
        self.is_bidirectional = is_bidirectional
        directions = (False, True) if is_bidirectional else (False,)
        self._set_parts([Messages(block, back) for back in directions for block in blocks])
        self._into_outputs = self._restricted()
        self.bidirectional = (
            self
            if is_bidirectional
            else LayeredTopology(groups, blocks, structure, is_bidirectional=True)
        )

    def _set_parts(self, parts: "Sequence[Messages]") -> None:
        self.parts = tuple(parts)
        self._arriving = [
            [number for number, part in enumerate(parts) if part.receiver == group]
            for group in range(len(self.groups))
        ]
        degree = torch.zeros_like(self.structure.offset)
        for part in parts:
            start = self.groups[part.receiver].start
            degree[start : start + part.num_receivers] += part.num_senders
        self.in_degree = degree.unsqueeze(-1)

    def complete(self, num_graphs: int, *, has_virtual_node: bool = False) -> CompleteTopology:
        """All pairs of the neurons of each graph."""
        num_nodes, device = len(self.structure.layer_id), self.structure.layer_id.device
        graphs = torch.arange(num_graphs, device=device)
        edge_index = self.structure.edge_index.unsqueeze(1) + num_nodes * graphs.view(1, -1, 1)
        return CompleteTopology(
            edge_index,
            graphs.repeat_interleave(num_nodes),
            graph_size=torch.full_like(graphs, num_nodes),
            max_nodes=num_nodes,
            has_virtual_node=has_virtual_node,
            num_outputs=self.groups[-1].width,
        )

    def into_outputs(self) -> "LayeredTopology":
        return self._into_outputs

    def _restricted(self) -> "LayeredTopology":
        restricted = object.__new__(LayeredTopology)
        vars(restricted).update({name: vars(self)[name] for name in _SHARED})
        last = len(self.groups) - 1  # templates put the outputs last
        restricted._chosen = self._arriving[last]
        restricted._set_parts([self.parts[number] for number in restricted._chosen])
        return restricted

    def chosen(self, edges: EdgeValues) -> EdgeValues:
        return tuple(edges[number] for number in self._chosen)

    def blocks_into(self, group: int) -> list[EdgeBlock]:
        """The blocks of edges that reach a group."""
        return [block for block in self.blocks if block.target == group]

    def join(self, forward: Tensor, backward: Tensor | None, *, fill: Tensor) -> EdgeValues:
        directions = (forward, backward) if self.is_bidirectional else (forward,)
        return tuple(part for values in directions for part in self._blocks_of(values))

    def split(self, edges: EdgeValues) -> tuple[Tensor, Tensor | None]:
        flat = [
            values.flatten(1, 2) if part.block.is_dense else values
            for values, part in zip(edges, self.parts, strict=True)
        ]
        forward, backward = flat[: len(self.blocks)], flat[len(self.blocks) :]
        return torch.cat(forward, dim=1), torch.cat(backward, dim=1) if backward else None

    def sources(self, nodes: NodeValues) -> EdgeValues:
        groups = nodes.split([group.width for group in self.groups], dim=1)
        return tuple(part.of_senders(groups[part.sender]) for part in self.parts)

    def targets(self, nodes: NodeValues) -> EdgeValues:
        groups = nodes.split([group.width for group in self.groups], dim=1)
        return tuple(part.of_receivers(groups[part.receiver]) for part in self.parts)

    def opposite(self, edges: EdgeValues) -> EdgeValues:
        assert self.is_bidirectional
        return (*edges[len(self.blocks) :], *edges[: len(self.blocks)])

    def reduce_sum(self, edges: EdgeValues) -> NodeValues:
        return self._per_group(edges, group_sum)

    def reduce_max(self, edges: EdgeValues) -> NodeValues:
        return self._per_group(edges, group_max)

    def reduce_min(self, edges: EdgeValues) -> NodeValues:
        return self._per_group(edges, group_min)

    def reduce_weighted(self, weights: EdgeValues, edges: EdgeValues) -> NodeValues:
        sums = tuple(
            part.weighted_sums(*values)
            for part, *values in zip(self.parts, weights, edges, strict=True)
        )
        return self._summed(sums, range(len(sums)))

    def reduce_products(self, factors: EdgeValues, nodes: NodeValues) -> NodeValues:
        directions = [self.sources(half) for half in nodes.chunk(2, dim=-1)]
        sums = tuple(
            part.products(values, directions[part.is_reversed][number])
            for number, (part, values) in enumerate(zip(self.parts, factors, strict=True))
        )
        half = len(self.blocks)
        halves = (range(half), range(half, 2 * half))
        return torch.cat([self._summed(sums, numbers) for numbers in halves], dim=-1)

    def reduce_attended(self, weights: EdgeValues, nodes: NodeValues) -> NodeValues:
        values = zip(self.parts, weights, self.sources(nodes), strict=True)
        sums = tuple(part.products(*each) for part, *each in values)
        return self._summed(sums, range(len(sums)))

    def dot_products(
        self, receivers: NodeValues, senders: NodeValues, *, num_heads: int
    ) -> EdgeValues:
        return tuple(
            part.dot_products(*values, num_heads=num_heads)
            for part, *values in zip(
                self.parts, self.targets(receivers), self.sources(senders), strict=True
            )
        )

    def reduce_statistics(self, edges: EdgeValues, *, eps: float) -> MessageStatistics:
        rows = []
        for group, numbers in zip(self.groups, self._arriving, strict=True):
            if numbers:
                degree = self.in_degree[group.start : group.stop].clamp_min(1)
                axes = tuple(self.parts[number].sender_axis for number in numbers)
                parts = (edges[number] for number in numbers)
                rows.append(GroupStatistics.apply(degree, eps, axes, *parts))
            else:
                rows.append([_no_messages(edges, group)] * 4)
        statistics = (torch.cat(values, dim=1) for values in zip(*rows, strict=True))
        return MessageStatistics(*(self._where_any(values) for values in statistics))

    def graph_mean(self, nodes: NodeValues) -> Float[Tensor, "*B copies dim"]:
        return nodes.mean(dim=1, keepdim=True)

    def flatten(self, nodes: NodeValues) -> tuple[Tensor, Int[Tensor, "num_all_nodes"]]:
        graphs = torch.arange(nodes.shape[0], device=nodes.device)
        return nodes.flatten(0, 1), graphs.repeat_interleave(nodes.shape[1])

    def unflatten(self, flat: Float[Tensor, "num_all_nodes dim"]) -> NodeValues:
        return flat.unflatten(0, (-1, len(self.structure.layer_id)))

    def _blocks_of(self, values: Tensor) -> list[Tensor]:
        parts = values.split([block.num_edges for block in self.blocks], dim=1)
        return [
            part.unflatten(1, (block.num_targets, block.num_sources)) if block.is_dense else part
            for part, block in zip(parts, self.blocks, strict=True)
        ]

    def _per_group(self, edges: EdgeValues, reduction: Callable) -> NodeValues:
        """Reduces all that reaches a group of neurons, by one part or several."""
        rows = []
        for group, numbers in zip(self.groups, self._arriving, strict=True):
            parts = [edges[number] for number in numbers]
            axes = [self.parts[number].sender_axis for number in numbers]
            reduced = reduction(parts, axes, group.width) if parts else _no_messages(edges, group)
            rows.append(reduced)
        return self._where_any(torch.cat(rows, dim=1))

    def _summed(self, sums: EdgeValues, numbers: range) -> NodeValues:
        """What reaches each group of neurons, of sums over each part, by some of the parts."""
        rows = []
        for group, arriving in zip(self.groups, self._arriving, strict=True):
            parts = [sums[number] for number in arriving if number in numbers]
            reduced = group_sum(parts, [None] * len(parts), group.width) if parts else None
            rows.append(_no_messages(sums, group) if reduced is None else reduced)
        return torch.cat(rows, dim=1)  # sums of nothing are zeros

    def _where_any(self, nodes: NodeValues) -> NodeValues:
        return torch.where(self.in_degree > 0, nodes, 0.0)


_SHARED = ("groups", "blocks", "structure", "is_bidirectional")


def _no_messages(edges: EdgeValues, group: NodeGroup) -> Float[Tensor, "B width dim"]:
    return edges[0].new_zeros(len(edges[0]), group.width, edges[0].shape[-1])


@dataclass(frozen=True)
class Messages:
    """The messages of one block of edges in one direction: one part of the values on edges."""

    block: EdgeBlock
    is_reversed: bool

    @property
    def receiver(self) -> int:
        """Number of the group that the messages reach."""
        return self.block.source if self.is_reversed else self.block.target

    @property
    def sender(self) -> int:
        """Number of the group that they come from."""
        return self.block.target if self.is_reversed else self.block.source

    @property
    def num_receivers(self) -> int:
        return self.block.num_sources if self.is_reversed else self.block.num_targets

    @property
    def num_senders(self) -> int:
        """Messages that each receiver gets."""
        if not self.block.is_dense:
            return 1
        return self.block.num_targets if self.is_reversed else self.block.num_sources

    @property
    def sender_axis(self) -> int | None:
        """The axis of the part that senders are on; None: receiver i has the one sender i."""
        return (1 if self.is_reversed else 2) if self.block.is_dense else None

    def of_receivers(self, values: Float[Tensor, "B width dim"]) -> Tensor:
        """Values of the receivers' group, as they broadcast against the part."""
        values = values[:, : self.num_receivers]
        return values if self.sender_axis is None else values.unsqueeze(self.sender_axis)

    def of_senders(self, values: Float[Tensor, "B width dim"]) -> Tensor:
        """Values of the senders' group, as they broadcast against the part."""
        if self.sender_axis is None:
            return values[:, : self.num_receivers]
        return values[:, : self.num_senders].unsqueeze(3 - self.sender_axis)

    def weighted_sums(self, weights: Tensor, values: Tensor) -> Float[Tensor, "B receivers _"]:
        """Of a part, per receiver and head, the sum of values times weights."""
        if self.sender_axis is None:
            return (weights.unsqueeze(-1) * values.unsqueeze(-2)).flatten(-2)
        if self.is_reversed:
            weights, values = weights.transpose(1, 2), values.transpose(1, 2)
        return (weights.transpose(2, 3) @ values).flatten(-2)

    def products(
        self, factors: Tensor, senders: Tensor
    ) -> Float[Tensor, "B receivers heads_and_dim"]:
        """Of a part, per receiver and head, the sum of the senders' values times factors."""
        num_heads = factors.shape[-1]
        if self.sender_axis is None:
            values = senders.unflatten(-1, (num_heads, -1))
            return (factors.unsqueeze(-1) * values).flatten(-2)
        values = senders.squeeze(3 - self.sender_axis).unflatten(-1, (num_heads, -1))
        matrices = factors.permute(0, 3, 2, 1) if self.is_reversed else factors.permute(0, 3, 1, 2)
        return (matrices @ values.transpose(1, 2)).transpose(1, 2).flatten(-2)

    def dot_products(self, receivers: Tensor, senders: Tensor, *, num_heads: int) -> Tensor:
        """Of a part, per message and head, the product of its receiver's and its sender's vector.

        Args:
            receivers, senders: as `of_receivers` and `of_senders` give them.
            num_heads: vectors of so many heads lie behind each other.
        """
        receivers, senders = (
            values.unflatten(-1, (num_heads, -1)) for values in (receivers, senders)
        )
        if self.sender_axis is None:
            return (receivers * senders).sum(-1)
        receivers = receivers.squeeze(self.sender_axis).transpose(1, 2)  # [B, heads, width, dim]
        senders = senders.squeeze(3 - self.sender_axis).transpose(1, 2)
        targets, sources = (senders, receivers) if self.is_reversed else (receivers, senders)
        return (targets @ sources.mT).permute(0, 2, 3, 1)
