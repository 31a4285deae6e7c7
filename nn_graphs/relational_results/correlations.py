"""How well errors agree: between tasks, between early and last epochs, between few graphs and many.

All are Pearson correlations, as in You et al. (ICML 2020).
"""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from nn_graphs.errors import NNGraphsError
from nn_graphs.relational_results.cells import (
    BASELINE_CELL,
    CELL,
    CellGrid,
    cell_errors,
    with_cells,
)
from nn_graphs.relational_results.table import (
    TOP1,
    check_single,
    final_runs,
    mean_errors,
    without_baseline,
)


def cells_by_task(runs: pd.DataFrame, grid: CellGrid, *, metric: str = TOP1) -> pd.DataFrame:
    """Errors at the last epoch, one row per cell of `grid` and one column per task.

    Where several graphs of a task lie in one cell, as of the MLP with its thousands, their mean
    stands for it. The baseline is a cell of its own. NaN: the task has no graph there.
    """
    errors = mean_errors(final_runs(runs), metric=metric)
    columns = {task: cell_errors(part, grid) for task, part in errors.groupby("task")}
    return pd.DataFrame(columns).rename_axis(CELL)


def correlate_tasks(
    runs: pd.DataFrame, grid: CellGrid, *, metric: str = TOP1, with_baseline: bool = True
) -> pd.DataFrame:
    """Correlations of all pairs of tasks over the cells that both have.

    Args:
        runs: of any tasks; the last epoch of each counts.
        grid: of the cells; the published one has 15 x 15.
        metric: that is compared.
        with_baseline: whether the baseline is a cell of its own, as published.
    """
    cells = cells_by_task(runs, grid, metric=metric)
    if not with_baseline:
        cells = cells.drop(index=[BASELINE_CELL], errors="ignore")
    return cells.corr(min_periods=3)


def correlate_epochs(
    runs: pd.DataFrame, *, metric: str = TOP1, with_baseline: bool = True
) -> pd.DataFrame:
    """Correlations over graphs of each epoch with the last one of the same task.

    Args:
        runs: of any tasks; what is missing is left out pair by pair.
        metric: that is compared.
        with_baseline: whether the baseline counts as a graph, as published.

    Returns:
        One row per epoch, one column per task. Epoch 0 is left out: the published rows of epoch 0
        are not errors at initialisation.
    """
    errors = mean_errors(runs[runs["epoch"] > 0], metric=metric)
    errors = errors if with_baseline else without_baseline(errors)
    columns = {}
    for task, part in errors.groupby("task"):
        by_epoch = part.pivot(index="graph_id", columns="epoch", values="error")
        columns[task] = by_epoch.corrwith(by_epoch[by_epoch.columns.max()])
    return pd.DataFrame(columns).rename_axis("epoch")


def correlate_subset(
    errors: pd.DataFrame,
    graph_ids: Collection[int],
    grid: CellGrid,
    *,
    cells_from: Collection[int] | None = None,
) -> float:
    """Correlation of cell means of some graphs with those of all graphs of one task and epoch.

    Args:
        errors: as `mean_errors` returns them; the baseline is left out.
        graph_ids: the subset.
        grid: of the cells.
        cells_from: graphs whose cells are compared; None: the cells of the subset. The published
            analysis takes the 52 coarse graphs, whatever the subset.

    Raises:
        NNGraphsError: several tasks or epochs, or graphs that are not there.
    """
    check_single(errors, "correlate a subset of graphs")
    _check_ids(errors, {*graph_ids, *(cells_from or ())})
    everything = cell_errors(errors, grid, with_baseline=False)
    subset = cell_errors(_of(errors, graph_ids), grid, with_baseline=False)
    if cells_from is not None:
        places = cell_errors(_of(errors, cells_from), grid, with_baseline=False).index
        subset = subset.loc[subset.index.isin(places)]
    return float(subset.corr(everything.loc[subset.index]))


def correlate_counts(
    errors: pd.DataFrame,
    core: Sequence[int],
    grid: CellGrid,
    *,
    generator: np.random.Generator,
    num_orders: int = 1,
) -> pd.DataFrame:
    """`correlate_subset` for growing subsets: the core, and then the others in random order.

    Cells are those of the core, each of which so always holds a graph.

    Args:
        errors: as `mean_errors` returns them, of one task and epoch; the baseline is left out.
        core: the graphs to begin with; the published analysis takes the 52 coarse graphs.
        grid: of the cells.
        generator: draws the orders.
        num_orders: the published figure shows one.

    Returns:
        One row per number of graphs, from `len(core)` to all, one column per order.

    Raises:
        NNGraphsError: several tasks or epochs, or graphs that are not there.
    """
    check_single(errors, "correlate growing numbers of graphs")
    graphs = with_cells(without_baseline(errors), grid).reset_index(drop=True)
    _check_ids(graphs, set(core))
    cells = graphs.groupby(CELL).ngroup().to_numpy()
    values = graphs["error"].to_numpy(float)
    is_core = graphs["graph_id"].isin(core).to_numpy()
    first, rest = np.flatnonzero(is_core), np.flatnonzero(~is_core)
    columns = {
        number: _growing(cells, values, first, generator.permutation(rest))
        for number in range(num_orders)
    }
    index = pd.RangeIndex(len(first), len(graphs) + 1, name="num_graphs")
    return pd.DataFrame(columns, index=index).rename_axis(columns="order")


def _growing(
    cells: Int[np.ndarray, " N"],
    values: np.ndarray,
    first: Int[np.ndarray, " core"],
    rest: Int[np.ndarray, " others"],
) -> list[float]:
    """Correlations with the last of the cell means after the core and after each further graph."""
    sums, counts = np.zeros(cells.max() + 1), np.zeros(cells.max() + 1)
    np.add.at(sums, cells[first], values[first])
    np.add.at(counts, cells[first], 1)
    places = np.flatnonzero(counts)
    means = np.empty((len(rest) + 1, len(places)))
    means[0] = sums[places] / counts[places]
    for row, graph in enumerate(rest, start=1):
        sums[cells[graph]] += values[graph]
        counts[cells[graph]] += 1
        means[row] = sums[places] / counts[places]
    centred = means - means.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    return (centred @ centred[-1] / (norms * norms[-1])).tolist()


def _of(errors: pd.DataFrame, graph_ids: Collection[int]) -> pd.DataFrame:
    return errors[errors["graph_id"].isin(list(graph_ids))]


def _check_ids(errors: pd.DataFrame, graph_ids: set[int]) -> None:
    unknown = graph_ids - set(errors["graph_id"])
    if unknown:
        raise NNGraphsError(
            f"take a subset of {len(graph_ids)} graphs",
            found=f"{len(unknown)} of them are not in the table, e.g. {min(unknown)}.",
            do="Give values of its column graph_id.",
        )
