"""Topologies: the few primitives that message passing needs, so that encoders are written once.

Values on neurons are one tensor, values on edges a tuple of parts, whose layout is the topology's
own business: `on_edges` applies a function part by part, and the values of the neurons at the ends
of edges come in shapes that broadcast against them. Three implementations, equal to rounding:

- `LayeredTopology`: graphs of one architecture. Nodes are `[B, num_nodes, dim]`; every dense block
  of edges is a part `[B, num_targets, num_sources, dim]`, every diagonal one `[B, length, dim]`. A
  neuron's value reaches its edges by broadcasting, edges reach their neuron along an axis.
- `EdgeListTopology`: any mix of architectures. Nodes are `[num_nodes, dim]` of all graphs of a
  batch, edges one part `[num_directed, dim]`.
- `CompleteTopology`: all pairs of neurons of a graph, for the published relational transformer.
  Nodes are `[B, max_nodes, dim]`, edges one part `[B, receivers, senders, dim]`.

An edge carries messages in both directions (or, on request, only forward): the parts of all edges
as the graph has them come first, then those of all edges reversed. "Source" and "target" are meant
in the direction of the message. No value ever crosses from one graph of a batch to another.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad
from torch_geometric.utils import to_dense_batch

if TYPE_CHECKING:
    from nn_graphs.graphs.neural_graph import GraphStructure
    from nn_graphs.graphs.template import EdgeBlock, NodeGroup

NodeValues = Float[Tensor, "*B num_nodes dim"]
EdgeValues = tuple[Tensor, ...]


def on_edges(function: Callable[..., Tensor], *values: EdgeValues) -> EdgeValues:
    """`function` of values on edges, e.g. `on_edges(torch.add, edges, topology.sources(nodes))`."""
    return tuple(function(*parts) for parts in zip(*values, strict=True))


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

    def reduce_std(self, edges: EdgeValues, *, mean: NodeValues, eps: float) -> NodeValues:
        """`sqrt(variance + eps)` of the messages, in a second pass; 0 where none arrives."""
        deviations = on_edges(lambda e, m: (e - m).square(), edges, self.targets(mean))
        return (self.reduce_mean(deviations) + eps).sqrt() * (self.in_degree > 0)

    def softmax(self, scores: EdgeValues) -> EdgeValues:
        """Softmax over all messages that reach a neuron."""
        largest = self.reduce_max(tuple(part.detach() for part in scores))
        weights = self._present(on_edges(torch.sub, scores, self.targets(largest)))
        weights = self._present(on_edges(torch.exp, weights))
        total = self.reduce_sum(weights).clamp_min(1e-30)
        return on_edges(torch.div, weights, self.targets(total))

    def _present(self, edges: EdgeValues) -> EdgeValues:
        """`edges`, with 0 where there is only padding."""
        return edges


class LayeredTopology(Topology):
    """Blocks of edges between the groups of one architecture.

    `bidirectional` is the same topology with messages in both directions.
    """

    def __init__(
        self,
        groups: "Sequence[NodeGroup]",
        blocks: "Sequence[EdgeBlock]",
        structure: "GraphStructure",
        *,
        is_bidirectional: bool = False,
    ):
        self.groups, self.blocks, self.structure = tuple(groups), tuple(blocks), structure
        self.is_bidirectional = is_bidirectional
        source, target = structure.edge_index
        arrivals = torch.cat([source, target]) if is_bidirectional else target
        degree = torch.bincount(arrivals, minlength=len(structure.layer_id))
        self.in_degree = degree.to(structure.offset.dtype).unsqueeze(-1)
        self._arriving = [self._parts_arriving(number) for number in range(len(groups))]
        self.bidirectional = (
            self
            if is_bidirectional
            else LayeredTopology(groups, blocks, structure, is_bidirectional=True)
        )

    def complete(self, num_graphs: int, *, has_virtual_node: bool = False) -> "CompleteTopology":
        """All pairs of the neurons of each graph."""
        num_nodes, device = len(self.structure.layer_id), self.structure.layer_id.device
        graphs = torch.arange(num_graphs, device=device)
        edge_index = self.structure.edge_index.unsqueeze(1) + num_nodes * graphs.view(1, -1, 1)
        return CompleteTopology(
            edge_index,
            graphs.repeat_interleave(num_nodes),
            num_graphs=num_graphs,
            has_virtual_node=has_virtual_node,
        )

    def blocks_into(self, group: int) -> "list[EdgeBlock]":
        """The blocks of edges that reach a group."""
        return [block for block in self.blocks if block.target == group]

    def join(self, forward: Tensor, backward: Tensor | None, *, fill: Tensor) -> EdgeValues:
        directions = (forward, backward) if self.is_bidirectional else (forward,)
        return tuple(part for values in directions for part in self._blocks_of(values))

    def split(self, edges: EdgeValues) -> tuple[Tensor, Tensor | None]:
        flat = [
            part.flatten(1, 2) if self.blocks[number % len(self.blocks)].is_dense else part
            for number, part in enumerate(edges)
        ]
        forward, backward = flat[: len(self.blocks)], flat[len(self.blocks) :]
        return torch.cat(forward, dim=1), torch.cat(backward, dim=1) if backward else None

    def sources(self, nodes: NodeValues) -> EdgeValues:
        return self._ends(nodes, self._block_sources, self._block_targets)

    def targets(self, nodes: NodeValues) -> EdgeValues:
        return self._ends(nodes, self._block_targets, self._block_sources)

    def opposite(self, edges: EdgeValues) -> EdgeValues:
        assert self.is_bidirectional
        return (*edges[len(self.blocks) :], *edges[: len(self.blocks)])

    def reduce_sum(self, edges: EdgeValues) -> NodeValues:
        return self._per_group(edges, _sum)

    def reduce_max(self, edges: EdgeValues) -> NodeValues:
        return self._per_group(edges, _max)

    def reduce_min(self, edges: EdgeValues) -> NodeValues:
        return self._per_group(edges, _min)

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

    def _ends(self, nodes: Tensor, near: Callable, far: Callable) -> EdgeValues:
        groups = nodes.split([group.width for group in self.groups], dim=1)
        directions = (near, far) if self.is_bidirectional else (near,)
        return tuple(ends(groups, block) for ends in directions for block in self.blocks)

    @staticmethod
    def _block_sources(groups: Sequence[Tensor], block: "EdgeBlock") -> Tensor:
        values = groups[block.source][:, : block.num_sources]
        return values.unsqueeze(1) if block.is_dense else values

    @staticmethod
    def _block_targets(groups: Sequence[Tensor], block: "EdgeBlock") -> Tensor:
        values = groups[block.target][:, : block.num_targets]
        return values.unsqueeze(2) if block.is_dense else values

    def _parts_arriving(self, group: int) -> list[tuple[int, int | None]]:
        """The parts whose messages reach a group, with the axis to reduce (None: diagonal)."""
        parts = [
            (number, 2 if block.is_dense else None)
            for number, block in enumerate(self.blocks)
            if block.target == group
        ]
        if self.is_bidirectional:
            parts += [
                (len(self.blocks) + number, 1 if block.is_dense else None)
                for number, block in enumerate(self.blocks)
                if block.source == group
            ]
        return parts

    def _per_group(self, edges: EdgeValues, reduction: Callable) -> NodeValues:
        """Reduces all that reaches a group of neurons, by one part or several."""
        rows = []
        for group, arriving in zip(self.groups, self._arriving, strict=True):
            parts, axes = [edges[number] for number, _ in arriving], [axis for _, axis in arriving]
            empty = edges[0].new_zeros(len(edges[0]), group.width, edges[0].shape[-1])
            rows.append(reduction(parts, axes, group.width) if parts else empty)
        return torch.where(self.in_degree > 0, torch.cat(rows, dim=1), 0.0)


# Parts that reach one group, each with the axis that its senders are on (None: one sender each).


def _sum(parts: Sequence[Tensor], axes: Sequence[int | None], width: int) -> Tensor:
    sums = [
        _pad_receivers(part if axis is None else part.sum(axis), width, 0.0)
        for part, axis in zip(parts, axes, strict=True)
    ]
    return reduce(torch.add, sums)


def _max(parts: Sequence[Tensor], axes: Sequence[int | None], width: int) -> Tensor:
    return _Extreme.apply(torch.amax, torch.maximum, float("-inf"), axes, width, *parts)


def _min(parts: Sequence[Tensor], axes: Sequence[int | None], width: int) -> Tensor:
    return _Extreme.apply(torch.amin, torch.minimum, float("inf"), axes, width, *parts)


class _Extreme(torch.autograd.Function):
    """The largest or smallest message of several parts, without putting them into one tensor.

    Tied messages share the gradient evenly, also where they come from different parts.
    """

    @staticmethod
    def forward(ctx, within, between, neutral, axes, width, *parts):
        extremes = [
            _pad_receivers(part if axis is None else within(part, dim=axis), width, neutral)
            for part, axis in zip(parts, axes, strict=True)
        ]
        extreme = reduce(between, extremes)
        ctx.axes = axes
        ctx.save_for_backward(extreme, *parts)
        return extreme

    @staticmethod
    def backward(ctx, gradient):
        extreme, *parts = ctx.saved_tensors
        pairs = list(zip(parts, ctx.axes, strict=True))
        wins = [(part == _spread(extreme, part, axis)).to(part.dtype) for part, axis in pairs]
        share = gradient / _sum(wins, ctx.axes, gradient.shape[1])
        gradients = [
            win * _spread(share, part, axis) for win, (part, axis) in zip(wins, pairs, strict=True)
        ]
        return None, None, None, None, None, *gradients


def _spread(nodes: Tensor, part: Tensor, axis: int | None) -> Tensor:
    """Values of a group's neurons, as they broadcast against a part that reaches them."""
    if axis is None:
        return nodes[:, : part.shape[1]]
    return nodes[:, : part.shape[3 - axis]].unsqueeze(axis)


def _pad_receivers(values: Tensor, width: int, neutral: float) -> Tensor:
    """`values` of the first receivers of a group, with `neutral` for the others."""
    missing = width - values.shape[1]
    if not missing:
        return values
    return pad(values, (0, 0, 0, missing), value=neutral)


class EdgeListTopology(Topology):
    """Edges as pairs of node numbers, over a batch of any graphs."""

    def __init__(
        self,
        structure: "GraphStructure",
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
        degree = torch.bincount(self.target, minlength=self.num_nodes)
        self.in_degree = degree.to(structure.offset.dtype).unsqueeze(-1)
        self.graph_size = torch.bincount(graph_id)
        self.num_graphs = len(self.graph_size)

    @property
    def bidirectional(self) -> "EdgeListTopology":
        """The same edges, with messages in both directions."""
        return EdgeListTopology(self.structure, self.graph_id, is_bidirectional=True)

    def complete(self, num_graphs: int, *, has_virtual_node: bool = False) -> "CompleteTopology":
        """All pairs of the neurons of each graph."""
        return CompleteTopology(
            self.structure.edge_index,
            self.graph_id,
            num_graphs=num_graphs,
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
        empty = edges[0].new_zeros(self.num_nodes, edges[0].shape[1])
        return empty.index_add(0, self.target, edges[0])

    def reduce_max(self, edges: EdgeValues) -> NodeValues:
        return self._extreme(edges[0], "amax", neutral=float("-inf"))

    def reduce_min(self, edges: EdgeValues) -> NodeValues:
        return self._extreme(edges[0], "amin", neutral=float("inf"))

    def graph_mean(self, nodes: NodeValues) -> Float[Tensor, "*B copies dim"]:
        total = nodes.new_zeros(self.num_graphs, nodes.shape[1]).index_add(0, self.graph_id, nodes)
        return (total / self.graph_size.unsqueeze(1)).index_select(0, self.graph_id)

    def flatten(self, nodes: NodeValues) -> tuple[Tensor, Int[Tensor, "num_all_nodes"]]:
        return nodes, self.graph_id

    def unflatten(self, flat: Float[Tensor, "num_all_nodes dim"]) -> NodeValues:
        return flat

    def _extreme(self, edges: Tensor, reduction: str, *, neutral: float) -> NodeValues:
        index = self.target.unsqueeze(1).expand_as(edges)
        start = edges.new_full((self.num_nodes, edges.shape[1]), neutral)  # ties with no message
        extreme = start.scatter_reduce(0, index, edges, reduction)
        return torch.where(self.in_degree > 0, extreme, 0.0)


class CompleteTopology(Topology):
    """All pairs of the neurons of each graph, itself included; smaller graphs are padded.

    The value of an edge as the graph has it lies where its target receives, that of the reversed
    edge where its source does.

    With `has_virtual_node` every graph has one more node, number 0 of `[B, max_nodes, dim]`, that
    is no neuron: pairs with it begin as zeros, and `flatten` leaves it out.
    """

    is_bidirectional = True

    def __init__(
        self,
        edge_index: Int[Tensor, "2 *B num_edges"],
        graph_id: Int[Tensor, "num_nodes"],
        *,
        num_graphs: int,
        has_virtual_node: bool = False,
    ):
        numbers = torch.arange(len(graph_id), device=graph_id.device).unsqueeze(1)
        dense, is_neuron = to_dense_batch(numbers, graph_id, batch_size=num_graphs)
        numbers = dense[is_neuron].squeeze(1)
        is_real = is_neuron
        if has_virtual_node:
            is_neuron, is_real = (pad(is_neuron, (1, 0), value=value) for value in (False, True))
        self.num_graphs, self.max_nodes = is_real.shape
        self.graph_id, self.has_virtual_node = graph_id, has_virtual_node
        self.place = torch.empty_like(graph_id)  # of a neuron in the padded layout
        self.place[numbers] = is_neuron.flatten().nonzero().squeeze(1)
        source, target = self.place[edge_index]
        self.forward_pair = target * self.max_nodes + source % self.max_nodes
        self.backward_pair = source * self.max_nodes + target % self.max_nodes
        self.is_real: Bool[Tensor, "B max_nodes 1"] = is_real.unsqueeze(-1)
        self.is_pair: Bool[Tensor, "B receivers senders 1"] = self.is_real.unsqueeze(
            2
        ) & self.is_real.unsqueeze(1)
        self.in_degree = self.is_pair.sum(2)

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

    def _extreme(self, edges: Tensor, reduction: Callable, *, neutral: float) -> NodeValues:
        extreme = reduction(torch.where(self.is_pair, edges, neutral), dim=2)
        return torch.where(self.is_real, extreme, 0.0)

    def _present(self, edges: EdgeValues) -> EdgeValues:
        return tuple(torch.where(self.is_pair, part, 0.0) for part in edges)
