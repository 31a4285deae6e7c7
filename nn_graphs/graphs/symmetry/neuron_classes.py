"""Classes of neurons that move as one: their colours, the items around them, their segments.

Colours are 64-bit hashes, equal where nothing tells two classes apart.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from nn_graphs.graphs.parts.symmetries import Segment

Numbers = np.ndarray


def hashed(values: Numbers) -> Numbers:
    """Scrambled 64-bit numbers (the finalizer of splitmix64, Steele et al., 2014)."""
    scrambled = np.asarray(values).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    scrambled = (scrambled ^ (scrambled >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    scrambled = (scrambled ^ (scrambled >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return scrambled ^ (scrambled >> np.uint64(31))


def ranks_of(classes: Numbers, group_of: Numbers) -> Numbers:
    """How often a neuron's class was met before in its group."""
    order = np.lexsort((classes, group_of))
    keys = np.stack([group_of[order], classes[order]])
    is_new = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))
    starts = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - starts
    return ranks


def runs_of(colours: Numbers, group_of: Numbers) -> Numbers:
    """Number of the run of neighbours of one colour and one group that each neuron lies in."""
    changes = (colours[1:] != colours[:-1]) | (group_of[1:] != group_of[:-1])
    return np.append(0, np.cumsum(changes))


class Forest:
    """Which class lies inside which item; items may lie in larger ones.

    Attributes:
        parent: the smallest item around each class, -1 where there is none.
        is_crossed: items that overlap, and what is in them, cannot move.
    """

    def __init__(self, classes: Numbers, nests: Sequence[tuple[Numbers, Numbers]]):
        size = len(classes)
        self.parent = np.full(size, -1)
        self.is_crossed = np.zeros(size, dtype=bool)
        if nests:
            pairs = class_pairs(classes, nests)
            sizes = np.bincount(pairs[:, 1], minlength=size)
            order = np.lexsort((sizes[pairs[:, 1]], pairs[:, 0]))
            self._chain(pairs[order])
        self.top = np.arange(size)
        self.depth = 0
        while ((above := self.parent[self.top]) >= 0).any() and self.depth < 8:
            self.top = np.where(above >= 0, above, self.top)
            self.depth += 1

    def _chain(self, pairs: Numbers) -> None:
        """Each class lies in its smallest item, that in the next larger one, and so on."""
        inner, outer = pairs[:, 0], pairs[:, 1]
        is_first = np.append(True, inner[1:] != inner[:-1])
        self.parent[inner[is_first]] = outer[is_first]
        lower, upper = outer[:-1][~is_first[1:]], outer[1:][~is_first[1:]]
        self.parent[lower] = upper
        is_wrong = self.parent[lower] != upper
        for ends in (lower[is_wrong], upper[is_wrong]):
            self.is_crossed[ends] = True
        self.is_crossed[inner[np.isin(outer, np.flatnonzero(self.is_crossed))]] = True

    def refine(self, colours: Numbers) -> Numbers:
        """Colours that know those of the items around a class, and of what is inside it."""
        inside = np.flatnonzero(self.parent >= 0)
        for _ in range(2 * self.depth):
            refined = colours.copy()
            np.add.at(refined, self.parent[inside], hashed(colours[inside] ^ np.uint64(1)))
            refined[inside] += hashed(colours[self.parent[inside]] ^ np.uint64(2))
            colours = refined
        return colours.copy()


def class_pairs(classes: Numbers, pairs: Sequence[tuple[Numbers, Numbers]]) -> Numbers:
    """Distinct pairs (class inside, class of the item)."""
    ends = [classes[np.concatenate(numbers)] for numbers in zip(*pairs, strict=True)]
    return np.unique(np.stack(ends, axis=1), axis=0)


class SegmentWriter:
    """Writes the axes of groups as trees of segments, numbering permutations as they appear."""

    def __init__(
        self,
        classes: Numbers,
        forest: Forest,
        colours: Numbers,
        marks: Numbers,
        is_fixed: Numbers,
        leaders: Numbers,
    ):
        self.classes, self.forest, self.is_fixed = classes, forest, is_fixed
        self.leaders = leaders
        self.colours, self.marks = colours, marks
        self.numbers: dict[int, int] = {}
        self.orders: dict[int, bytes] = {}
        self.conflicts: set[int] = set()  # colours whose items stand in different orders

    def axes(self, starts: Numbers) -> tuple[tuple[Segment, ...], ...]:
        neurons = np.arange(len(self.marks))
        return tuple(
            self._segments(neurons[start:stop]) for start, stop in pairwise(starts.tolist())
        )

    def _segments(self, neurons: Numbers, level: int = 0) -> tuple[Segment, ...]:
        """The segments of neighbouring neurons."""
        if not len(neurons):
            return ()
        classes = self.classes[neurons]
        items = self._at_level(classes, level)
        item_starts = _boundaries(items)
        item_widths = np.diff(np.append(item_starts, len(items)))
        chosen = items[item_starts]
        marks = self.marks[neurons[item_starts]]
        kinds = np.stack([self.colours[chosen], item_widths.astype(np.uint64), marks])
        changes = np.append(True, (kinds[:, 1:] != kinds[:, :-1]).any(axis=0))
        first_items = np.append(np.flatnonzero(changes), len(chosen)).tolist()
        segments = []
        for first, last in pairwise(first_items):
            start, width = int(item_starts[first]), int(item_widths[first])
            block = classes[start : start + width]
            alike = classes[start : start + width * (last - first)].reshape(-1, width)
            self._check_alike(alike, int(chosen[first]))
            is_leaf = (block == chosen[first]).all()
            segments.append(
                Segment(
                    self._number(chosen[first:last]),
                    last - first,
                    width if is_leaf else 1,
                    () if is_leaf else self._segments(neurons[start : start + width], level + 1),
                )
            )
        return tuple(segments)

    def _at_level(self, classes: Numbers, level: int) -> Numbers:
        """Of the items around each neuron, from the largest down to its class, one."""
        chain = [classes]
        while ((above := self.forest.parent[chain[-1]]) >= 0).any():
            chain.append(np.where(above >= 0, above, chain[-1]))
        depth = np.zeros(len(classes), dtype=np.int64)  # items around each class
        for lower, upper in pairwise(chain):
            depth += lower != upper
        steps = np.maximum(depth - level, 0)
        return np.stack(chain)[steps, np.arange(len(classes))]

    def _number(self, items: Numbers) -> int | None:
        if self.is_fixed[items].any():
            return None
        items = self.leaders[items]
        colour = int(self.colours[items[0]])
        if self.orders.setdefault(colour, items.tobytes()) != items.tobytes():
            self.conflicts.add(colour)
        return self.numbers.setdefault(colour, len(self.numbers))

    def _check_alike(self, classes: Numbers, item: int) -> None:
        """Items that change places, `[items, neurons]`, must hold neurons in the same order."""
        colours = self.colours[classes]
        if (colours != colours[0]).any() and not self.is_fixed[item]:
            self.conflicts.add(int(self.colours[item]))


def _boundaries(values: Numbers) -> Numbers:
    return np.flatnonzero(np.append(True, values[1:] != values[:-1]))
