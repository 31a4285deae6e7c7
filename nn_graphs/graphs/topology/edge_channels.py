"""Values of edges as messages carry them: those of either direction in channels of their own."""

from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.graphs.topology.layered import LayeredTopology
from nn_graphs.graphs.topology.meetings import Meetings, meetings_of
from nn_graphs.graphs.topology.primitives import EdgeValues, Topology


class EdgeChannels:
    """A message along an edge carries its values in the first channels, one against it in the last.

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
    def meetings(self) -> Meetings | None:
        """The messages as matrices; None: they are not."""
        is_layered = isinstance(self.topology, LayeredTopology)
        return meetings_of(self.topology) if is_layered else None

    @cached_property
    def matrices(self) -> tuple[tuple[Float[Tensor, "B n s num_values"], ...], ...]:
        """Of each matrix of messages, the values in each of its directions, zeros where none is."""
        return tuple(
            tuple(self._of_edges(edges) for edges in meeting.edges)
            for meeting in self.meetings.matrices
        )

    @cached_property
    def columns(self) -> tuple[Float[Tensor, "B n s channels"], ...]:
        """The same, directions behind each other."""
        edges = (torch.stack(meeting.edges, dim=-1) for meeting in self.meetings.matrices)
        return tuple(self._of_edges(each).flatten(3) for each in edges)

    def _of_edges(self, edges: Int[Tensor, "*shape"]) -> Float[Tensor, "B *shape num_values"]:
        """Of edges by their numbers; zeros for the number behind the last."""
        return self._padded.index_select(1, edges.flatten()).unflatten(1, edges.shape)

    @cached_property
    def _padded(self) -> Float[Tensor, "B more_edges num_values"]:
        return torch.cat([self.values, torch.zeros_like(self.values[:, :1])], dim=1)
