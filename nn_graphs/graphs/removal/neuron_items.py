"""Which neurons are cut together: the items of a template's permutations, neuron by neuron.

What a permutation moves as one is cut as one: a channel, its normalised copy and all that a skip
adds to it. An item inside of blocks (a channel of one group of a convolution) is there once for
every block, a "copy" of its permutation.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.node_groups import NeuronKind, NodeGroup
from nn_graphs.graphs.parts.symmetries import Segment

Numbers = np.ndarray
FIXED, NOTHING = -1, -2


class NeuronItems:
    """The items of all neurons of a template.

    Attributes:
        levels: `[depth, num_nodes]`, numbers of the items that a neuron lies in, from the outermost
            on; -1 where it is fixed on that level, -2 behind the innermost.
        permutation, copy: of every item.
    """

    def __init__(self, template: GraphTemplate):
        symmetries = template.symmetries
        sizes, self._copies = np.array([symmetries.sizes, symmetries.num_copies], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(sizes * self._copies)])
        self._sizes = sizes
        self._levels = [np.full(template.num_nodes, NOTHING)]
        self.permutation = np.repeat(np.arange(len(sizes)), sizes * self._copies)
        inside = np.arange(self.num_items) - self._starts[self.permutation]
        self.copy = inside // np.maximum(sizes[self.permutation], 1)
        for group, axis in zip(template.groups, symmetries.axes, strict=True):
            self._lay_out(axis, np.array([group.start]), 0)
        self.levels = np.stack(self._levels)
        self.template = template

    @property
    def num_items(self) -> int:
        return int(self._starts[-1])

    def _lay_out(self, axis: Sequence[Segment], starts: Numbers, level: int) -> None:
        """Numbers the items on an axis that lies in every block, which begin at `starts`."""
        if level == len(self._levels):
            self._levels.append(np.full_like(self._levels[0], NOTHING))
        at = 0
        for segment in axis:
            items = np.full((len(starts), segment.length), FIXED)
            if (number := segment.permutation) is not None:
                copy = np.arange(len(starts)) // (len(starts) // self._copies[number])
                first = self._starts[number] + copy * self._sizes[number]
                items = first[:, None] + np.arange(segment.length)
            width = segment.item_width
            firsts = starts[:, None] + at + np.arange(segment.length) * width
            neurons = firsts[..., None] + np.arange(width)
            self._levels[level][neurons] = items[..., None]
            if segment.inner:
                self._lay_out(segment.inner, firsts.ravel(), level + 1)
            at += segment.width

    def are_cut(self, items: Collection[int]) -> Numbers:
        """`[num_nodes]`, whether a neuron lies in one of the items."""
        chosen = np.fromiter(items, dtype=np.int64, count=len(items))
        return np.isin(self.levels, chosen).any(axis=0)

    @property
    def innermost(self) -> Numbers:
        """`[num_nodes]`, the item that a neuron is cut with alone; -1 where that cannot be."""
        depth = (self.levels != NOTHING).sum(axis=0) - 1
        return self.levels[depth, np.arange(self.levels.shape[1])]

    @property
    def plain(self) -> Numbers:
        """The same for neurons that lie in no blocks; -1 for all others."""
        is_plain = (self.levels != NOTHING).sum(axis=0) == 1
        return np.where(is_plain, self.levels[0], FIXED)

    def of_rows(self, rows: Mapping[str, Collection[int]], *, asked: str) -> set[int]:
        """The items of outputs of layers, named by their weights or biases.

        Raises:
            NNGraphsError: there is no such parameter or row, or the network's inputs or outputs
                need it.
        """
        found: set[int] = set()
        for name, numbers in rows.items():
            neurons = row_neurons(self.template, name, asked=asked)
            check_rows(name, numbers, len(neurons), asked=asked)
            own = np.fromiter(numbers, dtype=np.int64)
            chosen = neurons[own]
            for row, neuron in zip(own.tolist(), chosen.tolist(), strict=True):
                if (item := self._item(neuron, chosen)) == FIXED:
                    do = "Leave it, or cut whole heads or blocks where it lies in one."
                    found_here = f"row {row} of {name} {self._needed_by(neuron)}."
                    raise NNGraphsError(asked, found=found_here, do=do)
                found.add(item)
        return found

    def _item(self, neuron: int, chosen: Numbers) -> int:
        """The largest item around a neuron that is chosen as a whole, or its own."""
        group = self._group_of(neuron)
        here = self.levels[:, group.start : group.stop]
        for level, item in enumerate(self.levels[:, neuron].tolist()):
            members = group.start + np.flatnonzero(here[level] == item)
            if item >= 0 and np.isin(members, chosen).all():
                return item
        return int(self.innermost[neuron])

    def _group_of(self, neuron: int) -> NodeGroup:
        return next(g for g in self.template.groups if g.start <= neuron < g.stop)

    def _needed_by(self, neuron: int) -> str:
        if self._group_of(neuron).kind is NeuronKind.OUTPUT:
            return "is an output of the network"
        if (self.levels[:, neuron] >= 0).any():
            return "has its place inside a block, in which an order is fixed"
        return "is needed by a skip from an input or to an output, or by an order that is fixed"


def row_neurons(template: GraphTemplate, name: str, *, asked: str) -> Numbers:
    """The neurons that a parameter's layer puts out, in the order of its rows.

    A parameter that is shown in parts (the gates of a recurrent layer) has the rows of all of them.
    """
    whole = next((s for s in template.parameters.slots if name in (s.name, *s.aliases)), None)
    shown = [
        (slot, places[0])
        for slot, places in template.places.items()
        if whole is not None and whole.offset <= slot.offset < whole.stop
    ]
    if not shown:
        names = [slot.name for slot in template.places if "[" not in slot.name]
        raise NNGraphsError(
            asked,
            found=f"the graph shows no parameter {name!r}.",
            do=f"Name a weight or a bias, as {', '.join(names[:3])}.",
        )
    shown.sort(key=lambda pair: pair[0].offset)
    return np.concatenate([_targets(template, place) for _, place in shown])


def _targets(template: GraphTemplate, place: NodeGroup | EdgeBlock) -> Numbers:
    if isinstance(place, NodeGroup):
        return np.arange(place.start, place.stop)
    first = template.groups[place.target].start + place.first_target
    return np.arange(first, first + place.num_targets)


def check_rows(name: str, rows: Collection[int], num_rows: int, *, asked: str) -> None:
    """Raises where rows are not there, or named twice."""
    wrong = [row for row in rows if not 0 <= row < num_rows]
    if wrong or len(set(rows)) < len(rows):
        found = f"{name} has {num_rows} rows, row {wrong[0]} is asked for" if wrong else ""
        raise NNGraphsError(
            asked,
            found=f"{found or f'a row of {name} is named twice'}.",
            do=f"Name each once, from 0 to {num_rows - 1}.",
        )
