"""Symmetry as data: which changes of the parameters leave the function of a network as it is.

The neurons of every group lie on an axis, a sequence of segments; each segment is moved by one
permutation, which segments of several groups may share (an additive skip ties the neurons that it
adds). With a permutation go, where all the activations on it allow it,

- a sign per neuron (odd activations: sine, tanh, none),
- a positive scale per neuron (positively homogeneous ones: relu, leaky_relu, none),
- a phase per neuron (sine with a bias): the bias moves by k pi / omega_0, which turns the neuron's
  output into (-1)^k times itself.

Incoming weights and the bias of a neuron take its factor, outgoing weights the inverse of it
(Hecht-Nielsen, 1990; Godfrey et al., NeurIPS 2022; Kalogeropoulos et al., NeurIPS 2024).
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.neural_graph import NeuronKind
from nn_graphs.networks.parameters import ParameterSlot

if TYPE_CHECKING:
    from nn_graphs.graphs.neural_graph import NeuralGraphStack
    from nn_graphs.graphs.template import GraphTemplate, NodeGroup

SymmetryKind = Literal["permutation", "sign", "scale", "phase"]
ALL_KINDS: tuple[SymmetryKind, ...] = ("permutation", "sign", "scale", "phase")


@dataclass(frozen=True)
class Segment:
    """`length` neighbouring neurons moved by the permutation number `permutation`; None: fixed."""

    permutation: int | None
    length: int


@dataclass(frozen=True)
class Symmetries:
    """For every group of a template, the segments of its axis."""

    axes: tuple[tuple[Segment, ...], ...]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of neurons that each permutation moves."""
        found = {
            segment.permutation: segment.length
            for axis in self.axes
            for segment in axis
            if segment.permutation is not None
        }
        return tuple(found[number] for number in sorted(found))


@dataclass(frozen=True)
class SymmetryElement:
    """`N` symmetries of one template, one for each of `N` networks.

    Every tensor is `[N, num_nodes]`, over all neurons of the template.

    Attributes:
        order: neuron i of the new network is neuron `order[i]` of the old one.
        factor: factor on the incoming weights and bias of the old neurons.
        shift: added to the bias of the old neurons, after the factor.
        turn: +1 or -1: what the shift does to the neurons' outputs.
    """

    order: Int[Tensor, "N num_nodes"]
    factor: Float[Tensor, "N num_nodes"]
    shift: Float[Tensor, "N num_nodes"]
    turn: Float[Tensor, "N num_nodes"]

    def inverse(self) -> "SymmetryElement":
        """The symmetries that undo these."""
        back = self.order.argsort(dim=1)
        factor, shift, turn = (
            values.gather(1, self.order) for values in (self.factor, self.shift, self.turn)
        )
        return SymmetryElement(back, 1 / factor, -shift / factor, turn)


def sample_symmetries(
    template: "GraphTemplate",
    num_networks: int,
    *,
    kinds: Collection[SymmetryKind] = ALL_KINDS,
    generator: torch.Generator | None = None,
    max_log_scale: float = 1.0,
    max_turns: int = 2,
    dtype: torch.dtype = torch.float32,
) -> SymmetryElement:
    """Random symmetries, independent for each network, on the CPU.

    Args:
        template: the architecture.
        num_networks: `N`.
        kinds: which kinds to draw; those that an activation does not allow are left out for it.
        generator: source of randomness.
        max_log_scale: scales are exp(U(-max_log_scale, max_log_scale)).
        max_turns: phases are k pi / omega_0 with k uniform in -max_turns ... max_turns.
        dtype: of the factors and shifts.

    Raises:
        NNGraphsError: a kind is unknown.
    """
    _check_kinds(kinds)
    rules = NeuronRules(template)
    order, factor = [], []
    draws = [
        _draw_permutation(
            (num_networks, size), allowed & set(kinds), max_log_scale, generator=generator
        )
        for size, allowed in zip(template.symmetries.sizes, rules.allowed_kinds, strict=True)
    ]
    for group, axis in zip(template.groups, template.symmetries.axes, strict=True):
        start = group.start
        for segment in axis:
            here = torch.arange(segment.length).expand(num_networks, -1)
            scale = torch.ones(num_networks, segment.length)
            if segment.permutation is not None:
                here, scale = draws[segment.permutation]
            order.append(start + here)
            factor.append(scale)
            start += segment.length
    turns = _draw_turns(
        rules, num_networks, max_turns if "phase" in kinds else 0, generator=generator
    )
    return SymmetryElement(
        order=torch.cat(order, dim=1),
        factor=torch.cat(factor, dim=1).to(dtype),
        shift=(turns.double() * math.pi / rules.omega_0).to(dtype),
        turn=(1 - 2 * (turns % 2)).to(dtype),
    )


def apply_symmetries(
    template: "GraphTemplate", params: Float[Tensor, "N num_params"], element: SymmetryElement
) -> Float[Tensor, "N num_params"]:
    """Parameters of the networks that compute the same functions after the symmetries."""
    moved = apply_to_graphs(template, template.stack(params), element).params
    return torch.where(template.is_shown.to(params.device), moved, params)


def apply_to_graphs(
    template: "GraphTemplate", graphs: "NeuralGraphStack", element: SymmetryElement
) -> "NeuralGraphStack":
    """The same networks after the symmetries, as graphs whose weights and biases have changed."""
    structure = graphs.structure
    order, factor, shift, turn = (
        values.to(graphs.node_features.device)
        for values in (element.order, element.factor, element.shift, element.turn)
    )
    moved = (shift * structure.has_bias).unsqueeze(-1)
    nodes = graphs.node_features * factor.unsqueeze(-1) + moved
    source, target = structure.edge_index
    outgoing = turn / factor
    change = factor[:, target] * outgoing[:, source]
    edges = graphs.edge_features * change.unsqueeze(-1)
    edge_order = _edge_order(template, order)
    return type(graphs)(
        template,
        nodes.gather(1, order.unsqueeze(-1).expand_as(nodes)),
        edges.gather(1, edge_order.unsqueeze(-1).expand_as(edges)),
    )


def _edge_order(
    template: "GraphTemplate", order: Int[Tensor, "N num_nodes"]
) -> Int[Tensor, "N num_edges"]:
    """Which old edge each edge of the permuted graphs is."""
    parts = []
    for block in template.blocks:
        source, target = template.groups[block.source], template.groups[block.target]
        old_source = order[:, source.start : source.start + block.num_sources] - source.start
        old_target = order[:, target.start : target.start + block.num_targets] - target.start
        if block.is_dense:
            old = old_target.unsqueeze(2) * block.num_sources + old_source.unsqueeze(1)
            parts.append(block.start + old.flatten(1))
        else:
            parts.append(block.start + old_source)
    return torch.cat(parts, dim=1)


def _check_kinds(kinds: Collection[SymmetryKind]) -> None:
    unknown = sorted(set(kinds) - set(ALL_KINDS))
    if unknown:
        raise NNGraphsError(
            f"sample symmetries of the kinds {', '.join(sorted(kinds))}",
            found=f"{', '.join(unknown)} is unknown.",
            do=f"Choose from {', '.join(ALL_KINDS)}.",
        )


def _draw_permutation(
    shape: tuple[int, int],
    kinds: set[SymmetryKind],
    max_log_scale: float,
    *,
    generator: torch.Generator | None,
) -> tuple[Int[Tensor, "N size"], Float[Tensor, "N size"]]:
    """Order and factor of the neurons that share one permutation, for `N` networks."""
    order = torch.arange(shape[1]).expand(shape)
    factor = torch.ones(shape)
    if "permutation" in kinds:
        order = torch.rand(shape, generator=generator).argsort(dim=1)
    if "sign" in kinds:
        factor = 2.0 * torch.randint(2, shape, generator=generator) - 1
    if "scale" in kinds:
        log_scale = 2 * torch.rand(shape, generator=generator) - 1
        factor = factor * (max_log_scale * log_scale).exp()
    return order, factor


def _draw_turns(
    rules: "NeuronRules", num_networks: int, max_turns: int, *, generator: torch.Generator | None
) -> Int[Tensor, "N num_nodes"]:
    """By how many half periods each neuron's phase moves."""
    shape = (num_networks, len(rules.allows_turns))
    turns = torch.randint(-max_turns, max_turns + 1, shape, generator=generator)
    return torch.where(rules.allows_odd_turns, turns, turns - turns.fmod(2)) * rules.allows_turns


class NeuronRules:
    """What the activations of a template allow, per permutation and per neuron."""

    def __init__(self, template: "GraphTemplate"):
        sizes = template.symmetries.sizes
        self.allowed_kinds: list[set[SymmetryKind]] = [set(ALL_KINDS) for _ in sizes]
        for group, axis in zip(template.groups, template.symmetries.axes, strict=True):
            for segment in axis:
                if segment.permutation is not None:
                    self.allowed_kinds[segment.permutation] &= _allowed_kinds(group)
        shared = {slot for slot, places in template.places.items() if len(places) > 1}
        turns = [_allows_turns(group, shared) for group in template.groups]
        odd_turns = [
            group.offset == 0
            and all(b.is_dense and b.weight not in shared for b in template.blocks_from(number))
            and group.kind is not NeuronKind.OUTPUT
            for number, group in enumerate(template.groups)
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


def _allowed_kinds(group: "NodeGroup") -> set[SymmetryKind]:
    """What a group's activation allows beside turns, which are drawn per neuron."""
    allowed: set[SymmetryKind] = {"permutation"}
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


@dataclass
class _Part:
    """A run of neurons of one group, tied to the part `twin` of another where that is set."""

    length: int
    is_fixed: bool = False
    twin: "_Part | None" = None
    halves: "tuple[_Part, _Part] | None" = field(default=None, repr=False)

    def root(self) -> "_Part":
        return self.twin.root() if self.twin is not None else self

    def leaves(self) -> "Iterator[_Part]":
        """The parts into which the root has been cut, in order."""
        root = self.root()
        if root.halves is None:
            yield root
        else:
            for half in root.halves:
                yield from half.leaves()

    def first(self, length: int) -> "_Part":
        """The first `length` neurons of a root that is whole."""
        if self.length > length:
            self.cut(length)
        return next(self.leaves())

    def cut(self, length: int) -> None:
        """Cuts a root that is whole, and so every part tied to it, behind `length` neurons."""
        self.halves = (_Part(length), _Part(self.length - length))


class AxisTies:
    """Finds which neurons must be permuted together, from pairs that must.

    Args:
        widths: number of neurons of every group.
    """

    def __init__(self, widths: Sequence[int]):
        self._axes = [_Part(width) for width in widths]
        self._ties: list[tuple[int, int, int]] = []
        self._cuts: list[tuple[int, int]] = []
        self._fixed: list[int] = []

    def fix(self, group: int) -> None:
        """Neurons of this group keep their places."""
        self._fixed.append(group)

    def tie(self, group: int, other: int, *, length: int) -> None:
        """Neuron i of one group and neuron i of the other move together, for i < length."""
        self._ties.append((length, group, other))

    def cut(self, group: int, position: int) -> None:
        """Neurons before a position keep apart from those behind it."""
        self._cuts.append((group, position))

    def axes(self) -> tuple[tuple[Segment, ...], ...]:
        """The segments of every group, as long as they can be."""
        for length, group, other in sorted(self._ties, reverse=True):  # a shorter one may be idle
            self._join(group, other, length)
        for group, position in self._cuts:
            self._part_at(group, position)
        for group in self._fixed:
            for part in self._axes[group].leaves():
                part.is_fixed = True
        return self._segments()

    def _join(self, group: int, other: int, length: int) -> None:
        position = 0
        while position < length:
            theirs = self._part_at(other, position)
            mine = self._part_at(group, position)
            theirs = self._part_at(other, position)  # cutting one may have cut the other
            if mine is not theirs:
                shared = min(mine.length, theirs.length, length - position)
                mine, theirs = mine.first(shared), theirs.first(shared)
                theirs.twin = mine
            position += mine.length

    def _segments(self) -> tuple[tuple[Segment, ...], ...]:
        numbers: dict[int, int] = {}

        def segment(part: _Part) -> Segment:
            if part.is_fixed:
                return Segment(None, part.length)
            return Segment(numbers.setdefault(id(part), len(numbers)), part.length)

        return tuple(tuple(segment(part) for part in axis.leaves()) for axis in self._axes)

    def _part_at(self, group: int, position: int) -> _Part | None:
        """The uncut part that starts at a neuron, cut off there if need be; None at the end."""
        start = 0
        for part in self._axes[group].leaves():
            if start == position:
                return part
            if start + part.length > position:
                part.cut(position - start)
                return self._part_at(group, position)
            start += part.length
        return None
