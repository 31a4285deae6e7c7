"""Which neurons must be permuted together, and which in blocks, found from pairs that must.

Neurons that move as one are a class. A class may lie inside an item of its own (a head, a group of
a grouped convolution): then it moves within its item, and items move as wholes. Two classes can
change places where nothing tells them apart: the groups of neurons they lie in, cuts, and, item by
item, what is inside them. That is found by colour refinement, with 64-bit hashes as colours.
"""

from collections.abc import Sequence
from itertools import count, pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nn_graphs.graphs.parts.symmetries import Segment
from nn_graphs.graphs.symmetry.neuron_classes import (
    Forest,
    Numbers,
    SegmentWriter,
    class_pairs,
    hashed,
    ranks_of,
    runs_of,
)


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
        self._fixed_elements: list[Numbers] = []
        self._follows: list[tuple[Numbers, Numbers]] = []  # neurons, those whose order they keep
        self._shared: list[tuple[Numbers, Numbers]] = []  # heads, items
        self._told: list[tuple[Numbers, Numbers]] = []  # neurons, marks

    def fix(self, group: int) -> None:
        """Neurons of this group keep their places."""
        self._fixed.append(group)

    def fix_elements(self, elements: Numbers) -> None:
        """These neurons keep their places, and others do without them."""
        self._fixed_elements.append(elements)
        self._told.append((elements, np.ones_like(elements)))

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

    def tell_apart(self, group: int, marks: Sequence[int] | Numbers, *, first: int = 0) -> None:
        """Neurons of a group, from `first` on, with different marks are not alike."""
        neurons = self._starts[group] + first + np.arange(len(marks))
        self._told.append((neurons, np.asarray(marks)))

    def axes(self) -> tuple[tuple[Segment, ...], ...]:
        """The segments of every group, as long as they can be."""
        if not self._ties and not self._nests and not self._told:
            return self._untied_axes()
        classes = self._tie_shared_items(self._classes())
        while (merged := self._merge_twin_items(classes)) is not None:
            classes = merged
        classes = self._tie_common_leaders(classes)
        forest = Forest(classes, self._nests)
        leaders = self._leaders(classes, forest)
        is_fixed = self._fixed_classes(classes, forest, leaders)
        marks = self._marks(classes)
        colours = self._colours(classes, forest, marks, leaders)
        while True:
            writer = SegmentWriter(classes, forest, colours, marks, is_fixed, leaders)
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
        pairs = class_pairs(classes, self._nests)
        contents = np.zeros(self._num_elements, dtype=np.uint64)
        np.add.at(contents, pairs[:, 1], hashed(pairs[:, 0]))
        items = np.unique(pairs[:, 1])
        _, first, twin = np.unique(contents[items], return_index=True, return_inverse=True)
        if len(first) == len(items):
            return None
        representative = np.full(self._num_elements, -1)
        representative[classes] = np.arange(self._num_elements)
        self._ties.append((representative[items], representative[items[first[twin]]]))
        return self._classes()

    def _tie_common_leaders(self, classes: Numbers) -> Numbers:
        """Leaders of the same followers keep one order, where they lie in no items."""
        if len(self._follows) < 2:
            return classes
        followers, leaders = (np.concatenate(ends) for ends in zip(*self._follows, strict=True))
        inside = [classes[neurons] for neurons, _ in self._nests]
        is_free = ~np.isin(classes[leaders], np.concatenate(inside) if inside else [])
        mine, theirs = classes[followers[is_free]], leaders[is_free]
        _, first, which = np.unique(mine, return_index=True, return_inverse=True)
        self._ties.append((theirs, theirs[first[which.ravel()]]))
        return self._classes()

    def _leaders(self, classes: Numbers, forest: Forest) -> Numbers:
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

    def _fixed_classes(self, classes: Numbers, forest: Forest, leaders: Numbers) -> Numbers:
        is_fixed = forest.is_crossed.copy()
        for group in self._fixed:
            is_fixed[classes[self._starts[group] : self._starts[group + 1]]] = True
        for elements in self._fixed_elements:
            is_fixed[classes[elements]] = True
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
        ranks = ranks_of(classes[: len(section)], self._group_of)
        marks = hashed(hashed(np.cumsum(section)) + ranks.astype(np.uint64))
        for neurons, own in self._told:
            marks[neurons] = hashed(marks[neurons] + hashed(own))
        return marks

    @property
    def _group_of(self) -> Numbers:
        return np.repeat(np.arange(len(self._widths)), self._widths)

    def _colours(
        self, classes: Numbers, forest: Forest, marks: Numbers, leaders: Numbers
    ) -> Numbers:
        """Equal where nothing tells two classes apart."""
        led = np.flatnonzero(leaders != np.arange(len(leaders)))
        of_neurons, group_of = classes[: len(marks)], self._group_of
        colours = np.zeros(self._num_elements, dtype=np.uint64)
        np.add.at(colours, of_neurons, marks)
        if self._nests:  # in how many items a class itself is said to lie
            np.add.at(colours, class_pairs(classes, self._nests)[:, 0], hashed(np.array([1 << 43])))
        count = 0
        while True:
            colours = forest.refine(colours)
            told = hashed(colours[led]) + hashed(colours[leaders[led]] ^ np.uint64(3))
            np.add.at(colours, leaders[led], hashed(colours[led] ^ np.uint64(4)))
            colours[led] = told
            runs = runs_of(colours[forest.top[of_neurons]], group_of)
            np.add.at(colours, forest.top[of_neurons], hashed(runs + (1 << 41)))
            found = len(np.unique(colours[classes]))
            if found == count:
                return colours
            count = found
