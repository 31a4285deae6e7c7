"""Result rows: one line per metric of a finished run, with all that is needed to repeat it."""

import csv
import subprocess
import sys
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

from nn_graphs.errors import NNGraphsError


@dataclass(frozen=True)
class ResultRow:
    """One line of a `results.csv`.

    Attributes:
        task, model, zoo: their names.
        seed: of the run.
        metric: with its split, e.g. "test/accuracy".
        value: of the metric.
        params: trainable parameters of the model.
        minutes: of training.
        device: what it ran on.
        versions: of the libraries that matter.
        commit: of the repository; "+" where files differ from it.
        command: that makes this row again, in the experiment's folder.
        date: when the row was written, UTC.
    """

    task: str
    model: str
    zoo: str
    seed: int
    metric: str
    value: float
    params: int
    minutes: float
    device: str
    versions: str
    commit: str
    command: str
    date: str


COLUMNS = tuple(field.name for field in fields(ResultRow))


def append_results(path: str | Path, rows: list[ResultRow]) -> None:
    """Adds rows to a result file; they are written at once, also beside other processes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(COLUMNS)
        writer.writerows([[getattr(row, column) for column in COLUMNS] for row in rows])


def read_results(path: str | Path) -> pd.DataFrame:
    """All rows of a result file.

    Raises:
        NNGraphsError: it is missing or has other columns.
    """
    path = Path(path)
    if not path.exists():
        raise NNGraphsError(
            f"read the results in {path}", found="there is no such file.", do="Run the experiment."
        )
    table = pd.read_csv(path, dtype={"commit": str})
    if tuple(table.columns) != COLUMNS:
        raise NNGraphsError(
            f"read the results in {path}",
            found=f"its columns are {', '.join(table.columns)}.",
            do=f"They must be {', '.join(COLUMNS)}.",
        )
    return table


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation and number of seeds per task, zoo, model and metric.

    Of rows that the same command made, the last one counts.
    """
    latest = table.drop_duplicates(["task", "zoo", "model", "metric", "command"], keep="last")
    groups = latest.groupby(["task", "zoo", "model", "metric"])
    summary = groups["value"].agg(["mean", "std", "count"])
    return summary.join(groups[["params", "minutes"]].mean()).reset_index()


def versions() -> str:
    """The libraries that a result depends on, e.g. `python 3.11.7, torch 2.13.0, ...`."""
    names = ("nn_graphs", "torch", "torch_geometric", "lightning")
    return ", ".join(
        [f"python {sys.version.split()[0]}", *(f"{name} {_version(name)}" for name in names)]
    )


def commit(folder: str | Path) -> str:
    """Short hash of the commit that `folder` is at, with "+" for uncommitted changes."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def now() -> str:
    """The date of a result row."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
