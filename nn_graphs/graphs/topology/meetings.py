"""Messages as matrices: who receives, by who sends.

All that reaches some neurons is one matrix, so that attention is a few products of matrices and one
softmax along rows. Two ways to divide the neurons of an architecture are considered: the groups
that stand on two sides, as even and odd layers without skips do, all of one side at once; or every
group by itself. The first has fewer, larger matrices; cells that no message fills are the price.
Where either would be mostly empty, where several edges join two neurons, and in networks of very
many neurons there are no matrices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.graphs.topology.layered import LayeredTopology

CELLS_OF_A_MATRIX = 200  # that are computed in the time that one more matrix takes
MOST_CELLS = 2.0  # for each message
MOST_NEURONS = 2000  # of a network whose pairs are numbered


@dataclass(frozen=True, eq=False)
class Meeting:
    """Some neurons, and all that send to them.

    Attributes:
        receivers, senders: numbers of neurons.
        message: of each pair, the number of the message: those along edges have the edges' numbers,
            those against them the next ones; no message has the number behind the last.
        num_edges: of the graph.
        num_messages: of the graph.
    """

    receivers: Int[Tensor, "n"]
    senders: Int[Tensor, "s"]
    message: Int[Tensor, "n s"]
    num_edges: int
    num_messages: int

    @cached_property
    def is_full(self) -> bool:
        """Whether every pair has a message."""
        return bool((self.message < self.num_messages).all())

    @cached_property
    def mask(self) -> Float[Tensor, "n s"]:
        """0 where there is a message, minus infinity elsewhere."""
        return torch.where(self.message < self.num_messages, 0.0, float("-inf"))

    @cached_property
    def directions(self) -> tuple[int, ...]:
        """Whether messages go along edges (0), against them (1), or some in either way."""
        found = (self.message[self.message < self.num_messages] // self.num_edges).unique()
        return tuple(found.tolist())

    @cached_property
    def edges(self) -> tuple[Int[Tensor, "n s"], ...]:
        """For each of the directions, the edge of every pair; `num_edges`: there is none."""
        return tuple(
            torch.where(
                self.message // self.num_edges == direction,
                self.message % self.num_edges,
                self.num_edges,
            )
            for direction in self.directions
        )


@dataclass(frozen=True, eq=False)
class Meetings:
    """All messages of a topology as matrices.

    Attributes:
        matrices: each neuron receives in one of them, or nothing at all.
        order: the receivers of all matrices, one after the other, then those that hear nothing.
        back: the place of every neuron in it.
    """

    matrices: tuple[Meeting, ...]
    order: Int[Tensor, "num_nodes"]
    back: Int[Tensor, "num_nodes"]

    @property
    def num_silent(self) -> int:
        """Neurons that hear nothing."""
        return len(self.order) - sum(len(meeting.receivers) for meeting in self.matrices)


_FOUND: WeakKeyDictionary = WeakKeyDictionary()  # of topologies, which templates keep


def meetings_of(topology: LayeredTopology) -> Meetings | None:
    """The messages as matrices, found once for a topology; None: they are not."""
    if topology not in _FOUND:
        _FOUND[topology] = _meetings(topology)
    return _FOUND[topology]


def _meetings(topology: LayeredTopology) -> Meetings | None:
    num_all = len(topology.blocks) * (2 if topology.is_bidirectional else 1)
    is_whole = len(topology.parts) == num_all > 0  # not the part of one that reaches the outputs
    if not is_whole or len(topology.structure.layer_id) > MOST_NEURONS:
        return None
    messages = _message_numbers(topology)
    if messages is None:
        return None
    ways = [_of_sets(topology, messages, sets) for sets in _ways(topology)]
    cost, best = min(((_cost(found), found) for found in ways), key=lambda pair: pair[0])
    num_messages = best[0].num_messages
    if cost > MOST_CELLS * num_messages + CELLS_OF_A_MATRIX * len(topology.groups):
        return None
    receivers = torch.cat([meeting.receivers for meeting in best])
    is_silent = torch.ones(len(messages), dtype=torch.bool, device=messages.device)
    is_silent[receivers] = False
    order = torch.cat([receivers, is_silent.nonzero()[:, 0]])
    return Meetings(best, order, order.argsort())


def _message_numbers(topology: LayeredTopology) -> Int[Tensor, "num_nodes num_nodes"] | None:
    """By receiver and sender; None: some pair has several messages."""
    source, target = topology.structure.edge_index
    size = len(topology.structure.layer_id)
    both = topology.is_bidirectional
    receiver = torch.cat([target, source]) if both else target
    sender = torch.cat([source, target]) if both else source
    count = len(receiver)
    messages = torch.full((size, size), count, device=source.device)
    messages[receiver, sender] = torch.arange(count, device=source.device)
    return messages if int((messages < count).sum()) == count else None


def _ways(topology: LayeredTopology) -> list[list[list[int]]]:
    """Divisions of the groups into those that receive together."""
    each = [[number] for number in range(len(topology.groups))]
    sides = _sides(topology)
    return [each] if sides is None else [sides, each]


def _sides(topology: LayeredTopology) -> list[list[int]] | None:
    """The groups of two sides, between which all blocks go; None: there are none such."""
    side: dict[int, int] = {}
    for start in range(len(topology.groups)):
        waiting = [] if start in side else [start]
        side.setdefault(start, 0)
        while waiting:
            group = waiting.pop()
            for other in _neighbours(topology, group):
                if other not in side:
                    side[other] = 1 - side[group]
                    waiting.append(other)
    if any(side[block.source] == side[block.target] for block in topology.blocks):
        return None
    return [[group for group, own in side.items() if own == which] for which in (0, 1)]


def _neighbours(topology: LayeredTopology, group: int) -> set[int]:
    ends = [(block.source, block.target) for block in topology.blocks]
    return {b for a, b in ends if a == group} | {a for a, b in ends if b == group}


def _of_sets(
    topology: LayeredTopology, messages: Tensor, sets: Sequence[Sequence[int]]
) -> tuple[Meeting, ...]:
    num_edges = topology.structure.edge_index.shape[1]
    num_messages = num_edges * (2 if topology.is_bidirectional else 1)
    found = []
    for groups in sets:
        places = [torch.arange(topology.groups[n].start, topology.groups[n].stop) for n in groups]
        if not places:
            continue
        own = torch.cat(places).to(messages.device)
        is_there = messages[own] < num_messages
        own = own[is_there.any(1)]
        senders = is_there.any(0).nonzero()[:, 0]
        if len(own):
            cells = messages[own][:, senders]
            found.append(Meeting(own, senders, cells, num_edges, num_messages))
    return tuple(found)


def _cost(meetings: Sequence[Meeting]) -> int:
    return sum(meeting.message.numel() + CELLS_OF_A_MATRIX for meeting in meetings)
