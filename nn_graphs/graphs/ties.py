"""Which neurons must be permuted together, and which in blocks, found from pairs that must.

Neurons that move as one are a class. A class may lie inside an item of its own (a head, a group of
a grouped convolution): then it moves within its item, and items move as wholes. Two classes can
change places where nothing tells them apart: the groups of neurons they lie in, cuts, and, item by
item, what is inside them. That is found by colour refinement, with 64-bit hashes as colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Numbers = np.ndarray


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


class AxisTies:
    """Finds which neurons must be permuted together, from pairs that must.

    Args:
        widths: number of neurons of every group.
    """

    def __init__(self, widths: Sequence[int]):
        self._starts = np.concatenate([[0], np.cumsum(widths, dtype=np.int64)])
        self._widths = list(widths)
        self._num_elements = int(self._starts[-1])  # neurons, then items
        self._ties: list[tuple[Numbers, Numbers]] = []
        self._nests: list[tuple[Numbers, Numbers]] = []  # neurons, their items
        self._cuts: list[set[int]] = [set() for _ in widths]
        self._fixed: list[int] = []
        self._follows: list[tuple[Numbers, Numbers]] = []  # neurons, those whose order they keep
        self._shared: list[tuple[Numbers, Numbers]] = []  # heads, items
        self._told: list[tuple[Numbers, Numbers]] = []  # neurons, marks

    def fix(self, group: int) -> None:
        """Neurons of this group keep their places."""
        self._fixed.append(group)

    def tie(
        self,
        group: int,
        other: int,
        *,
        length: int,
        first: int = 0,
        other_first: int = 0,
        repeat: int = 1,
    ) -> None:
        """Neuron `first + i` of one group moves with neuron `other_first + i // repeat` of another.

        For all i < length.
        """
        if not length or (repeat == 1 and (group, first) == (other, other_first)):
            return
        steps = np.arange(length)
        mine = self._starts[group] + first + steps
        self._ties.append((mine, self._starts[other] + other_first + steps // repeat))

    def cut(self, group: int, position: int) -> None:
        """Neurons before a position keep apart from those behind it."""
        if 0 < position < self._widths[group]:
            self._cuts[group].add(position)

    def new_items(self, number: int) -> range:
        """Items to nest neurons in."""
        start = self._num_elements
        self._num_elements += number
        return range(start, self._num_elements)

    def nest(self, group: int, items: range, *, first: int, length: int) -> None:
        """`length` neurons of a group lie, in blocks of one size, inside the items."""
        neurons = self._starts[group] + first + np.arange(length)
        size = length // len(items)
        inside = np.arange(length) // size + items.start
        (self._ties if size == 1 else self._nests).append((neurons, inside))

    def elements(self, group: int, neurons: Numbers) -> Numbers:
        """Neurons of a group, given by their numbers in it, as the next methods take them."""
        return self._starts[group] + np.asarray(neurons)

    def tie_elements(self, elements: Numbers, others: Numbers) -> None:
        """Each moves with the one in the same place of `others`."""
        self._ties.append((elements.ravel(), others.ravel()))

    def nest_elements(self, elements: Numbers, items: Numbers) -> None:
        """Each lies inside the item (or the neuron, that then is one) in the same place."""
        self._nests.append((elements.ravel(), items.ravel()))

    def nest_shared(self, rows: Numbers, heads: Numbers, row_of: Numbers) -> None:
        """Rows of elements lie in one item each, and so do the heads that read them.

        Items around the same heads are the same, whatever rows they were made for.
        """
        items = np.array(self.new_items(len(rows)))
        self.nest_elements(rows, np.broadcast_to(items[:, None], rows.shape))
        self.nest_elements(heads, items[row_of])
        self._shared.append((heads, items[row_of]))

    def follow(self, elements: Numbers, leaders: Numbers) -> None:
        """Inside its item, each moves as its leader does; many may have one leader."""
        self._follows.append((elements.ravel(), leaders.ravel()))

    def tell_apart(self, group: int, marks: Sequence[int]) -> None:
        """Neurons of a group with different marks are not alike."""
        self._told.append((self._starts[group] + np.arange(len(marks)), np.asarray(marks)))

    def axes(self) -> tuple[tuple[Segment, ...], ...]:
        """The segments of every group, as long as they can be."""
        if not self._ties and not self._nests and not self._told:
            return self._untied_axes()
        classes = self._tie_shared_items(self._classes())
        while (merged := self._merge_twin_items(classes)) is not None:
            classes = merged
        forest = _Forest(classes, self._nests)
        leaders = self._leaders(classes, forest)
        is_fixed = self._fixed_classes(classes, forest, leaders)
        marks = self._marks(classes)
        colours = self._colours(classes, forest, marks, leaders)
        while True:
            writer = _SegmentWriter(classes, forest, colours, marks, is_fixed, leaders)
            axes = writer.axes(self._starts)
            if not writer.conflicts:
                return axes
            is_fixed = is_fixed | np.isin(colours, list(writer.conflicts))

    def _untied_axes(self) -> tuple[tuple[Segment, ...], ...]:
        """Where nothing is tied: one segment between two cuts."""
        numbers = count()
        return tuple(
            tuple(
                Segment(None if group in self._fixed else next(numbers), stop - start)
                for start, stop in pairwise(sorted({0, *cuts, width}))
            )
            for group, (cuts, width) in enumerate(zip(self._cuts, self._widths, strict=True))
        )

    def _classes(self) -> Numbers:
        """The class of every neuron and item."""
        if not self._ties:
            return np.arange(self._num_elements)
        rows, columns = (np.concatenate(ends) for ends in zip(*self._ties, strict=True))
        shape = (self._num_elements, self._num_elements)
        graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=shape)
        return connected_components(graph, directed=False)[1].astype(np.int64)

    def _tie_shared_items(self, classes: Numbers) -> Numbers:
        """Items around the same heads become one."""
        first: dict[frozenset, int] = {}
        pairs = []
        for heads, items in self._shared:
            for item in np.unique(items).tolist():
                inside = frozenset(classes[heads[items == item]].tolist())
                pairs.append((item, first.setdefault(inside, item)))
        if not pairs:
            return classes
        self._ties.append(tuple(np.array(ends) for ends in zip(*pairs, strict=True)))
        return self._classes()

    def _merge_twin_items(self, classes: Numbers) -> Numbers | None:
        """Items with the same neurons inside move together."""
        if not self._nests:
            return None
        pairs = _class_pairs(classes, self._nests)
        contents = np.zeros(self._num_elements, dtype=np.uint64)
        np.add.at(contents, pairs[:, 1], _hash(pairs[:, 0]))
        items = np.unique(pairs[:, 1])
        _, first, twin = np.unique(contents[items], return_index=True, return_inverse=True)
        if len(first) == len(items):
            return None
        representative = np.full(self._num_elements, -1)
        representative[classes] = np.arange(self._num_elements)
        self._ties.append((representative[items], representative[items[first[twin]]]))
        return self._classes()

    def _leaders(self, classes: Numbers, forest: "_Forest") -> Numbers:
        """The class whose order each class keeps, its own mostly.

        A leader lies in an item around the one that its follower lies in, or in none. Where that is
        not so, and where there are two leaders, both stay where they are.
        """
        leaders = np.arange(len(classes))
        for followers, others in self._follows:
            mine, theirs = classes[followers], classes[others]
            is_new = leaders[mine] == mine
            leaders[mine[is_new]] = theirs[is_new]
            is_other = leaders[mine] != theirs
            forest.is_crossed[mine[is_other]] = forest.is_crossed[theirs[is_other]] = True
        for _ in range(8):
            leaders = leaders[leaders]
        led = np.flatnonzero(leaders != np.arange(len(leaders)))
        outer, is_around = forest.parent[leaders[led]], np.zeros(len(led), dtype=bool)
        above = led
        for _ in range(forest.depth):
            above = np.where(above >= 0, forest.parent[above], -1)
            is_around |= above == outer
        wrong = led[~(is_around | (outer < 0))]
        forest.is_crossed[wrong] = forest.is_crossed[leaders[wrong]] = True
        return leaders

    def _fixed_classes(self, classes: Numbers, forest: "_Forest", leaders: Numbers) -> Numbers:
        is_fixed = forest.is_crossed.copy()
        for group in self._fixed:
            is_fixed[classes[self._starts[group] : self._starts[group + 1]]] = True
        for _ in range(forest.depth + 1):  # an item around a fixed neuron stays as well
            np.logical_or.at(is_fixed, leaders, is_fixed.copy())
            is_fixed |= is_fixed[leaders]
            inside = np.flatnonzero(is_fixed & (forest.parent >= 0))
            is_fixed[forest.parent[inside]] = True
        return is_fixed

    def _marks(self, classes: Numbers) -> Numbers:
        """For every neuron, its group, which cuts it lies behind, which copy of its class it is."""
        section = np.zeros(self._starts[-1], dtype=np.int64)
        for start, cuts, width in zip(self._starts, self._cuts, self._widths, strict=False):
            section[[start + position for position in {0, *cuts} if width]] = 1
        ranks = _ranks(classes[: len(section)], self._group_of)
        marks = _hash(_hash(np.cumsum(section)) + ranks.astype(np.uint64))
        for neurons, own in self._told:
            marks[neurons] = _hash(marks[neurons] + _hash(own))
        return marks

    @property
    def _group_of(self) -> Numbers:
        return np.repeat(np.arange(len(self._widths)), self._widths)

    def _colours(
        self, classes: Numbers, forest: "_Forest", marks: Numbers, leaders: Numbers
    ) -> Numbers:
        """Equal where nothing tells two classes apart."""
        led = np.flatnonzero(leaders != np.arange(len(leaders)))
        of_neurons, group_of = classes[: len(marks)], self._group_of
        colours = np.zeros(self._num_elements, dtype=np.uint64)
        np.add.at(colours, of_neurons, marks)
        if self._nests:  # in how many items a class itself is said to lie
            np.add.at(colours, _class_pairs(classes, self._nests)[:, 0], _hash(np.array([1 << 43])))
        count = 0
        while True:
            colours = forest.refine(colours)
            told = _hash(colours[led]) + _hash(colours[leaders[led]] ^ np.uint64(3))
            np.add.at(colours, leaders[led], _hash(colours[led] ^ np.uint64(4)))
            colours[led] = told
            runs = _runs(colours[forest.top[of_neurons]], group_of)
            np.add.at(colours, forest.top[of_neurons], _hash(runs + (1 << 41)))
            found = len(np.unique(colours[classes]))
            if found == count:
                return colours
            count = found


class _Forest:
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
            pairs = _class_pairs(classes, nests)
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
            np.add.at(refined, self.parent[inside], _hash(colours[inside] ^ np.uint64(1)))
            refined[inside] += _hash(colours[self.parent[inside]] ^ np.uint64(2))
            colours = refined
        return colours.copy()


class _SegmentWriter:
    """Writes the axes of groups as trees of segments, numbering permutations as they appear."""

    def __init__(
        self,
        classes: Numbers,
        forest: _Forest,
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


def _class_pairs(classes: Numbers, pairs: Sequence[tuple[Numbers, Numbers]]) -> Numbers:
    """Distinct pairs (class inside, class of the item)."""
    ends = [classes[np.concatenate(numbers)] for numbers in zip(*pairs, strict=True)]
    return np.unique(np.stack(ends, axis=1), axis=0)


def _ranks(classes: Numbers, group_of: Numbers) -> Numbers:
    """How often a neuron's class was met before in its group."""
    order = np.lexsort((classes, group_of))
    keys = np.stack([group_of[order], classes[order]])
    is_new = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))
    starts = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - starts
    return ranks


def _runs(colours: Numbers, group_of: Numbers) -> Numbers:
    """Number of the run of neighbours of one colour and one group that each neuron lies in."""
    changes = (colours[1:] != colours[:-1]) | (group_of[1:] != group_of[:-1])
    return np.append(0, np.cumsum(changes))


def _boundaries(values: Numbers) -> Numbers:
    return np.flatnonzero(np.append(True, values[1:] != values[:-1]))


def _hash(values: Numbers) -> Numbers:
    """Scrambled 64-bit numbers (the finalizer of splitmix64, Steele et al., 2014)."""
    scrambled = np.asarray(values).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    scrambled = (scrambled ^ (scrambled >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    scrambled = (scrambled ^ (scrambled >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return scrambled ^ (scrambled >> np.uint64(31))
