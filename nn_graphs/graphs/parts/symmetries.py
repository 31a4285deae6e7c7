"""The record of a network's symmetries: permutations, axis by axis, and what goes with them.

`Symmetries` says which neurons each permutation moves, `NeuronRules` which signs, scales and phases
the activations allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.node_groups import NeuronKind, NodeGroup
from nn_graphs.graphs.parts.parameter_places import Places, hidden_parameters, overlaps
from nn_graphs.networks.parameters import ParameterSlot


@dataclass(frozen=True)
class Segment:
    """`length` neighbouring items moved by the permutation number `permutation`; None: fixed.

    An item is one neuron, `repeat` neighbouring ones (a neuron and its copies), or, with `inner`, a
    block of segments. A permutation inside a block is drawn anew for every block.
    """

    permutation: int | None
    length: int
    repeat: int = 1
    inner: "tuple[Segment, ...]" = ()

    @property
    def item_width(self) -> int:
        """Number of neurons of one item."""
        return sum(segment.width for segment in self.inner) if self.inner else self.repeat

    @property
    def width(self) -> int:
        """Number of neurons."""
        return self.length * self.item_width


@dataclass(frozen=True)
class Symmetries:
    """For every group of a template, the segments of its axis.

    Attributes:
        axes: the segments, nested where neurons move inside blocks.
        sizes: number of items that each permutation moves.
        num_copies: how often each is drawn: once, or once for every block it lies in; where blocks
            of another axis lie inside those, all in one of them share what is drawn.
    """

    axes: tuple[tuple[Segment, ...], ...]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(size for size, _ in self._permutations)

    @cached_property
    def num_copies(self) -> tuple[int, ...]:
        return tuple(copies for _, copies in self._permutations)

    @cached_property
    def _permutations(self) -> list[tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        waiting = [(segment, 1) for axis in self.axes for segment in axis]
        while waiting:
            segment, copies = waiting.pop()
            if segment.permutation is not None:
                known = found.get(segment.permutation, (0, copies))
                found[segment.permutation] = (segment.length, min(copies, known[1]))
            waiting += [(inner, copies * segment.length) for inner in segment.inner]
        return [found[number] for number in sorted(found)]


SymmetryKind = Literal["permutation", "sign", "scale", "phase"]
ALL_KINDS: tuple[SymmetryKind, ...] = ("permutation", "sign", "scale", "phase")


class NeuronRules:
    """What the activations of a template allow, per permutation and per neuron.

    Args:
        groups: the neurons of the template.
        blocks: its edges.
        symmetries: its permutations.
        places: where its graphs show each parameter.

    Attributes:
        allowed_kinds: for every permutation, what its neurons may do together.
        allows_sign: `[num_nodes]`, whether a neuron's sign may change.
        allows_scale: `[num_nodes]`, whether a neuron may be made larger or smaller.
        allows_turns: `[num_nodes]`, whether a neuron's phase may move.
        allows_odd_turns: `[num_nodes]`, whether it may move by an odd number of half periods.
        omega_0: `[num_nodes]`, 1 where the activation has no period.
    """

    def __init__(
        self,
        groups: Sequence[NodeGroup],
        blocks: Sequence[EdgeBlock],
        *,
        symmetries: Symmetries,
        places: Places,
    ):
        self.allowed_kinds: list[set[SymmetryKind]] = [set(ALL_KINDS) for _ in symmetries.sizes]
        allowed = _allowed_per_group(groups, blocks)
        for kinds, axis in zip(allowed, symmetries.axes, strict=True):
            for permutation in _permutations(axis):
                self.allowed_kinds[permutation] &= kinds
        self.allows_sign, self.allows_scale = (
            torch.tensor([kind in kinds for axis in symmetries.axes for kinds in self._kinds(axis)])
            for kind in ("sign", "scale")
        )
        hidden = hidden_parameters(groups)
        shared = {
            slot for slot, shown in places.items() if len(shown) > 1 or overlaps(slot, hidden)
        }
        odd_turns = [
            group.offset == 0
            and all(_passes_signs(b) and b.weight not in shared for b in blocks if b.source == n)
            and group.kind is not NeuronKind.OUTPUT
            for n, group in enumerate(groups)
        ]
        periods = [
            float(g.activation.parameter) if g.activation.rule.is_periodic else 1.0 for g in groups
        ]
        self.allows_turns = _per_node(groups, [_allows_turns(group, shared) for group in groups])
        self.allows_odd_turns = _per_node(groups, odd_turns)
        self.omega_0 = _per_node(groups, periods)

    def _kinds(self, axis: Sequence[Segment]) -> list[set[SymmetryKind]]:
        """What each neuron on an axis may do, by the innermost permutation that moves it."""
        found: list[set[SymmetryKind]] = []
        for segment in axis:
            own = set() if segment.permutation is None else self.allowed_kinds[segment.permutation]
            item = self._kinds(segment.inner) if segment.inner else [own] * segment.repeat
            found += item * segment.length
        return found


def _permutations(axis: Sequence[Segment]) -> list[int]:
    """All permutations on an axis."""
    own = [segment.permutation for segment in axis if segment.permutation is not None]
    return own + [number for segment in axis for number in _permutations(segment.inner)]


def _allowed_per_group(
    groups: Sequence[NodeGroup], blocks: Sequence[EdgeBlock]
) -> list[set[SymmetryKind]]:
    """What each group allows, by its activation and by what reads it and what it reads."""
    allowed = [_allowed_kinds(group) for group in groups]
    gains = {block.weight for block in blocks if not block.is_dense}
    for kinds, group in zip(allowed, groups, strict=True):
        if group.bias is not None and group.bias in gains:  # which no factor changes
            kinds &= {"permutation"}
    for block in blocks:
        if not groups[block.target].rule.is_linear or block.is_bundle:
            allowed[block.source] &= {"permutation"}
        if block.is_bundle:
            allowed[block.target] &= {"permutation"}
        for step in block.steps:
            if not step.is_odd:
                allowed[block.source] -= {"sign"}
            if not step.is_homogeneous:
                allowed[block.source] -= {"scale"}
    return allowed


def _passes_signs(block: EdgeBlock) -> bool:
    """Whether what comes out of a block changes its sign with the source, and it can be undone."""
    return block.is_dense and all(step.is_odd for step in block.steps)


def _allowed_kinds(group: NodeGroup) -> set[SymmetryKind]:
    """What a group's activation allows beside turns, which are drawn per neuron."""
    allowed: set[SymmetryKind] = {"permutation"}
    if not group.rule.is_linear:
        return allowed
    if group.activation.rule.is_odd and group.offset == 0:
        allowed.add("sign")
    if group.activation.rule.is_positively_homogeneous and group.offset == 0:
        allowed.add("scale")
    return allowed


def _allows_turns(group: NodeGroup, shared: set[ParameterSlot]) -> bool:
    has_own_bias = group.bias is not None and group.bias not in shared
    return group.activation.rule.is_periodic and has_own_bias


def _per_node(groups: Sequence[NodeGroup], values: Sequence) -> Tensor:
    widths = torch.tensor([group.width for group in groups])
    dtype = torch.float64 if isinstance(values[0], float) else None
    return torch.tensor(values, dtype=dtype).repeat_interleave(widths)
