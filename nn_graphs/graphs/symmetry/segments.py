"""The record of a network's symmetries: which neurons each permutation moves, axis by axis."""

from dataclasses import dataclass
from functools import cached_property


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
