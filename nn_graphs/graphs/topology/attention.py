"""Attention: per receiver and head a softmax over all messages, and what is then heard.

In any topology it follows from the primitives. Where groups of neurons are whole, scores are
matrices `[B, heads, receivers, senders]`: those of all senders of a group lie side by side for one
softmax, and all else are products of matrices.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.graphs.topology.edge_channels import EdgeChannels, message_matrices
from nn_graphs.graphs.topology.layered import LayeredTopology, Messages
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
    is_by_channels = edges is None or isinstance(edges, EdgeChannels)
    if is_by_channels and has_whole_groups(topology):
        return _by_groups(topology, *nodes, num_heads, edges, asked, dropout)
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
    topology, by_direction = edges.topology, scores.split(1, dim=-1)
    if not has_whole_groups(topology):
        against = by_direction[1] if edges.num_directions == 2 else None
        parts = topology.join(by_direction[0], against, fill=scores.new_zeros(1))
        return topology.reduce_weighted(topology.softmax(parts), edges.parts)
    matrices = message_matrices(topology, by_direction)
    rows = []
    for group, numbers in zip(topology.groups, topology.arriving, strict=True):
        if not numbers:
            shape = len(scores), group.width, edges.num_channels
            rows.append(scores.new_zeros(shape))
            continue
        weights = _softmax([matrices[number].transpose(1, 2) for number in numbers])
        rows.append(_edges_heard(edges, numbers, weights))
    return torch.cat(rows, dim=1)


def has_whole_groups(topology: Topology) -> bool:
    """Whether messages are matrices between whole groups of neurons."""
    return isinstance(topology, LayeredTopology) and topology.has_whole_groups


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


def _by_groups(
    topology: LayeredTopology,
    queries: Nodes,
    keys: Nodes,
    values: Nodes,
    num_heads: int,
    edges: EdgeChannels | None,
    asked: Nodes | None,
    dropout: Drop,
) -> Heard:
    by_head = (_by_head(nodes, num_heads) for nodes in (queries, keys, values))
    queries, keys, sent = (_of_groups(topology, nodes, dim=2) for nodes in by_head)
    if edges is not None:
        asked = asked.unflatten(-1, (num_heads, edges.num_directions, edges.num_values))
        asked = _of_groups(topology, asked, dim=1)
    received, told = [], []
    for group, numbers in enumerate(topology.arriving):
        if not numbers:
            received.append(torch.zeros_like(sent[group]))
            told.append(None if edges is None else torch.zeros_like(asked[group]).flatten(2))
            continue
        parts = [topology.parts[number] for number in numbers]
        scores = [_scores(part, queries[group], keys[part.sender]) for part in parts]
        if edges is not None:
            scores = [
                _with_edges(found, asked[group][..., part.direction, :], edges.matrices[number])
                for found, part, number in zip(scores, parts, numbers, strict=True)
            ]
        weights = _softmax(scores, dropout)
        received.append(_values_heard(parts, weights, sent))
        told.append(None if edges is None else _edges_heard(edges, numbers, weights))
    heard = torch.cat(received, dim=2).transpose(1, 2).flatten(2)
    return Heard(heard, None if edges is None else torch.cat(told, dim=1))


def _by_head(nodes: Nodes, num_heads: int) -> Float[Tensor, "B h n dim"]:
    """Heads in front, as matrices that lie in memory as they are read."""
    return nodes.unflatten(-1, (num_heads, -1)).transpose(1, 2).contiguous()


def _of_groups(topology: LayeredTopology, nodes: Tensor, *, dim: int) -> Sequence[Tensor]:
    return nodes.split([group.width for group in topology.groups], dim=dim)


def _scores(
    part: Messages, queries: Float[Tensor, "B h n dim"], keys: Float[Tensor, "B h senders dim"]
) -> Float[Tensor, "B h n _"]:
    if part.sender_axis is None:
        return (queries * keys).sum(-1, keepdim=True)
    return queries @ keys.mT


def _with_edges(
    scores: Float[Tensor, "B h n s"],
    asked: Float[Tensor, "B n h values"],
    matrices: Float[Tensor, "B n values s"],
) -> Float[Tensor, "B h n s"]:
    if matrices.shape[2] == 1:  # no product of matrices, which would take several times as long
        return torch.addcmul(scores, asked.transpose(1, 2), matrices.transpose(1, 2))
    return scores + (asked @ matrices).transpose(1, 2)


def _softmax(scores: Sequence[Tensor], dropout: Drop = lambda weights: weights) -> list[Tensor]:
    """Of all scores of a group at once; the weights of each part."""
    if len(scores) == 1:
        return [dropout(scores[0].softmax(-1))]
    weights = dropout(torch.cat(list(scores), dim=-1).softmax(-1))
    return list(weights.split([part.shape[-1] for part in scores], dim=-1))


def _values_heard(
    parts: Sequence[Messages], weights: Sequence[Tensor], sent: Sequence[Tensor]
) -> Float[Tensor, "B h n dim"]:
    return sum(
        part_weights * sent[part.sender]
        if part.sender_axis is None
        else part_weights @ sent[part.sender]
        for part, part_weights in zip(parts, weights, strict=True)
    )


def _edges_heard(
    edges: EdgeChannels, numbers: Sequence[int], weights: Sequence[Float[Tensor, "B h n _"]]
) -> Float[Tensor, "B n h_and_channels"]:
    """Of parts that reach a group, sums of what they carry, in the channels of their directions."""
    sums: list[Tensor | None] = [None] * edges.num_directions
    for number, part_weights in zip(numbers, weights, strict=True):
        direction, matrices = edges.topology.parts[number].direction, edges.matrices[number]
        if matrices.shape[2] == 1:
            found = (part_weights * matrices.transpose(1, 2)).sum(-1).mT.unsqueeze(-1)
        else:
            found = part_weights.transpose(1, 2) @ edges.columns[number]
        sums[direction] = found if sums[direction] is None else sums[direction] + found
    zeros = torch.zeros_like(found)
    channels = [zeros if each is None else each for each in sums]
    return torch.cat(channels, dim=-1).flatten(2)


def _head_products(vectors: Tensor, edges: Tensor) -> Tensor:
    """Per head, the product of a neuron's vector with the edge's one, `[.., num_heads]`."""
    by_head = vectors.unflatten(-1, (-1, edges.shape[-1]))
    return torch.einsum("...hv,...v->...h", by_head, edges)
