"""Which signs, scales and phases go with the permutations: what the activations allow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from nn_graphs.graphs.neural_graph import NeuronKind
from nn_graphs.graphs.symmetry.segments import Segment
from nn_graphs.networks.parameters import ParameterSlot

if TYPE_CHECKING:
    from nn_graphs.graphs.parts.groups import EdgeBlock, NodeGroup
    from nn_graphs.graphs.template import GraphTemplate

SymmetryKind = Literal["permutation", "sign", "scale", "phase"]
ALL_KINDS: tuple[SymmetryKind, ...] = ("permutation", "sign", "scale", "phase")


class NeuronRules:
    """What the activations of a template allow, per permutation and per neuron."""

    def __init__(self, template: "GraphTemplate"):
        sizes = template.symmetries.sizes
        self.allowed_kinds: list[set[SymmetryKind]] = [set(ALL_KINDS) for _ in sizes]
        allowed = _allowed_per_group(template)
        for kinds, axis in zip(allowed, template.symmetries.axes, strict=True):
            for permutation in _permutations(axis):
                self.allowed_kinds[permutation] &= kinds
        shared = {slot for slot, places in template.places.items() if len(places) > 1}
        turns = [_allows_turns(group, shared) for group in template.groups]
        odd_turns = [
            group.offset == 0
            and all(_passes_signs(b) and b.weight not in shared for b in template.blocks_from(n))
            and group.kind is not NeuronKind.OUTPUT
            for n, group in enumerate(template.groups)
        ]
        self.allows_turns = _per_node(template, turns)
        self.allows_odd_turns = _per_node(template, odd_turns)
        self.omega_0 = _per_node(
            template,
            [
                float(g.activation.parameter) if g.activation.rule.is_periodic else 1.0
                for g in template.groups
            ],
        )


def _permutations(axis: Sequence[Segment]) -> list[int]:
    """All permutations on an axis."""
    own = [segment.permutation for segment in axis if segment.permutation is not None]
    return own + [number for segment in axis for number in _permutations(segment.inner)]


def _allowed_per_group(template: "GraphTemplate") -> list[set[SymmetryKind]]:
    """What each group allows, by its activation and by what reads it and what it reads."""
    allowed = [_allowed_kinds(group) for group in template.groups]
    for block in template.blocks:
        if not template.groups[block.target].rule.is_linear:
            allowed[block.source] &= {"permutation"}
        for step in block.steps:
            if not step.is_odd:
                allowed[block.source] -= {"sign"}
            if not step.is_homogeneous:
                allowed[block.source] -= {"scale"}
    return allowed


def _passes_signs(block: "EdgeBlock") -> bool:
    """Whether what comes out of a block changes its sign with the source, and it can be undone."""
    return block.is_dense and all(step.is_odd for step in block.steps)


def _allowed_kinds(group: "NodeGroup") -> set[SymmetryKind]:
    """What a group's activation allows beside turns, which are drawn per neuron."""
    allowed: set[SymmetryKind] = {"permutation"}
    if not group.rule.is_linear:
        return allowed
    if group.activation.rule.is_odd and group.offset == 0:
        allowed.add("sign")
    if group.activation.rule.is_positively_homogeneous and group.offset == 0:
        allowed.add("scale")
    return allowed


def _allows_turns(group: "NodeGroup", shared: set[ParameterSlot]) -> bool:
    has_own_bias = group.bias is not None and group.bias not in shared
    return group.activation.rule.is_periodic and has_own_bias


def _per_node(template: "GraphTemplate", values: Sequence) -> Tensor:
    widths = torch.tensor([group.width for group in template.groups])
    dtype = torch.float64 if isinstance(values[0], float) else None
    return torch.tensor(values, dtype=dtype).repeat_interleave(widths)
