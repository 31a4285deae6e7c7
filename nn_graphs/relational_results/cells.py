"""The plane of clustering C and path length L, cut into cells.

A cell is half-open in both directions, `[low, high)`; only the last ones contain their upper edge.
Under this convention, and under no other choice of closed sides, each of the 3,942 published graphs
of 64 nodes and of the 2,698 of 16 has a cell of its own on its family's finest grid. None lies on
an edge of the coarse grids, so that there the choice of side changes nothing.

The complete graph, C = L = 1, is the baseline and never belongs to a cell: on the grid of 15 x 15
it would share one with graphs that are nearly complete. Where it is compared it is a cell of its
own, `BASELINE_CELL`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from nn_graphs.errors import NNGraphsError
from nn_graphs.relational_results.table import BASELINE, check_single, without_baseline

CELL = ["clustering_cell", "path_cell"]
BASELINE_CELL = (-1, -1)

Values = Float[np.ndarray, " N"]


@dataclass(frozen=True)
class CellGrid:
    """`num_cells` x `num_cells` cells of equal size.

    Attributes:
        num_cells: in each direction.
        path_range: of the path lengths; clustering goes from 0 to 1.
    """

    num_cells: int
    path_range: tuple[float, float]

    @property
    def clustering_edges(self) -> Float[np.ndarray, " num_cells_and_1"]:
        """Where cells begin, and where the last one ends."""
        return np.linspace(0.0, 1.0, self.num_cells + 1)

    @property
    def path_edges(self) -> Float[np.ndarray, " num_cells_and_1"]:
        """Where cells begin, and where the last one ends."""
        return np.linspace(*self.path_range, self.num_cells + 1)

    def finer(self, times: int) -> "CellGrid":
        """The grid that has `times` cells where this has one, in each direction."""
        return CellGrid(self.num_cells * times, self.path_range)

    def cells_of(self, clustering: Values, path_length: Values) -> Int[np.ndarray, "N 2"]:
        """The cells (along C, along L) in which graphs lie.

        Raises:
            NNGraphsError: a graph lies outside of the grid.
        """
        along_c = _numbers(clustering, self.clustering_edges, "clustering")
        along_l = _numbers(path_length, self.path_edges, "path length")
        return np.stack([along_c, along_l], axis=1)

    def centres(self, cells: Int[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
        """Clustering and path length in the middle of cells."""
        edges = (self.clustering_edges, self.path_edges)
        middles = [(edge[:-1] + edge[1:]) / 2 for edge in edges]
        return np.stack([middle[cells[:, side]] for side, middle in enumerate(middles)], axis=1)


COARSE_GRIDS = {64: CellGrid(15, (1.0, 4.5)), 16: CellGrid(12, (1.0, 2.5))}  # by number of nodes


def with_cells(table: pd.DataFrame, grid: CellGrid) -> pd.DataFrame:
    """A table of runs or of mean errors with two columns more, the cells of `grid`.

    Raises:
        NNGraphsError: a graph lies outside of the grid.
    """
    cells = np.full((len(table), 2), BASELINE_CELL)
    is_graph = (table["graph_id"] != BASELINE).to_numpy()
    graphs = table[is_graph]
    cells[is_graph] = grid.cells_of(
        graphs["clustering"].to_numpy(float), graphs["path_length"].to_numpy(float)
    )
    return table.assign(**dict(zip(CELL, cells.T, strict=True)))


def cell_errors(errors: pd.DataFrame, grid: CellGrid, *, with_baseline: bool = True) -> pd.Series:
    """The mean over the graphs of each cell, every graph counting the same.

    Args:
        errors: of one task and epoch, as `mean_errors` returns them.
        grid: of the cells.
        with_baseline: whether the baseline, if there, is a cell of its own.

    Returns:
        The errors of all cells that hold graphs, indexed by `CELL`.

    Raises:
        NNGraphsError: several tasks or epochs, or a graph lies outside of the grid.
    """
    check_single(errors, "average over cells")
    chosen = errors if with_baseline else without_baseline(errors)
    return with_cells(chosen, grid).groupby(CELL)["error"].mean()


def _numbers(
    values: Values, edges: Float[np.ndarray, " num_cells_and_1"], name: str
) -> Int[np.ndarray, " N"]:
    outside = (values < edges[0]) | (values > edges[-1]) | ~np.isfinite(values)
    if outside.any():
        raise NNGraphsError(
            "put graphs into cells",
            found=f"a {name} is {values[outside][0]:g}; the grid goes from {edges[0]:g} to "
            f"{edges[-1]:g}.",
            do="Give a CellGrid that reaches further.",
        )
    return (np.searchsorted(edges, values, side="right") - 1).clip(max=len(edges) - 2)
