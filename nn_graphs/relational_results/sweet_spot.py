"""The sweet spot: where in the plane of clustering and path length networks are not clearly worse.

You et al., "Graph structure of neural networks" (ICML 2020): graphs, or cells of graphs, are
compared with the best one by a one-sided t-test of two samples of equal variance; the sweet spot is
the bounding box of those that are not significantly worse. The complete graph takes no part.

The paper compares single graphs where there are few, and cells, whose graphs' runs are pooled,
where there are many; the box of cells is that of their centres.

Two graphs may have the same mean. Here the one whose runs spread least counts as best, then the
first; all of them are told. The paper's own choices (the third best mean of the MLP, one of two
equal CNNs) are in `published.TASKS`, to be given as `best`.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from nn_graphs.errors import NNGraphsError
from nn_graphs.relational_results.cells import CELL, CellGrid, with_cells
from nn_graphs.relational_results.table import (
    STRUCTURE,
    TOP1,
    check_runs,
    check_single,
    without_baseline,
)

LEVEL = 0.05  # of the test, one-sided
TIE = 1e-9  # means closer than this are equal: they are sums in another order


@dataclass(frozen=True)
class SweetSpot:
    """What was compared, and the box of what is not significantly worse than the best.

    Attributes:
        candidates: one row per graph (indexed by `graph_id`) or per cell (by `CELL`): clustering,
            path_length, error, std (population), num_runs, t, p (one-sided; NaN for the best,
            which is compared with none), is_kept.
        best: index of the best candidate.
        tied: index of all candidates that have the lowest mean, best first.
        clustering: lowest and highest of those kept.
        path_length: lowest and highest of those kept.
    """

    candidates: pd.DataFrame
    best: Hashable
    tied: tuple[Hashable, ...]
    clustering: tuple[float, float]
    path_length: tuple[float, float]

    @property
    def num_kept(self) -> int:
        """How many are not significantly worse, the best among them."""
        return int(self.candidates["is_kept"].sum())


def graph_sweet_spot(
    runs: pd.DataFrame, *, best: int | None = None, metric: str = TOP1, level: float = LEVEL
) -> SweetSpot:
    """The sweet spot, graph by graph.

    Args:
        runs: of one task and epoch.
        best: `graph_id` of the graph that counts as best; None: by the lowest mean.
        metric: the smaller the better.
        level: below which p is significant.

    Raises:
        NNGraphsError: as `check_runs`; several tasks or epochs; no graph is `best`; it and another
            one have a single run each.
    """
    graphs = _graph_runs(runs, metric)
    return _sweet_spot(graphs.groupby("graph_id"), best=best, metric=metric, level=level)


def cell_sweet_spot(
    runs: pd.DataFrame,
    grid: CellGrid,
    *,
    best: tuple[int, int] | None = None,
    metric: str = TOP1,
    level: float = LEVEL,
) -> SweetSpot:
    """The sweet spot, cell by cell: all runs of a cell's graphs are one sample.

    Args and errors as `graph_sweet_spot`; `best` is a cell (along C, along L) of `grid`.
    """
    graphs = with_cells(_graph_runs(runs, metric), grid)
    centres = grid.centres(graphs[CELL].to_numpy())
    graphs = graphs.assign(clustering=centres[:, 0], path_length=centres[:, 1])
    return _sweet_spot(graphs.groupby(CELL), best=best, metric=metric, level=level)


def tied_best(candidates: pd.DataFrame) -> list[Hashable]:
    """Index of all rows that share the lowest `error`, the lowest `std` first."""
    lowest = candidates[candidates["error"] <= candidates["error"].min() + TIE]
    return lowest.sort_values("std", kind="stable").index.tolist()


def _graph_runs(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    check_runs(runs, metric)
    check_single(runs, "find the sweet spot")
    graphs = without_baseline(runs)
    if graphs.empty:
        raise NNGraphsError(
            "find the sweet spot", found="there is only the baseline.", do="Give runs of graphs."
        )
    return graphs


def _sweet_spot(groups, *, best: Hashable | None, metric: str, level: float) -> SweetSpot:
    candidates = groups[STRUCTURE].first()
    values = groups[metric]
    candidates["error"], candidates["std"] = values.mean(), values.std(ddof=0)
    candidates["num_runs"] = values.size()
    tied = tied_best(candidates)
    best = tied[0] if best is None else best
    if best not in candidates.index:
        raise NNGraphsError(
            f"compare with {best}",
            found=f"it is none of the {len(candidates)} graphs or cells that have runs.",
            do="Give another best, or None.",
        )
    others = candidates.drop(index=[best])
    candidates["t"], candidates["p"] = _compare(others, candidates.loc[best])
    candidates["is_kept"] = ~((candidates["t"] < 0) & (candidates["p"] < level))
    kept = candidates.loc[candidates["is_kept"], STRUCTURE].agg(["min", "max"])
    clustering, path_length = (tuple(kept[column].tolist()) for column in STRUCTURE)
    return SweetSpot(candidates, best, tuple(tied), clustering, path_length)


def _compare(candidates: pd.DataFrame, best: pd.Series) -> tuple[pd.Series, pd.Series]:
    """t and one-sided p of "the best has the smaller mean"; t is infinite where nothing varies."""
    counts, freedom = candidates["num_runs"], candidates["num_runs"] + best["num_runs"] - 2
    if (freedom < 1).any():
        raise NNGraphsError(
            "test which graphs are worse than the best",
            found="it and others have a single run each, which says nothing about their spread.",
            do="Train two seeds at least.",
        )
    squares = counts * candidates["std"] ** 2 + best["num_runs"] * best["std"] ** 2
    scale = np.sqrt(squares / freedom * (1 / counts + 1 / best["num_runs"]))
    difference = best["error"] - candidates["error"]
    difference = difference.where(difference.abs() > TIE, 0.0)
    exact = np.sign(difference) * np.inf
    t = (difference / scale.where(scale > 0)).where(scale > 0, exact.fillna(0.0))
    return t, pd.Series(stats.t.cdf(t, freedom), t.index)
