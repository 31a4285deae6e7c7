"""Scores of a model, or of anyone's predictions, on the test split of a task.

No torch model is needed: predictions may come from a file, a row per network by its id, which is
its number in the zoo's table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from scipy.stats import bootstrap
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.errors import NNGraphsError
from nn_graphs.tasks.task import Task

COLUMNS = ("id", "prediction")
BATCH_SIZE = 64
NUM_RESAMPLES = 999
LEVEL = 0.95
MAX_SHOWN = 5  # ids in an error

Predictions = pd.DataFrame | Mapping[int, float | str] | np.ndarray | Tensor | str | Path


@dataclass(frozen=True)
class Score:
    """What was found on the split test.

    Attributes:
        task: its name.
        metric: by which models are chosen, and its `value`.
        unit: of the metric.
        interval: in which the metric lies for 95 of 100 draws of as many test networks
            (bootstrap, percentiles); of these networks alone: seeds vary besides.
        metrics: all of them.
        num_networks: that were scored.
    """

    task: str
    metric: str
    value: float
    unit: str
    interval: tuple[float, float]
    metrics: dict[str, float]
    num_networks: int

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.task}: {self.metric} {self.value:.4g}{self.unit} "
            f"({low:.4g} to {high:.4g}) on {self.num_networks} test networks"
        )


def evaluate(model_or_predictions: nn.Module | Predictions, task: Task) -> Score:
    """The score of a model or of predictions on a task's test split, which is opened for it once.

    Args:
        model_or_predictions: a model for this task; or predictions, each the label that is
            expected (a class by its number or name, or a number in the unit of the labels): a
            table or CSV file with the columns `id` and `prediction`, a mapping of ids to
            predictions, or a vector in the order of `task.zoo.indices("test")`.
        task: whose test split was not opened before.

    Raises:
        NNGraphsError: ids are missing, doubled or not of the split; a prediction is no label of
            the task, NaN or infinite; the task has no labels, or its test was scored before.
    """
    ids = task.zoo.indices("test")
    if isinstance(model_or_predictions, nn.Module):
        outputs, labels = _outputs_of(model_or_predictions, task)
    else:
        predicted = _in_order(model_or_predictions, ids)
        outputs = _as_outputs(predicted, ids, task)
        labels = task.open_test().labels
    is_bad = ~outputs.flatten(1).isfinite().all(1)
    if is_bad.any():
        raise _refused(task.name, f"outputs for {_some(ids[is_bad.numpy()])} are NaN or infinite.")
    metrics = task.metrics(outputs, labels)
    return Score(
        task=task.name,
        metric=task.metric,
        value=metrics[task.metric],
        unit=task.unit,
        interval=_interval(task, outputs, labels),
        metrics=metrics,
        num_networks=len(ids),
    )


def _outputs_of(model: nn.Module, task: Task) -> tuple[Tensor, Tensor]:
    dataset, was_training = task.open_test(), model.training
    parameter = next(model.parameters(), None)
    outputs, labels = [], []
    model.eval()
    with torch.no_grad():
        for first in range(0, len(dataset), BATCH_SIZE):
            places = range(first, min(first + BATCH_SIZE, len(dataset)))
            graphs, own = dataset.batch(places)
            graphs = graphs if parameter is None else graphs.to(parameter.device)
            outputs.append(task.outputs(model, graphs).cpu())
            labels.append(own)
    model.train(was_training)
    return torch.cat(outputs), torch.cat(labels)


def _in_order(predictions: Any, ids: Int[np.ndarray, "N"]) -> np.ndarray:
    """One for each network of the split, in its order."""
    if isinstance(predictions, str | Path):
        predictions = _read(Path(predictions))
    if isinstance(predictions, Mapping):
        columns = list(predictions), [predictions[key] for key in predictions]
        predictions = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    if isinstance(predictions, pd.DataFrame):
        return _by_ids(predictions, ids)
    values = np.asarray(predictions)
    if values.shape != (len(ids),):
        raise _refused(
            "test",
            f"the predictions are {list(values.shape)}, the split has {len(ids)} networks.",
            'Give one label a network, in the order of task.zoo.indices("test"), or by ids.',
        )
    return values


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise _refused(
            str(path), f"it cannot be read ({error}).", "Give a CSV file with id, prediction."
        ) from error


def _by_ids(table: pd.DataFrame, ids: Int[np.ndarray, "N"]) -> np.ndarray:
    if not set(COLUMNS) <= set(table.columns):
        found = f"the columns are {', '.join(map(str, table.columns))}."
        raise _refused("predictions", found, "Name them id and prediction.")
    given = pd.Series(table["prediction"].to_numpy(), index=table["id"])
    faults = {
        "are doubled": given.index[given.index.duplicated()].unique(),
        "are not of the split test": given.index.difference(ids),
        "are missing": pd.Index(ids).difference(given.index),
    }
    found = [f"{_some(which)} {what}" for what, which in faults.items() if len(which)]
    if found:
        raise _refused(
            "predictions", f"ids {'; '.join(found)}.", "Give each test network one prediction."
        )
    return given.loc[ids].to_numpy()


def _as_outputs(predicted: np.ndarray, ids: Int[np.ndarray, "N"], task: Task) -> Tensor:
    """Outputs that mean these labels: of a class a one where it is, else as the task says."""
    names = getattr(task, "class_names", None)
    if names is not None:
        return F.one_hot(_class_numbers(predicted, ids, tuple(names), task), len(names)).float()
    if task.out_dim != 1:
        raise _refused(task.name, "its outputs are no labels.", "Give a model.")
    numbers = pd.to_numeric(pd.Series(predicted), errors="coerce").to_numpy(np.float64, copy=True)
    is_bad = ~np.isfinite(numbers)
    if is_bad.any():
        raise _refused(task.name, f"predictions for {_some(ids[is_bad])} are no finite numbers.")
    return task.outputs_for(torch.from_numpy(numbers).float())


def _class_numbers(
    predicted: np.ndarray, ids: Int[np.ndarray, "N"], names: tuple[str, ...], task: Task
) -> Int[Tensor, "N"]:
    """By name, where all of them are names of classes; else by number.

    Names that are numbers are those of the same classes, or it is not known what is meant.
    """
    texts = [_text(value) for value in predicted]
    by_name = {name: number for number, name in enumerate(names)}
    by_number = {str(number): number for number in range(len(names))}
    ways = [way for way in (by_name, by_number) if set(texts) <= set(way)]
    if not ways:
        is_bad = np.array([text not in by_name and text not in by_number for text in texts])
        which = is_bad if is_bad.any() else np.ones(len(texts), bool)
        raise _refused(
            task.name,
            f"predictions for {_some(ids[which])} are no classes.",
            f"Give their names ({', '.join(names[:MAX_SHOWN])} ...) or numbers from 0.",
        )
    found = [[way[text] for text in texts] for way in ways]
    if len(found) == 2 and found[0] != found[1]:
        raise _refused(
            task.name,
            "predictions can be read as names of classes and as their numbers, which differ.",
            "Give names that are no numbers.",
        )
    return torch.tensor(found[0])


def _text(value: object) -> str:
    """Of a whole number without the point that a column with gaps gives it."""
    is_whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if is_whole else str(value)


def _interval(task: Task, outputs: Tensor, labels: Tensor) -> tuple[float, float]:
    def metric(numbers: np.ndarray) -> float:
        chosen = torch.from_numpy(numbers.astype(np.int64))
        return task.metrics(outputs[chosen], labels[chosen])[task.metric]

    found = bootstrap(
        (np.arange(len(labels)),),
        metric,
        n_resamples=NUM_RESAMPLES,
        confidence_level=LEVEL,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = found.confidence_interval
    return float(low), float(high)


def _some(ids: Int[np.ndarray, "N"] | pd.Index) -> str:
    shown = ", ".join(str(one) for one in list(ids)[:MAX_SHOWN])
    return shown if len(ids) <= MAX_SHOWN else f"{shown} and {len(ids) - MAX_SHOWN} more"


def _refused(what: str, found: str, do: str = "Correct them.") -> NNGraphsError:
    return NNGraphsError(f"score {what}", found=found, do=do)
