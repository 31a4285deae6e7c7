"""What the studies of sparse structures share: their rows, their files, and data in memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from support.launch import Run
from support.paths import EXPERIMENTS

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.streams import StreamedData
from nn_graphs.results import ResultRow, commit, now, versions

NO_OPTIONS = {"study", "dataset", "num_workers", "study.seeds", "study.chunk_size", "device"}


class Study(Protocol):
    """A study as the config describes it; what cannot be is told when it is made."""

    def perform(self, run: Run, data: LabelledData) -> None:
        """Does what has no rows yet, appends rows, and draws figures."""


def in_memory(data: LabelledData | StreamedData) -> LabelledData:
    """Data that networks of these studies can be trained on.

    Raises:
        NNGraphsError: the images stay on the disk, or are of no classes.
    """
    if isinstance(data, StreamedData) or data.is_regression:
        raise NNGraphsError(
            "study sparse structures on this data set",
            found="its images stay on the disk." if isinstance(data, StreamedData)
            else "its labels are no classes.",
            do="Choose digits, mnist, fashion_mnist, cifar10, or image_folders.",
        )  # fmt: skip
    return data


def study_rows(
    run: Run,
    study: str,
    model: str,
    metrics: Mapping[str, float],
    *,
    seed: int = 0,
    params: int = 0,
    minutes: float = 0.0,
) -> list[ResultRow]:
    """A row for each metric; the data set stands in the column of zoos."""
    options = [one for one in run.options.split() if one.partition("=")[0] not in NO_OPTIONS]
    return [
        ResultRow(
            task=study,
            model=model,
            zoo=run.config.dataset.name,
            options=" ".join(options),
            seed=seed,
            metric=metric,
            value=round(float(value), 6),
            params=params,
            minutes=round(minutes, 2),
            device=run.config.device,
            versions=versions(),
            commit=commit(EXPERIMENTS),
            command=run.command,
            date=now(),
        )
        for metric, value in metrics.items()
    ]


def kept_rows(run: Run, name: str) -> pd.DataFrame:
    """What a file of the run's folder holds, which `restart` deletes; empty where there is none."""
    path = run.folder / name
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def begin_study(run: Run, *names: str) -> None:
    """With `restart`, deletes files of the run's folder, and states of stacks."""
    if run.config.restart:
        for path in [*(run.folder / name for name in names), *_states(run)]:
            path.unlink(missing_ok=True)


def _states(run: Run) -> list[Path]:
    return list((run.folder / "states").glob("chunk_*.pt"))


def check_numbers(asked: str, fits: Mapping[str, tuple[Any, bool]], do: str) -> None:
    """Raises `NNGraphsError` that names each setting, with its value, that does not fit."""
    wrong = [f"{name} is {value}" for name, (value, is_fit) in fits.items() if not is_fit]
    if wrong:
        raise NNGraphsError(asked, found=f"{', '.join(wrong)}.", do=do)
