"""Which classes of neurons lie inside which items, as a forest."""

from collections.abc import Sequence

import numpy as np

from nn_graphs.graphs.symmetry.colours import Numbers, hashed


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
