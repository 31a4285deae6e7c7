"""Classes of neurons, written as the segments of their axes."""

from itertools import pairwise

import numpy as np

from nn_graphs.graphs.symmetry.colours import Numbers
from nn_graphs.graphs.symmetry.nesting import Forest
from nn_graphs.graphs.symmetry.segments import Segment


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
