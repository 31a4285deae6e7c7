"""Speed rows: both sides of a question measured in one run, and their ratio."""

import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from support.paths import EXPERIMENTS

from nn_graphs.results import append_rows, commit, now, versions

RESULTS = EXPERIMENTS / "benchmarks" / "results.csv"


@dataclass(frozen=True)
class SpeedRow:
    """One line of `experiments/benchmarks/results.csv`.

    Attributes:
        question: what is measured.
        setting: sizes.
        unit: of the next two, e.g. "fits/s" or "s".
        plain: the plain way.
        ours: this library.
        ratio: how many times as fast ours is.
        remark: what else was measured, e.g. that both sides reach the same quality.
        device, versions, commit, command, date: how to measure it again.
    """

    question: str
    setting: str
    unit: str
    plain: float
    ours: float
    ratio: float
    remark: str
    device: str
    versions: str
    commit: str
    command: str
    date: str


def record(
    question: str,
    *,
    setting: str,
    unit: str,
    plain: float,
    ours: float,
    remark: str = "",
    device: str | None = None,
    results: Path = RESULTS,
) -> None:
    """Prints a row and appends it to a result file; units ending in "/s" are rates.

    `device` names what was measured on, where that was another process.
    """
    is_rate = unit.endswith("/s")
    row = SpeedRow(
        question=question,
        setting=setting,
        unit=unit,
        plain=float(f"{plain:.4g}"),
        ours=float(f"{ours:.4g}"),
        ratio=float(f"{(ours / plain if is_rate else plain / ours):.3g}"),
        remark=remark,
        device=device or device_name(),
        versions=versions(),
        commit=commit(EXPERIMENTS),
        command=shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
        date=now(),
    )
    append_rows(results, [row])
    print(f"{question} ({setting}): plain {row.plain} {unit}, ours {row.ours} {unit}")
    compared = "times less" if unit in ("GB", "GFLOP") else "times as fast"
    print(f"  {row.ratio} {compared}. {remark}")


def seconds(function: Callable[[], object], *, repeats: int = 5) -> float:
    """Median time of a call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def seconds_in_turn(*functions: Callable[[], object], repeats: int = 5) -> list[float]:
    """Median times of several calls, one after the other and then all again, after one of each."""
    times: list[list[float]] = [[] for _ in functions]
    for repeat in range(repeats + 1):
        for number, function in enumerate(functions):
            start = time.perf_counter()
            function()
            if repeat:
                times[number].append(time.perf_counter() - start)
    return [statistics.median(each) for each in times]


def device_name(kind: str | None = None) -> str:
    """The name of the GPU, where there is one, or of the kind asked for, "cpu" or "cuda"."""
    if (kind or ("cuda" if torch.cuda.is_available() else "cpu")) == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} cpu, {torch.get_num_threads()} threads"
