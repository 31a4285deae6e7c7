"""Parameter spaces: the weights and biases of an architecture, by the permutations that move them.

A space is a bias or a weight, or the part of one that lies on one segment of each of its axes: its
values have one axis per permutation that moves them, targets before sources, while neurons that
stay in place (inputs, outputs) are unrolled into channels. Everything is read off a template's
symmetries, so that tied neurons and partial skips need no special case (Navon et al., ICML 2023,
for chains of layers; the rule for spaces in general is in `linear.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.symmetry import Segment

Axis = tuple[Segment, ...]


@dataclass(frozen=True)
class Space:
    """Values `[B, *moved, num_fixed * dim]`, which permutations move along the axes `moved`.

    Attributes:
        segments: of the targets, and of the sources where it is a weight.
    """

    segments: Axis

    @property
    def axes(self) -> tuple[int, ...]:
        """The permutation of every axis that is moved."""
        return tuple(s.permutation for s in self.segments if s.permutation is not None)

    @property
    def num_fixed(self) -> int:
        """How many values with `dim` channels each lie at one place of the moved axes."""
        lengths = [s.length for s in self.segments if s.permutation is None]
        return torch.Size(lengths).numel()

    def unroll(self, values: Float[Tensor, "B *segments dim"]) -> Tensor:
        """Moved axes first, the others into channels: `[B, *moved, num_fixed * dim]`."""
        order, num_moved = self._order()
        return values.permute(0, *order, -1).flatten(1 + num_moved)

    def roll(self, values: Tensor) -> Float[Tensor, "B *segments dim"]:
        """The inverse of `unroll`."""
        order, num_moved = self._order()
        fixed = [self.segments[axis - 1].length for axis in order[num_moved:]]
        back = [1 + order.index(axis) for axis in range(1, 1 + len(order))]
        return values.unflatten(-1, (*fixed, -1)).permute(0, *back, -1)

    def _order(self) -> tuple[list[int], int]:
        """The axes with those that are moved in front, and how many these are."""
        axes = range(1, 1 + len(self.segments))
        moved = [axis for axis in axes if self.segments[axis - 1].permutation is not None]
        return moved + [axis for axis in axes if axis not in moved], len(moved)


class ParameterSpaces:
    """All spaces of an architecture, and the way there and back from values on its graphs.

    Args:
        template: the architecture.
        axes: what moves the neurons of every group; None: its symmetries, where a single neuron
            stays in place.

    Attributes:
        spaces: those of the biases in the order of the groups, then those of the weights.
    """

    def __init__(self, template: GraphTemplate, axes: Sequence[Axis] | None = None):
        if not template.has_regular_blocks:
            raise NNGraphsError(
                "find the parameter spaces of an architecture",
                found="it has grouped, transposed or flattened maps, or reads parts of a layer.",
                do="Use NGGNN, or NGT with attention='edges', on torch-geometric batches.",
            )
        if axes is None:
            axes = [_without_trivial(axis) for axis in template.symmetries.axes]
        self._node_places = [
            (group.width, (axis,) if group.bias is not None else None)
            for group, axis in zip(template.groups, axes, strict=True)
        ]
        self._edge_places = [
            (
                block.num_edges,
                (
                    _first(axes[block.target], block.num_targets),
                    _first(axes[block.source], block.num_sources),
                )
                if block.is_dense
                else None,
            )
            for block in template.blocks
        ]
        self.num_nodes, self.num_edges = template.num_nodes, template.num_edges
        self.spaces: tuple[Space, ...] = tuple(
            Space(segments)
            for _, place in self._node_places + self._edge_places
            if place is not None
            for segments in product(*place)
        )

    def split(
        self, nodes: Float[Tensor, "B num_nodes dim"], edges: Float[Tensor, "B num_edges dim"]
    ) -> list[Tensor]:
        """The values of every space, of values on neurons and edges."""
        parts = []
        for values, places in ((nodes, self._node_places), (edges, self._edge_places)):
            for part, (_, place) in zip(
                values.split([length for length, _ in places], dim=1), places, strict=True
            ):
                if place is not None:
                    parts += _cut(part.unflatten(1, [_length(axis) for axis in place]), place)
        return [space.unroll(part) for space, part in zip(self.spaces, parts, strict=True)]

    def join(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The inverse of `split`; missing biases and constant edges get zeros."""
        parts = [space.roll(part) for space, part in zip(self.spaces, values, strict=True)]
        like, remaining = parts[0], iter(parts)
        joined = []
        for places in (self._node_places, self._edge_places):
            rows = []
            for length, place in places:
                if place is None:
                    rows.append(like.new_zeros(like.shape[0], length, like.shape[-1]))
                else:
                    count = torch.Size([len(axis) for axis in place]).numel()
                    rows.append(_paste(list(islice(remaining, count)), place).flatten(1, -2))
            joined.append(torch.cat(rows, dim=1))
        return joined[0], joined[1]

    def check(self, graphs: NeuralGraph | NeuralGraphStack) -> None:
        """Raises `NNGraphsError` for graphs of another architecture."""
        found = (graphs.node_features.shape[-2], graphs.edge_features.shape[-2])
        is_stack = isinstance(graphs, NeuralGraphStack)
        if not is_stack or found != (self.num_nodes, self.num_edges):
            raise NNGraphsError(
                f"encode stacks of graphs of one architecture with {self.num_nodes} nodes and "
                f"{self.num_edges} edges",
                found=f"this is a {type(graphs).__name__} with {found[0]} nodes and {found[1]} "
                "edges.",
                do="Make graphs with the stack method of the template that the model was built "
                "for.",
            )


def _without_trivial(axis: Axis) -> Axis:
    """A permutation of one neuron moves nothing."""
    return tuple(Segment(None, 1) if segment.length == 1 else segment for segment in axis)


def _first(axis: Axis, length: int) -> Axis:
    """The segments of the first `length` neurons; templates cut axes where a weight ends."""
    kept = next(count for count in range(len(axis) + 1) if _length(axis[:count]) >= length)
    assert _length(axis[:kept]) == length
    return axis[:kept]


def _length(axis: Axis) -> int:
    return sum(segment.length for segment in axis)


def _cut(values: Float[Tensor, "B *axes dim"], place: Sequence[Axis]) -> list[Tensor]:
    """The parts on every combination of segments, the last axis running fastest."""
    parts = [values]
    for dim, axis in enumerate(place, start=1):
        lengths = [segment.length for segment in axis]
        parts = [piece for part in parts for piece in part.split(lengths, dim=dim)]
    return parts


def _paste(parts: Sequence[Tensor], place: Sequence[Axis]) -> Float[Tensor, "B *axes dim"]:
    """The inverse of `_cut`."""
    for dim, axis in reversed(list(enumerate(place, start=1))):
        count = len(axis)
        starts = range(0, len(parts), count)
        if count > 1:
            parts = [torch.cat(tuple(parts[start : start + count]), dim=dim) for start in starts]
    (values,) = parts
    return values
