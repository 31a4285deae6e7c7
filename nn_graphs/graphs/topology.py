"""Topologies: the few primitives that message passing needs, so that encoders are written once.

Three implementations, equal to rounding:

- `LayeredTopology`: graphs of one architecture; edges are blocks, so a neuron's value reaches its
  edges by broadcasting and edges reach their neuron by a reduction along an axis. Values are
  `[B, num_nodes, dim]` and `[B, num_directed, dim]`.
- `EdgeListTopology`: any mix of architectures; values are `[num_nodes, dim]` of all graphs of a
  batch and `[num_directed, dim]`.
- `CompleteTopology`: all pairs of neurons of a graph, for the published relational transformer;
  values are `[B, max_nodes, dim]` and `[B, max_nodes * max_nodes, dim]`.

An edge carries messages in both directions (or, on request, only forward): the directed edges are
first all edges as the graph has them, then all of them reversed. "Source" and "target" are meant in
the direction of the message. No value ever crosses from one graph of a batch to another.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_geometric.utils import to_dense_batch

if TYPE_CHECKING:
    from nn_graphs.graphs.neural_graph import GraphStructure
    from nn_graphs.graphs.template import EdgeBlock, NodeGroup

NodeValues = Float[Tensor, "*B num_nodes dim"]
EdgeValues = Float[Tensor, "*B num_directed dim"]


class Topology(ABC):
    """The primitives. Abstract: sources, targets, reductions; the rest follows from them."""

    is_bidirectional: bool
    in_degree: Float[Tensor, "*B num_nodes 1"]

    @abstractmethod
    def join(self, forward: Tensor, backward: Tensor | None, fill: Tensor) -> EdgeValues:
        """Values on directed edges, from those of the edges as they are and of the reversed ones.

        Args:
            forward: `[*B, num_edges, dim]`.
            backward: the same, for the reversed edges; None where the topology has none.
            fill: `[dim]`, the value of a pair that no edge joins (complete topology only).
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
        """The value of the same edge in the other direction."""

    @abstractmethod
    def reduce_sum(self, edges: EdgeValues) -> NodeValues:
        """Sum over the messages that reach a neuron."""

    @abstractmethod
    def reduce_max(self, edges: EdgeValues) -> NodeValues:
        """Largest message that reaches a neuron, 0 where none does; ties share the gradient."""

    @abstractmethod
    def graph_mean(self, nodes: NodeValues) -> NodeValues:
        """Mean over a graph's neurons, broadcast to (or broadcastable over) them."""

    @abstractmethod
    def flatten(self, nodes: NodeValues) -> tuple[Tensor, Int[Tensor, "num_all_nodes"]]:
        """All neurons of all graphs, `[num_all_nodes, dim]`, and which graph each belongs to."""

    @abstractmethod
    def unflatten(self, flat: Float[Tensor, "num_all_nodes dim"]) -> NodeValues:
        """The inverse of `flatten`."""

    def reduce_min(self, edges: EdgeValues) -> NodeValues:
        """Smallest message that reaches a neuron, 0 where none does."""
        return -self.reduce_max(-edges)

    def reduce_mean(self, edges: EdgeValues) -> NodeValues:
        """Mean of the messages that reach a neuron, 0 where none does."""
        return self.reduce_sum(edges) / self.in_degree.clamp_min(1)

    def reduce_std(self, edges: EdgeValues, *, mean: NodeValues, eps: float) -> NodeValues:
        """`sqrt(variance + eps)` of the messages, in a second pass; 0 where none arrives."""
        variance = self.reduce_mean((edges - self.targets(mean)).square())
        return (variance + eps).sqrt() * (self.in_degree > 0)

    def softmax(self, scores: EdgeValues) -> EdgeValues:
        """Softmax over all messages that reach a neuron."""
        shifted = self._present(scores - self.targets(self.reduce_max(scores.detach())))
        weights = self._present(shifted.exp())
        return weights / self.targets(self.reduce_sum(weights).clamp_min(1e-30))

    def _present(self, edges: EdgeValues) -> EdgeValues:
        """`edges`, with 0 where there is only padding."""
        return edges


class LayeredTopology(Topology):
    """Blocks of edges between the groups of one architecture."""

    def __init__(
        self,
        groups: "Sequence[NodeGroup]",
        blocks: "Sequence[EdgeBlock]",
        structure: "GraphStructure",
        *,
        is_bidirectional: bool = False,
    ):
        self.groups, self.blocks = tuple(groups), tuple(blocks)
        self.structure = structure
        self.is_bidirectional = is_bidirectional
        self.num_edges = blocks[-1].stop if blocks else 0
        self.incoming = [[b for b in blocks if b.target == g] for g in range(len(groups))]
        self.outgoing = [[b for b in blocks if b.source == g] for g in range(len(groups))]
        ends = [structure.edge_index[1]]
        if is_bidirectional:
            ends.append(structure.edge_index[0])
        degree = torch.bincount(torch.cat(ends), minlength=len(structure.layer_id))
        self.in_degree = degree.to(structure.offset.dtype).unsqueeze(-1)

    @cached_property
    def bidirectional(self) -> "LayeredTopology":
        """The same edges, with messages in both directions."""
        return LayeredTopology(self.groups, self.blocks, self.structure, is_bidirectional=True)

    def complete(self, num_graphs: int) -> "CompleteTopology":
        """All pairs of the neurons of each graph."""
        device = self.structure.layer_id.device
        graph_id = torch.arange(num_graphs, device=device).repeat_interleave(
            len(self.structure.layer_id)
        )
        offsets = torch.arange(num_graphs, device=device) * len(self.structure.layer_id)
        edge_index = (self.structure.edge_index.unsqueeze(1) + offsets.view(1, -1, 1)).flatten(1)
        return CompleteTopology(edge_index, graph_id, num_graphs=num_graphs)

    def join(self, forward: Tensor, backward: Tensor | None, fill: Tensor) -> EdgeValues:
        return torch.cat([forward, backward], dim=1) if self.is_bidirectional else forward

    def split(self, edges: EdgeValues) -> tuple[Tensor, Tensor | None]:
        backward = edges[:, self.num_edges :] if self.is_bidirectional else None
        return edges[:, : self.num_edges], backward

    def sources(self, nodes: NodeValues) -> EdgeValues:
        return self._ends(nodes, self._block_sources, self._block_targets)

    def targets(self, nodes: NodeValues) -> EdgeValues:
        return self._ends(nodes, self._block_targets, self._block_sources)

    def opposite(self, edges: EdgeValues) -> EdgeValues:
        return torch.cat([edges[:, self.num_edges :], edges[:, : self.num_edges]], dim=1)

    def reduce_sum(self, edges: EdgeValues) -> NodeValues:
        return self._reduce(edges, torch.sum, torch.add, neutral=0.0)

    def reduce_max(self, edges: EdgeValues) -> NodeValues:
        largest = self._reduce(edges, torch.amax, torch.maximum, neutral=float("-inf"))
        return torch.where(self.in_degree > 0, largest, 0.0)

    def graph_mean(self, nodes: NodeValues) -> NodeValues:
        return nodes.mean(dim=1, keepdim=True)

    def flatten(self, nodes: NodeValues) -> tuple[Tensor, Int[Tensor, "num_all_nodes"]]:
        graphs = torch.arange(nodes.shape[0], device=nodes.device)
        return nodes.flatten(0, 1), graphs.repeat_interleave(nodes.shape[1])

    def unflatten(self, flat: Float[Tensor, "num_all_nodes dim"]) -> NodeValues:
        return flat.unflatten(0, (-1, len(self.structure.layer_id)))

    def _ends(self, nodes: Tensor, near: Callable, far: Callable) -> EdgeValues:
        parts = [near(nodes, block) for block in self.blocks]
        if self.is_bidirectional:
            parts += [far(nodes, block) for block in self.blocks]
        return torch.cat(parts, dim=1)

    def _block_sources(self, nodes: Tensor, block: "EdgeBlock") -> Tensor:
        start = self.groups[block.source].start
        values = nodes[:, start : start + block.num_sources]
        if not block.is_dense:
            return values
        return values.unsqueeze(1).expand(-1, block.num_targets, -1, -1).flatten(1, 2)

    def _block_targets(self, nodes: Tensor, block: "EdgeBlock") -> Tensor:
        start = self.groups[block.target].start
        values = nodes[:, start : start + block.num_targets]
        if not block.is_dense:
            return values
        return values.unsqueeze(2).expand(-1, -1, block.num_sources, -1).flatten(1, 2)

    def _reduce(
        self, edges: Tensor, within: Callable, between: Callable, *, neutral: float
    ) -> NodeValues:
        """Reduces every block to the neurons it reaches, then the blocks that reach one group."""
        rows = []
        for group, incoming, outgoing in zip(
            self.groups, self.incoming, self.outgoing, strict=True
        ):
            parts = [self._reduced(edges, block, within, axis=2) for block in incoming]
            if self.is_bidirectional:
                parts += [
                    self._reduced(edges, block, within, axis=1, shift=self.num_edges)
                    for block in outgoing
                ]
            parts = [_pad_nodes(part, group.width, neutral) for part in parts]
            if not parts:
                parts = [edges.new_full((len(edges), group.width, edges.shape[-1]), neutral)]
            total = parts[0]
            for part in parts[1:]:
                total = between(total, part)
            rows.append(total)
        return torch.cat(rows, dim=1)

    @staticmethod
    def _reduced(
        edges: Tensor, block: "EdgeBlock", within: Callable, *, axis: int, shift: int = 0
    ) -> Tensor:
        values = edges[:, shift + block.start : shift + block.stop]
        if not block.is_dense:
            return values
        square = values.unflatten(1, (block.num_targets, block.num_sources))
        return within(square, dim=axis)


def _pad_nodes(values: Tensor, width: int, neutral: float) -> Tensor:
    missing = width - values.shape[1]
    if not missing:
        return values
    return torch.nn.functional.pad(values, (0, 0, 0, missing), value=neutral)


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
        self.num_nodes = len(graph_id)
        self.num_edges = structure.edge_index.shape[1]
        source, target = structure.edge_index
        if is_bidirectional:
            source, target = torch.cat([source, target]), torch.cat([target, source])
        self.source, self.target = source, target
        degree = torch.bincount(target, minlength=self.num_nodes)
        self.in_degree = degree.to(structure.offset.dtype).unsqueeze(-1)
        self.graph_size = torch.bincount(graph_id)
        self.num_graphs = len(self.graph_size)

    @cached_property
    def bidirectional(self) -> "EdgeListTopology":
        """The same edges, with messages in both directions."""
        return EdgeListTopology(self.structure, self.graph_id, is_bidirectional=True)

    def complete(self, num_graphs: int) -> "CompleteTopology":
        """All pairs of the neurons of each graph."""
        return CompleteTopology(
            self.structure.edge_index, self.graph_id, num_graphs=self.num_graphs
        )

    def join(self, forward: Tensor, backward: Tensor | None, fill: Tensor) -> EdgeValues:
        return torch.cat([forward, backward]) if self.is_bidirectional else forward

    def split(self, edges: EdgeValues) -> tuple[Tensor, Tensor | None]:
        backward = edges[self.num_edges :] if self.is_bidirectional else None
        return edges[: self.num_edges], backward

    def sources(self, nodes: NodeValues) -> EdgeValues:
        return nodes.index_select(0, self.source)

    def targets(self, nodes: NodeValues) -> EdgeValues:
        return nodes.index_select(0, self.target)

    def opposite(self, edges: EdgeValues) -> EdgeValues:
        return torch.cat([edges[self.num_edges :], edges[: self.num_edges]])

    def reduce_sum(self, edges: EdgeValues) -> NodeValues:
        return edges.new_zeros(self.num_nodes, edges.shape[1]).index_add(0, self.target, edges)

    def reduce_max(self, edges: EdgeValues) -> NodeValues:
        index = self.target.unsqueeze(1).expand_as(edges)
        empty = edges.new_zeros(self.num_nodes, edges.shape[1])
        return empty.scatter_reduce(0, index, edges, "amax", include_self=False)

    def graph_mean(self, nodes: NodeValues) -> NodeValues:
        total = nodes.new_zeros(self.num_graphs, nodes.shape[1]).index_add(0, self.graph_id, nodes)
        return (total / self.graph_size.unsqueeze(1)).index_select(0, self.graph_id)

    def flatten(self, nodes: NodeValues) -> tuple[Tensor, Int[Tensor, "num_all_nodes"]]:
        return nodes, self.graph_id

    def unflatten(self, flat: Float[Tensor, "num_all_nodes dim"]) -> NodeValues:
        return flat


class CompleteTopology(Topology):
    """All pairs of the neurons of each graph, itself included; smaller graphs are padded.

    The pair of receiver i and sender j is number `i * max_nodes + j`. As published, what i sees of
    j is the edge from i to j: the value of an edge as it is lies where its *source* receives.
    """

    is_bidirectional = True

    def __init__(
        self,
        edge_index: Int[Tensor, "2 num_edges"],
        graph_id: Int[Tensor, "num_nodes"],
        *,
        num_graphs: int,
    ):
        numbers = torch.arange(len(graph_id), device=graph_id.device).unsqueeze(1)
        dense, is_real = to_dense_batch(numbers, graph_id, batch_size=num_graphs)
        self.is_real: Bool[Tensor, "B max_nodes"] = is_real
        self.num_graphs, self.max_nodes = is_real.shape
        self.graph_id = graph_id
        place = torch.empty_like(graph_id)  # position of a node in the padded layout
        place[dense[is_real].squeeze(1)] = is_real.flatten().nonzero().squeeze(1)
        self.place = place
        source, target = place[edge_index[0]], place[edge_index[1]]
        self.forward_pair = target * self.max_nodes + source % self.max_nodes
        self.backward_pair = source * self.max_nodes + target % self.max_nodes
        pairs = is_real.unsqueeze(2) & is_real.unsqueeze(1)
        self.is_pair: Bool[Tensor, "B pairs 1"] = pairs.flatten(1).unsqueeze(-1)
        self.in_degree = pairs.sum(2).unsqueeze(-1)

    def join(self, forward: Tensor, backward: Tensor | None, fill: Tensor) -> EdgeValues:
        flat_forward, flat_backward = (v.reshape(-1, v.shape[-1]) for v in (forward, backward))
        pairs = fill.expand(self.num_graphs * self.max_nodes**2, -1)
        pairs = pairs.index_add(0, self.forward_pair, flat_forward - fill)
        pairs = pairs.index_add(0, self.backward_pair, flat_backward - fill)
        return pairs.unflatten(0, (self.num_graphs, self.max_nodes**2))

    def split(self, edges: EdgeValues) -> tuple[Tensor, Tensor | None]:
        flat = edges.flatten(0, 1)
        return flat.index_select(0, self.forward_pair), flat.index_select(0, self.backward_pair)

    def sources(self, nodes: NodeValues) -> EdgeValues:
        return nodes.unsqueeze(1).expand(-1, self.max_nodes, -1, -1).flatten(1, 2)

    def targets(self, nodes: NodeValues) -> EdgeValues:
        return nodes.unsqueeze(2).expand(-1, -1, self.max_nodes, -1).flatten(1, 2)

    def opposite(self, edges: EdgeValues) -> EdgeValues:
        return self._square(edges).transpose(1, 2).flatten(1, 2)

    def reduce_sum(self, edges: EdgeValues) -> NodeValues:
        return self._square(self._present(edges)).sum(2)

    def reduce_max(self, edges: EdgeValues) -> NodeValues:
        hidden = edges.masked_fill(~self.is_pair, float("-inf"))
        return torch.where(self.is_real.unsqueeze(-1), self._square(hidden).amax(2), 0.0)

    def graph_mean(self, nodes: NodeValues) -> NodeValues:
        real = self.is_real.unsqueeze(-1)
        return (nodes * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)

    def flatten(self, nodes: NodeValues) -> tuple[Tensor, Int[Tensor, "num_all_nodes"]]:
        return nodes.flatten(0, 1).index_select(0, self.place), self.graph_id

    def unflatten(self, flat: Float[Tensor, "num_all_nodes dim"]) -> NodeValues:
        padded = flat.new_zeros(self.num_graphs * self.max_nodes, flat.shape[-1])
        padded = padded.index_copy(0, self.place, flat)
        return padded.unflatten(0, (self.num_graphs, self.max_nodes))

    def _square(self, edges: Tensor) -> Float[Tensor, "B receivers senders dim"]:
        return edges.unflatten(1, (self.max_nodes, self.max_nodes))

    def _present(self, edges: EdgeValues) -> EdgeValues:
        return edges.masked_fill(~self.is_pair, 0.0)
