"""The plane of average clustering C and average path length L, and graphs spread evenly over it.

The relational-graph studies (You et al., ICML 2020, section 3) keep one graph for each cell of a
fine grid, and then fewer, nested in each other, for tasks that train longer. The rules here give
their arrays back, row for row; see `nested_selections` for the one quirk left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
from jaxtyping import Float, Int64

Positions = Int64[np.ndarray, " _"]
Cells = Int64[np.ndarray, "_ 2"]


@dataclass(frozen=True)
class Plane:
    """A grid over the plane; both axes have `num_bins` bins.

    Attributes:
        num_bins: bins of C from 0 to 1, and of L from 1 to `max_path_length`, closed on the left.
        max_path_length: where the grid ends.
        borrow_above: for cells of a C above that, where graphs are rare, `coarser` borrows one from
            neighbours.
    """

    num_bins: int
    max_path_length: float
    borrow_above: float = 0.75

    def cells(
        self, clustering: Float[np.ndarray, " N"], path_length: Float[np.ndarray, " N"]
    ) -> Cells:
        """The cell (bin of C, bin of L) of each graph, counted from 1; (0, 0) is outside."""
        cells = np.stack(
            [
                np.digitize(clustering, np.linspace(0, 1, self.num_bins + 1)),
                np.digitize(path_length, np.linspace(1, self.max_path_length, self.num_bins + 1)),
            ],
            axis=1,
        )
        is_inside = ((cells >= 1) & (cells <= self.num_bins)).all(1, keepdims=True)
        return np.where(is_inside, cells, 0).astype(np.int64)

    def first_of_cells(self, cells: Cells) -> Positions:
        """Which graphs are the first of their cell, in the order in which they come."""
        keys = cells @ (self.num_bins + 1, 1)
        _, first = np.unique(keys, return_index=True)
        first = np.sort(first)
        return first[keys[first] > 0].astype(np.int64)

    def coarser(self, cells: Cells, *, step: int) -> Positions:
        """Fewer graphs, one for each block of `step` x `step` cells.

        It is the graph of the cell in the middle. Where that cell is empty and its C above
        `borrow_above`, it is the first graph found up to `step // 9` cells away in C and
        `step // 3` in L, smaller C first, then smaller L.

        Args:
            cells: of the graphs, no cell twice.
            step: odd, so that blocks have a middle.

        Returns:
            Positions of the graphs of middle cells, ascending; then borrowed ones, by block.
        """
        return self._coarser(cells, {step: self.borrow_above})

    def _coarser(self, cells: Cells, limits: Mapping[int, float]) -> Positions:
        """Blocks of the smallest step; a middle of blocks of several steps borrows as the largest.

        `limits` says for each step above which C its middles borrow.
        """
        at = {tuple(cell): position for position, cell in enumerate(cells.tolist())}
        middles = range((min(limits) + 1) // 2, self.num_bins + 1, min(limits))
        own, borrowed = [], []
        for cell in product(middles, middles):
            if cell in at:
                own.append(at[cell])
                continue
            step = max(step for step in limits if _is_middle(cell, step))
            if cell[0] / self.num_bins > limits[step]:
                near = (at[near] for near in _around(cell, step // 9, step // 3) if near in at)
                borrowed += islice(near, 1)
        return np.array(list(dict.fromkeys([*sorted(own), *borrowed])), np.int64)


def nested_selections(plane: Plane, cells: Cells) -> tuple[Positions, Positions]:
    """The medium and the small selection of the studies: 449 and 52 of 3,942 graphs, 324 and 48.

    The small one holds the graphs of blocks of 9 x 9 cells; the medium one those of 3 x 3, whose
    middles borrow above C = 0.75, and all of the small one. The published file of "326" graphs of
    16 nodes holds two graphs twice, found and borrowed; here each comes once.
    """
    small = plane.coarser(cells, step=9)
    medium = plane._coarser(cells, {3: 0.75, 9: plane.borrow_above})
    return medium, small


def _is_middle(cell: tuple[int, int], step: int) -> bool:
    return all(one_bin % step == (step + 1) // 2 for one_bin in cell)


def _around(cell: tuple[int, int], c_reach: int, l_reach: int) -> Iterator[tuple[int, int]]:
    moves = product(range(-c_reach, c_reach + 1), range(-l_reach, l_reach + 1))
    return ((cell[0] + c_move, cell[1] + l_move) for c_move, l_move in moves)
