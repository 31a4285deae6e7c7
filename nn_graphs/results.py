"""Result rows: one line per metric of a finished run, with all that is needed to repeat it."""

import csv
import io
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from nn_graphs.errors import NNGraphsError
from nn_graphs.locks import only_writer
from nn_graphs.whole_files import whole_file


@dataclass(frozen=True)
class ResultRow:
    """One line of a `results.csv`.

    Attributes:
        task, model, zoo: their names.
        options: what was set otherwise than by default, but for the seed: rows that differ in
            nothing but the seed are summarized together.
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
        encoder_madds, query_madds, access, views: what the model costs per network, see
            `nn_graphs.training.network_costs.NetworkCosts`; blank where it is not known, as in all
            rows before there were such columns.
    """

    task: str
    model: str
    zoo: str
    options: str
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
    encoder_madds: float = float("nan")
    query_madds: float = float("nan")
    access: str = ""
    views: float = float("nan")


COLUMNS = tuple(field.name for field in fields(ResultRow))
JOINED = ("encoder_madds", "query_madds", "access", "views")  # later than the others
GROUP = ("task", "zoo", "model", "options", "metric")


def append_rows(path: str | Path, rows: Sequence[Any]) -> None:
    """Adds dataclass objects of one kind to a CSV file, its columns their fields.

    All rows of a call are added, or none; several processes may add to one file. Columns that a
    file does not have yet join behind its own, if those are the first ones: of the rows before,
    they are blank.

    Raises:
        NNGraphsError: the file has other columns or a line that was cut, or the disk is full.
    """
    path = Path(path).resolve()  # of a link, the file that it names is replaced
    columns = tuple(field.name for field in fields(rows[0]))
    lines = _as_csv([[getattr(row, column) for column in columns] for row in rows])
    with only_writer(path):
        before = _read_before(path, columns) if path.exists() else _as_csv([columns])
        with whole_file(path) as partial:
            partial.write_bytes(before + lines)
            if path.exists():
                shutil.copymode(path, partial)


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
    types = {field.name: field.type for field in fields(ResultRow)}
    missing = {name: ["nan", ""] for name, kind in types.items() if kind is float}
    table = pd.read_csv(path, dtype=types, na_values=missing, keep_default_na=False)
    if _is_narrower(tuple(table.columns), COLUMNS):
        blanks = {name: "" if types[name] is str else float("nan") for name in JOINED}
        table = table.assign(**blanks)[list(COLUMNS)]
    _check_columns(path, tuple(table.columns), COLUMNS)
    return table.fillna({name: "" for name in JOINED if types[name] is str})


def latest_results(table: pd.DataFrame) -> pd.DataFrame:
    """Of rows that differ only in when they were made, the last one."""
    return table.drop_duplicates([*GROUP, "seed"], keep="last")


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation and number of seeds per task, zoo, model, options and metric.

    A seed counts once: of its rows, the last.
    """
    groups = latest_results(table).groupby(list(GROUP))
    summary = groups["value"].agg(["mean", "std", "count"])
    numbers = groups[["params", "minutes", "encoder_madds", "query_madds", "views"]].mean()
    return summary.join(numbers).join(groups["access"].last()).reset_index()


def versions() -> str:
    """The libraries that a result depends on, e.g. `python 3.11.7, torch 2.13.0, ...`."""
    names = ("nn_graphs", "torch", "torch_geometric", "lightning")
    return ", ".join(
        [f"python {sys.version.split()[0]}", *(f"{name} {_version(name)}" for name in names)]
    )


def commit(folder: str | Path) -> str:
    """Short hash of the commit that `folder` is at, with "+" for uncommitted changes.

    Rows that were appended to a `results.csv` are no changes: they don't make later rows others.
    """
    paths = (":/", ":(exclude,top,glob)**/results.csv")
    changes = ("status", "--porcelain", "--untracked-files=no", "--", *paths)
    try:
        found, changed = (
            subprocess.run(
                ["git", *command], cwd=folder, capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (("rev-parse", "--short", "HEAD"), changes)
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{found}+" if changed else found


def now() -> str:
    """The date of a result row."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M")


def _read_before(path: Path, columns: Sequence[str]) -> bytes:
    """What is in the file, as whole lines, with a header of these columns.

    Where some of them join, rows end where they ended, which reads as blanks.

    Raises:
        NNGraphsError: it has other columns, or its last line was cut.
    """
    before = path.read_bytes()
    lines = list(csv.reader(io.StringIO(before.decode(errors="replace"), newline="")))
    found = tuple(lines[0]) if lines else ()
    if _is_narrower(found, columns):
        before = _as_csv([columns]) + before.partition(b"\n")[2]
    else:
        _check_columns(path, found, columns)
    is_older = before.endswith(b"\n") and len(lines[-1]) == len(columns) - len(JOINED)
    if not is_older and len(lines[-1]) != len(columns):
        raise NNGraphsError(
            f"add rows to {path}",
            found=f"its last line has {len(lines[-1])} of {len(columns)} values: it was cut.",
            do="Delete that line.",
        )
    return before if before.endswith(b"\n") else before + b"\n"


def _is_narrower(found: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether a file has all columns but those that joined later."""
    return tuple(expected) == (*found, *JOINED)


def _check_columns(path: Path, found: Sequence[str], expected: Sequence[str]) -> None:
    if tuple(found) != tuple(expected):
        raise NNGraphsError(
            f"use the results in {path}",
            found=f"its columns are {', '.join(found)}; not {', '.join(expected)}.",
            do="Move the file away, or give another path.",
        )


def _as_csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
