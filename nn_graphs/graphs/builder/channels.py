"""Where the channels of a value come from: pieces of groups of neurons; edges that read them.

Which group the edges go to, and which numbers they get, `build` says when all groups are known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nn_graphs.graphs.parts.edge_blocks import EdgeBlock, EdgeKind
from nn_graphs.graphs.parts.steps import AnyStep
from nn_graphs.networks.parameters import ParameterSlot


@dataclass(frozen=True)
class Piece:
    """`factor` times the neurons `start ... start + length - 1` of a group, after some steps.

    They are the channels from `at` on, each of them `repeat` neighbouring ones (the places of a
    flattened map).
    """

    group: int
    length: int
    at: int = 0
    start: int = 0
    factor: float = 1.0
    repeat: int = 1
    steps: tuple[AnyStep, ...] = ()

    @property
    def width(self) -> int:
        return self.length * self.repeat

    def part(self, first: int, stop: int) -> "Piece | None":
        """What lies among the channels `first ... stop - 1`, as channels that begin at `first`."""
        begin, end = max(first, self.at), min(stop, self.at + self.width)
        if begin >= end:
            return None
        assert self.repeat == 1 or (begin, end) == (self.at, self.at + self.width)
        skipped = (begin - self.at) // self.repeat
        return replace(
            self,
            start=self.start + skipped,
            length=(end - begin) // self.repeat,
            at=begin - first,
        )


@dataclass(frozen=True)
class Value:
    """`width` channels on an axis; where no piece lies they are zero.

    `is_shared`: the value is read by others too, so that nobody must change it.
    """

    pieces: tuple[Piece, ...]
    width: int
    axis: int
    is_shared: bool = False

    @classmethod
    def of_group(cls, group: int, width: int, axis: int) -> "Value":
        return cls((Piece(group, width),), width, axis)

    @classmethod
    def concatenated(cls, values: "Sequence[Value]") -> "Value":
        """The channels of several values, one behind the other."""
        pieces, width = [], 0
        for value in values:
            pieces += [replace(piece, at=width + piece.at) for piece in value.pieces]
            width += value.width
        return cls(tuple(pieces), width, values[0].axis, is_shared=True)

    @property
    def is_simple(self) -> bool:
        """Whether all channels are neurons' own values, none scaled or zero."""
        is_covered = sum(piece.width for piece in self.pieces) == self.width
        return is_covered and all(piece.factor == 1 for piece in self.pieces)

    @property
    def is_repeated(self) -> bool:
        """Whether several channels are one neuron's."""
        return any(piece.repeat > 1 for piece in self.pieces)

    def with_pieces(self, **changes) -> "Value":
        return replace(self, pieces=tuple(replace(piece, **changes) for piece in self.pieces))

    def with_step(self, step: AnyStep) -> "Value":
        pieces = (replace(piece, steps=(*piece.steps, step)) for piece in self.pieces)
        return replace(self, pieces=tuple(pieces))

    def scaled(self, factor: float) -> "Value":
        pieces = (replace(piece, factor=piece.factor * factor) for piece in self.pieces)
        return replace(self, pieces=tuple(pieces))

    def repeated(self, repeat: int) -> "Value":
        """Every channel `repeat` times, as neighbours."""
        pieces = (replace(p, at=p.at * repeat, repeat=p.repeat * repeat) for p in self.pieces)
        return replace(self, pieces=tuple(pieces), width=self.width * repeat)

    def part(self, first: int, width: int) -> "Value":
        """The channels `first ... first + width - 1`."""
        parts = (piece.part(first, first + width) for piece in self.pieces)
        return replace(self, pieces=tuple(p for p in parts if p is not None), width=width)

    def first(self, width: int) -> "Value":
        """The first channels, all where there are no more."""
        return self.part(0, min(width, self.width))


def reading(piece: Piece) -> EdgeBlock:
    """The edges of a constant value that give a piece of a value to those who read it."""
    return EdgeBlock(
        start=0,
        source=piece.group,
        target=0,
        num_sources=piece.length,
        num_targets=piece.width,
        weight=None,
        constant=piece.factor,
        kind=EdgeKind.CONSTANT,
        first_value=0,
        first_source=piece.start,
        first_target=piece.at,
        repeat=piece.repeat,
        steps=piece.steps,
    )


def joining(piece: Piece, joins: tuple[tuple[int, ...], ...], width: int) -> EdgeBlock:
    """Edges of a constant value from chosen channels of a piece to `width` neurons."""
    return replace(reading(piece), num_targets=width, first_target=0, joins=joins)


def one_by_one(value: Value, kind: EdgeKind, slot: ParameterSlot | None) -> list[EdgeBlock]:
    """Edges from each channel to one neuron, whose values are a parameter, or else constant."""
    return [
        replace(reading(piece), kind=kind, weight=slot, columns=_columns(piece, value))
        for piece in value.pieces
    ]


def all_to_all(
    value: Value, weight: ParameterSlot, num_targets: int, *, is_transposed: bool
) -> list[EdgeBlock]:
    """Edges from every channel to every neuron."""
    return [
        replace(
            block,
            num_targets=num_targets,
            first_target=0,
            num_positions=block.repeat,
            repeat=1,
            is_transposed=is_transposed,
        )
        for block in one_by_one(value, EdgeKind.WEIGHT, weight)
    ]


def _columns(piece: Piece, value: Value) -> tuple[int, int] | None:
    """Which columns of a weight belong to a piece of the value that it acts on; None: all."""
    return None if piece.width == value.width else (piece.at, piece.width)
