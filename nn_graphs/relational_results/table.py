"""Tables of runs: one row per trained network and epoch; and their means over training seeds.

Every analysis starts from such a table, whether it was read from published results or comes from
runs of one's own. A run has the columns of `REQUIRED_COLUMNS` and a metric, by default the top-1
error in percent; `graph_id` numbers the relational graphs of a task, and `BASELINE` stands for the
complete graph, an ordinary dense network, whose clustering and path length are 1.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from scipy import stats

from nn_graphs.errors import NNGraphsError, check_known

BASELINE = -1
TOP1 = "top1_error"

RUN = ["task", "epoch", "graph_id", "train_seed"]
GRAPH = ["task", "epoch", "graph_id"]
STRUCTURE = ["clustering", "path_length"]
REQUIRED_COLUMNS = (*RUN, *STRUCTURE)

MissingRuns = Literal["drop", "borrow", "refuse"]


def check_runs(runs: pd.DataFrame, metric: str = TOP1) -> None:
    """Raises unless every row is a run, no run comes twice, and all numbers are finite.

    Raises:
        NNGraphsError: a column is missing, the table is empty, a run comes twice, a number is not
            finite, or one graph has two structures.
    """
    missing = [column for column in (*REQUIRED_COLUMNS, metric) if column not in runs]
    if missing or not len(runs):
        found = f"the columns {', '.join(missing)} are missing." if missing else "it is empty."
        raise _not_runs(found)
    numbers = runs[["epoch", "graph_id", "train_seed", *STRUCTURE, metric]].to_numpy(float)
    wrong = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(wrong):
        raise _not_runs(f"{len(wrong)} rows, the first of them {wrong[0]}, are not finite.")
    twice = runs.duplicated(RUN)
    if twice.any():
        raise _not_runs(f"{twice.sum()} runs come twice, e.g. {_name(runs[twice].iloc[0])}.")
    structures = runs[["task", "graph_id", *STRUCTURE]].drop_duplicates()
    again = structures.duplicated(["task", "graph_id"])
    if again.any():
        task, graph_id = structures.loc[again, ["task", "graph_id"]].iloc[0]
        raise _not_runs(f"graph {graph_id} of {task} has several clusterings or path lengths.")


def final_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the last epoch of each task."""
    return runs[runs["epoch"] == runs.groupby("task")["epoch"].transform("max")]


def missing_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Which graphs lack which training seed at which epoch, of those that their task has at all.

    Returns:
        One row per missing run, columns `task`, `epoch`, `graph_id`, `train_seed`.
    """
    expected = [
        pd.MultiIndex.from_product([[task], *(part[column].unique() for column in RUN[1:])])
        for task, part in runs.groupby("task")
    ]
    lacking = [index.difference(pd.MultiIndex.from_frame(runs[RUN])) for index in expected]
    tables = [index.set_names(RUN).to_frame(index=False) for index in lacking if len(index)]
    return pd.concat(tables, ignore_index=True) if tables else runs[RUN].iloc[:0]


def handle_missing(runs: pd.DataFrame, policy: MissingRuns) -> pd.DataFrame:
    """The runs, with one of three things done about `missing_runs`.

    Args:
        runs: of any tasks and epochs.
        policy: `"drop"`: nothing; such graphs are averaged over the runs that there are.
            `"borrow"`: the run of the lowest seed that the graph has at that epoch stands in, as
            in the published analysis; column `is_borrowed` tells which. `"refuse"`: an error.

    Raises:
        NNGraphsError: the policy is unknown; runs are missing and it is `"refuse"`, or no run of
            the graph can be borrowed.
    """
    check_known(policy, get_args(MissingRuns), asked=f"do {policy!r} about missing runs")
    missing = missing_runs(runs)
    if policy == "drop":
        return runs
    if policy == "refuse":
        if len(missing):
            raise _incomplete(missing, "Give policy='drop' or 'borrow', or train them.")
        return runs
    donors = runs.sort_values("train_seed").drop_duplicates(GRAPH).drop(columns="train_seed")
    borrowed = missing.merge(donors, on=GRAPH, how="left", indicator=True)
    alone = borrowed["_merge"] == "left_only"
    if alone.any():
        raise _incomplete(borrowed[alone], "No other run can stand in; give policy='drop'.")
    borrowed = borrowed.drop(columns="_merge").assign(is_borrowed=True)
    return pd.concat([runs.assign(is_borrowed=False), borrowed], ignore_index=True)


def mean_errors(runs: pd.DataFrame, *, metric: str = TOP1) -> pd.DataFrame:
    """Means over training seeds.

    Args:
        runs: of any tasks and epochs; what is missing is not made up, see `handle_missing`.
        metric: the column that is averaged.

    Returns:
        One row per task, epoch and graph, sorted: `clustering`, `path_length`, `error` (the mean),
        `std` (of the population of runs, divided by their number), `num_runs`.

    Raises:
        NNGraphsError: as `check_runs`.
    """
    check_runs(runs, metric)
    groups = runs.groupby(GRAPH)
    values = groups[metric]
    table = groups[STRUCTURE].first()
    table["error"], table["std"] = values.mean(), values.std(ddof=0)
    table["num_runs"] = values.size()
    return table.reset_index()


def without_baseline(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of relational graphs."""
    return table[table["graph_id"] != BASELINE]


def check_single(table: pd.DataFrame, asked: str) -> None:
    """Raises unless all rows are of one task and one epoch.

    Raises:
        NNGraphsError: with the tasks and epochs that are there.
    """
    tasks, epochs = table["task"].unique(), table["epoch"].unique()
    if len(tasks) != 1 or len(epochs) != 1:
        raise NNGraphsError(
            asked,
            found=f"the table holds {len(tasks)} tasks and {len(epochs)} epochs.",
            do="Choose one: runs[runs['task'] == ...], final_runs(runs).",
        )


class NoiseCeiling(NamedTuple):
    """A share of variance, from 0 to 1, with the interval that it lies in."""

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.share:.3f} ({self.low:.3f} to {self.high:.3f})"


def noise_ceiling(
    runs: pd.DataFrame, *, metric: str = TOP1, level: float = 0.95, num_samples: int = 1000
) -> NoiseCeiling:
    """The share of the variance of the mean errors that is not due to training seeds.

    About the R2 that a perfect predictor from the graph would reach. What a seed does to all graphs
    alike is taken out first: it moves their means together. Of a mean over `k` runs, the seeds'
    part of the variance is the unbiased variance of a run divided by `k`. Where seeds alone explain
    more than there is, the share is 0.

    Args:
        runs: of one task and epoch.
        metric: the smaller the better.
        level: of the interval, by bootstrap over graphs (percentiles of `num_samples`): few seeds
            say little about noise, and a predictor may well lie above the share.
        num_samples: of the bootstrap.

    Raises:
        NNGraphsError: several tasks or epochs, or there are no two graphs with two runs.
    """
    check_single(runs, "measure the noise ceiling")
    graphs = without_baseline(runs)
    centred = graphs[metric] - graphs.groupby("train_seed")[metric].transform("mean")
    groups = centred.groupby(graphs["graph_id"])
    num_graphs, num_repeated = groups.ngroups, (groups.size() > 1).sum()
    if num_repeated < 2:
        raise NNGraphsError(
            "measure the noise ceiling",
            found=f"{num_repeated} of {num_graphs} graphs have two runs or more.",
            do="Train more seeds.",
        )
    means, seeds = groups.mean().to_numpy(), (groups.var() / groups.size()).to_numpy()

    def share(means, seeds, axis=-1):
        noise = np.nanmean(seeds, axis=axis) * num_graphs / (num_graphs - 1)
        return np.clip(1 - noise / means.var(axis=axis, ddof=1), 0, 1)

    interval = stats.bootstrap(
        (means, seeds),
        share,
        paired=True,
        vectorized=True,
        confidence_level=level,
        n_resamples=num_samples,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return NoiseCeiling(float(share(means, seeds)), float(interval.low), float(interval.high))


def _name(run: pd.Series) -> str:
    return ", ".join(f"{column} {run[column]}" for column in RUN)


def _not_runs(found: str) -> NNGraphsError:
    return NNGraphsError(
        "use the table as runs", found=found, do="See nn_graphs/relational_results/table.py."
    )


def _incomplete(missing: pd.DataFrame, do: str) -> NNGraphsError:
    found = f"{len(missing)} runs are missing, e.g. {_name(missing.iloc[0])}."
    return NNGraphsError("average over complete seeds", found=found, do=do)
