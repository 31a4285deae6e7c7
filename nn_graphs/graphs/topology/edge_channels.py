"""Values of edges as messages carry them: those of either direction in channels of their own."""

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.graphs.topology.layered import LayeredTopology
from nn_graphs.graphs.topology.primitives import EdgeValues, Topology


class EdgeChannels:
    """A message along an edge carries its values in the first channels, one against it in the last.

    Zeros in the other channels are never written where groups of neurons are whole, see
    `LayeredTopology.has_whole_groups`.

    Args:
        topology: of the messages.
        values: of the edges.
    """

    def __init__(self, topology: Topology, values: Float[Tensor, "*B num_edges num_values"]):
        self.topology, self.values = topology, values
        self.num_directions = 2 if topology.is_bidirectional else 1

    @property
    def num_values(self) -> int:
        return self.values.shape[-1]

    @property
    def num_channels(self) -> int:
        return self.num_values * self.num_directions

    @cached_property
    def parts(self) -> EdgeValues:
        """All channels of all messages, zeros among them."""
        values, fill = self.values, self.values.new_zeros(self.num_channels)
        if self.num_directions == 1:
            return self.topology.join(values, None, fill=fill)
        zeros = torch.zeros_like(values)
        along, against = torch.cat([values, zeros], -1), torch.cat([zeros, values], -1)
        return self.topology.join(along, against, fill=fill)

    @cached_property
    def matrices(self) -> tuple[Float[Tensor, "B receivers num_values senders"], ...]:
        """Of each part, in whole groups."""
        return message_matrices(self.topology, [self.values] * self.num_directions)

    @cached_property
    def columns(self) -> tuple[Float[Tensor, "B receivers senders num_values"], ...]:
        """The same matrices with senders before values, as they lie in memory."""
        return tuple(matrix.mT.contiguous() for matrix in self.matrices)


def message_matrices(
    topology: LayeredTopology, values: Sequence[Float[Tensor, "B num_edges dim"]]
) -> tuple[Float[Tensor, "B receivers dim senders"], ...]:
    """Values of messages, one after the other part, by who receives and who sends them.

    Args:
        topology: of the messages.
        values: of those along edges, and, where there are such, of those against them.
    """
    parts = topology.join(values[0], values[-1], fill=values[0].new_zeros(values[0].shape[-1]))
    return tuple(message.matrix(part) for message, part in zip(topology.parts, parts, strict=True))
