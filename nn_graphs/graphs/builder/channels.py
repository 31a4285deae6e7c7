"""Where the channels of a value come from: pieces of groups of neurons, in a row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nn_graphs.graphs.parts.steps import AnyStep


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
