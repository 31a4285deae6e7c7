"""Attention: per receiver and head a softmax over all messages, and what is then heard.

In any topology it follows from the primitives. Where messages are matrices (`meetings`), scores are
`[B, heads, receivers, senders]`, and all else products of matrices.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.graphs.topology.edge_channels import EdgeChannels
from nn_graphs.graphs.topology.layered import LayeredTopology
from nn_graphs.graphs.topology.meetings import Meeting, Meetings, meetings_of
from nn_graphs.graphs.topology.primitives import EdgeValues, Topology, on_edges

Nodes = Float[Tensor, "*B num_nodes _"]  # sizes of vectors differ
Drop = Callable[[Tensor], Tensor]


class Heard(NamedTuple):
    """What reaches each neuron.

    Attributes:
        values: `[*B, num_nodes, num_heads * dim]`, weighted sums of values of senders.
        edges: `[*B, num_nodes, num_heads * num_channels]`, the same of edges; None: not read.
    """

    values: Nodes
    edges: Nodes | None


def attend(
    topology: Topology,
    queries: Nodes,
    keys: Nodes,
    values: Nodes,
    *,
    num_heads: int,
    edges: EdgeChannels | EdgeValues | None = None,
    asked: Nodes | None = None,
    dropout: Drop = lambda weights: weights,
) -> Heard:
    """Weights are the softmax of `q_i . k_j + asked_i . e_ij`, per head.

    Args:
        topology: of the messages.
        queries, keys: `[*B, num_nodes, num_heads * key_dim]`, heads behind each other.
        values: `[*B, num_nodes, num_heads * dim]`.
        num_heads: how many.
        edges: what the messages carry besides, shared by all heads; None: nothing.
        asked: `[*B, num_nodes, num_heads * num_channels]`, what their scores are products with.
        dropout: of the weights.
    """
    nodes = queries, keys, values
    meetings = None
    if isinstance(topology, LayeredTopology) and not isinstance(edges, tuple):
        meetings = meetings_of(topology)
    if meetings is not None:
        return _by_matrices(meetings, *nodes, num_heads, edges, asked, dropout)
    if isinstance(edges, EdgeChannels):
        edges = edges.parts
    return _by_primitives(topology, *nodes, num_heads, edges, asked, dropout)


def attend_to_edges(
    edges: EdgeChannels, scores: Float[Tensor, "*B num_edges num_directions"]
) -> Float[Tensor, "*B num_nodes num_channels"]:
    """Of the messages that reach a neuron, the mean of what they carry, by a softmax of scores.

    Args:
        edges: what they carry.
        scores: of the messages along each edge, and of those against it.
    """
    topology, meetings = edges.topology, edges.meetings
    if meetings is None:
        against = scores[..., 1:] if edges.num_directions == 2 else None
        parts = topology.join(scores[..., :1], against, fill=scores.new_zeros(1))
        return topology.reduce_weighted(topology.softmax(parts), edges.parts)
    by_number = scores.mT.flatten(1)
    nothing = scores.new_full((len(scores), 1), float("-inf"))
    by_number = torch.cat([by_number, nothing], dim=1)
    rows = []
    for number, meeting in enumerate(meetings.matrices):
        places = meeting.message.flatten().expand(len(scores), -1)
        cells = by_number.gather(1, places).unflatten(1, meeting.message.shape)
        rows.append(_edges_heard(edges, number, cells.softmax(-1).unsqueeze(1)))
    return _of_all(rows, meetings)


def _by_primitives(
    topology: Topology,
    queries: Nodes,
    keys: Nodes,
    values: Nodes,
    num_heads: int,
    edges: EdgeValues | None,
    asked: Nodes | None,
    dropout: Drop,
) -> Heard:
    scores = topology.dot_products(queries, keys, num_heads=num_heads)
    if edges is not None:
        of_edges = on_edges(_head_products, topology.targets(asked), edges)
        scores = on_edges(torch.add, scores, of_edges)
    weights = on_edges(dropout, topology.softmax(scores))
    received = topology.reduce_attended(weights, values)
    return Heard(received, None if edges is None else topology.reduce_weighted(weights, edges))


def _by_matrices(
    meetings: Meetings,
    queries: Nodes,
    keys: Nodes,
    values: Nodes,
    num_heads: int,
    edges: EdgeChannels | None,
    asked: Nodes | None,
    dropout: Drop,
) -> Heard:
    received, told = [], []
    for number, meeting in enumerate(meetings.matrices):
        own = _by_head(queries, meeting.receivers, num_heads)
        sent = [_by_head(nodes, meeting.senders, num_heads) for nodes in (keys, values)]
        scores = _products(own, sent[0], meeting)
        if edges is not None:
            asked_here = asked.index_select(1, meeting.receivers)
            asked_here = asked_here.unflatten(-1, (num_heads, edges.num_directions, -1))
            scores = _with_edges(scores, asked_here, edges, number)
        weights = dropout(scores.softmax(-1))
        received.append((weights @ sent[1]).transpose(1, 2).flatten(2))
        if edges is not None:
            told.append(_edges_heard(edges, number, weights))
    return Heard(_of_all(received, meetings), _of_all(told, meetings) if told else None)


def _by_head(nodes: Nodes, numbers: Tensor, num_heads: int) -> Float[Tensor, "B heads n dim"]:
    """Of some neurons, heads in front, as matrices that lie in memory as they are read."""
    chosen = nodes.index_select(1, numbers).unflatten(-1, (num_heads, -1))
    return chosen.transpose(1, 2).contiguous()


def _products(queries: Tensor, keys: Tensor, meeting: Meeting) -> Float[Tensor, "B heads n s"]:
    """Minus infinity where there is no message."""
    if meeting.is_full:
        return queries @ keys.mT
    mask = meeting.mask.to(queries.dtype)
    flat = torch.baddbmm(mask, queries.flatten(0, 1), keys.flatten(0, 1).mT)
    return flat.unflatten(0, queries.shape[:2])


def _with_edges(
    scores: Float[Tensor, "B heads n s"],
    asked: Float[Tensor, "B n heads directions values"],
    edges: EdgeChannels,
    number: int,
) -> Float[Tensor, "B heads n s"]:
    directions = edges.meetings.matrices[number].directions
    if edges.num_values == 1:  # products of matrices would take several times as long
        for direction, matrix in zip(directions, edges.matrices[number], strict=True):
            own = asked[:, :, :, direction].transpose(1, 2)  # [B, heads, n, 1]
            scores.addcmul_(own, matrix.squeeze(-1).unsqueeze(1))
        return scores
    if len(directions) < edges.num_directions:
        asked = asked[:, :, :, list(directions)]
    return scores.add_((asked.flatten(3) @ edges.columns[number].mT).transpose(1, 2))


def _edges_heard(
    edges: EdgeChannels, number: int, weights: Float[Tensor, "B heads n s"]
) -> Float[Tensor, "B n heads_and_channels"]:
    """Sums of what messages carry, in the channels of their directions."""
    directions = edges.meetings.matrices[number].directions
    if edges.num_values == 1:
        matrices = (matrix.squeeze(-1).unsqueeze(1) for matrix in edges.matrices[number])
        sums = [(weights * matrix).sum(-1).mT.unsqueeze(-1) for matrix in matrices]
    else:
        heard = weights.transpose(1, 2) @ edges.columns[number]
        sums = list(heard.split(edges.num_values, dim=-1))
    channels = [torch.zeros_like(sums[0])] * edges.num_directions
    for direction, found in zip(directions, sums, strict=True):
        channels[direction] = found
    return torch.cat(channels, dim=-1).flatten(2)


def _of_all(rows: Sequence[Tensor], meetings: Meetings) -> Nodes:
    """Of what is heard in each matrix, what every neuron hears; zeros where nothing is."""
    first = rows[0]
    silent = first.new_zeros(len(first), meetings.num_silent, first.shape[-1])
    parts = [*rows, silent] if meetings.num_silent else rows
    return torch.cat(list(parts), dim=1).index_select(1, meetings.back)


def _head_products(vectors: Tensor, edges: Tensor) -> Tensor:
    """Per head, the product of a neuron's vector with the edge's one, `[.., num_heads]`."""
    by_head = vectors.unflatten(-1, (-1, edges.shape[-1]))
    return torch.einsum("...hv,...v->...h", by_head, edges)
