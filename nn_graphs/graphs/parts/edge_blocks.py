"""Blocks of edges between groups of neurons, and the kinds of edges."""

import math
from dataclasses import dataclass
from enum import Enum

import torch
from jaxtyping import Int
from torch import Tensor

from nn_graphs.graphs.parts.steps import AnyStep, Convolution
from nn_graphs.networks.parameters import ParameterSlot


class EdgeKind(Enum):
    """What the value of an edge is; the value is its `edge_kind_id`."""

    WEIGHT = 0
    CONSTANT = 1
    GAIN = 2
    MEAN = 3
    VARIANCE = 4

    @property
    def is_carrier(self) -> bool:
        """Whether values go along the edge as a product with its own."""
        return self in (EdgeKind.WEIGHT, EdgeKind.CONSTANT)


@dataclass(frozen=True)
class EdgeBlock:
    """Edges `start ... start + num_edges - 1` from the group `source` to the group `target`.

    They join the neurons from `first_source` on, `num_sources` of them, to those from
    `first_target` on. Of the kind `WEIGHT` they are dense: every source is joined to every target
    (of the same one of `num_groups` groups), by `num_positions` parallel edges, in the order in
    which torch stores the weight: by target, or, if `is_transposed`, by source. Edges of other
    kinds are diagonal: source i is joined to the targets `i * repeat ... i * repeat + repeat - 1`;
    or `joins` lists the source and the target of every edge, counted from the first ones.

    Every edge has `prod(kernel)` values, and the block those from `first_value` on: a parameter,
    or its part `columns` (first, number) along the sources, or else the `constant`.

    When the network runs, values take the `steps` before they meet the edge, a `convolution` moves
    the kernel, and what arrives goes into argument number `argument` of the target's rule.
    """

    start: int
    source: int
    target: int
    num_sources: int
    num_targets: int
    weight: ParameterSlot | None
    constant: float
    kind: EdgeKind
    first_value: int
    first_source: int = 0
    first_target: int = 0
    num_groups: int = 1
    num_positions: int = 1
    repeat: int = 1
    is_transposed: bool = False
    kernel: tuple[int, ...] = ()
    columns: tuple[int, int] | None = None
    steps: tuple[AnyStep, ...] = ()
    convolution: Convolution | None = None
    argument: int = 0
    joins: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @property
    def is_dense(self) -> bool:
        return self.kind is EdgeKind.WEIGHT

    @property
    def is_plain(self) -> bool:
        """Whether a matrix, or a constant diagonal, joins the first neurons of both groups."""
        is_static = not self.steps and self.convolution is None and not self.argument
        return self.is_regular and is_static and self.kind.is_carrier

    @property
    def is_regular(self) -> bool:
        """Whether the edges are a matrix or a diagonal between the first neurons of both groups.

        They may be kernels, and values may take steps before they meet them.
        """
        is_whole = not self.first_source and not self.first_target and self.columns is None
        is_single = self.num_groups == self.num_positions == self.repeat == 1
        return is_whole and is_single and not self.is_transposed and self.joins is None

    @property
    def is_bundle(self) -> bool:
        """Whether one neuron is joined to many, or many to one."""
        is_many = self.joins is not None and self.num_edges > 1
        return is_many and any(len(set(end)) == 1 for end in self.joins)

    @property
    def num_edges(self) -> int:
        if self.joins is not None:
            return len(self.joins[0])
        if not self.is_dense:
            return self.num_targets
        return self.num_sources * self.num_targets * self.num_positions // self.num_groups

    @property
    def stop(self) -> int:
        return self.start + self.num_edges

    @property
    def kernel_size(self) -> int:
        return math.prod(self.kernel)

    @property
    def last_value(self) -> int:
        """One behind the last of the block's values."""
        return self.first_value + self.num_edges * self.kernel_size

    @property
    def column_axis(self) -> int:
        """The axis of the weight on which `columns` lie."""
        return 1 if self.is_dense and not self.is_transposed else 0

    def ends(self) -> tuple[Int[Tensor, "num_edges"], Int[Tensor, "num_edges"]]:
        """For every edge, its source and target as numbers inside their groups."""
        if self.joins is not None:
            source, target = (torch.tensor(end, dtype=torch.long) for end in self.joins)
            return self.first_source + source, self.first_target + target
        sources, targets = torch.arange(self.num_sources), torch.arange(self.num_targets)
        if not self.is_dense:
            return self.first_source + targets // self.repeat, self.first_target + targets
        groups = torch.arange(self.num_groups)
        of_group = self.num_sources // self.num_groups, self.num_targets // self.num_groups
        if self.is_transposed:
            source = sources.repeat_interleave(of_group[1])
            target = targets.view(self.num_groups, 1, -1).expand(-1, of_group[0], -1).flatten()
        else:
            target = targets.repeat_interleave(of_group[0])
            source = sources.view(self.num_groups, 1, -1).expand(-1, of_group[1], -1).flatten()
        assert len(groups) * of_group[0] == self.num_sources
        ends = self.first_source + source, self.first_target + target
        if self.num_positions == 1:
            return ends
        return tuple(end.repeat_interleave(self.num_positions) for end in ends)

    def edge_between(
        self, source: Int[Tensor, "*N num_edges"], target: Int[Tensor, "*N num_edges"]
    ) -> Int[Tensor, "*N num_edges"]:
        """The number, within the block, of the edge from a source to a target of their groups.

        Of parallel edges, that of the same position as the edge in whose place it is asked for.
        """
        if self.joins is not None:  # all of one constant value
            return torch.arange(self.num_edges, device=source.device).expand_as(source)
        source, target = source - self.first_source, target - self.first_target
        if not self.is_dense:
            return target
        if self.is_transposed:
            width = self.num_targets // self.num_groups
            number = source * width + target % width
        else:
            width = self.num_sources // self.num_groups
            number = target * width + source % width
        return number * self.num_positions + self.positions().to(number.device)

    def positions(self) -> Int[Tensor, "num_edges"]:
        """Which of its parallel edges each edge is."""
        return torch.arange(self.num_positions).repeat(self.num_edges // self.num_positions)
