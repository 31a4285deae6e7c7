"""The baseline of one number: of all statistics of StatNN, the one that alone predicts val best.

What it reaches says how much of a task is in the scale or spread of one tensor, e.g. of the last
layer's weights; an encoder should be read against it.
"""

import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.boosted_trees import Features, check_labels, statistics_of
from nn_graphs.encoders.statnn import QUANTILES
from nn_graphs.tasks.task import Task
from nn_graphs.training.outcome import Outcome, read_outcome, write_outcome

logger = logging.getLogger(__name__)
NAMES = ("mean", "variance", *(f"{100 * share:.0f} % quantile" for share in QUANTILES))


def fit_and_test_statistic(task: Task, folder: str | Path) -> Outcome:
    """Fits a line from each statistic to the labels, and takes the one whose metric on val is best.

    `folder` gets `metrics.csv` (a row per statistic, with its name), `test_outputs.npz` and
    `outcome.json`, as from `nn_graphs.training`; a finished run is read. In the outcome,
    `best_epoch` is the number of the statistic. Networks without its tensor count as average.

    Raises:
        NNGraphsError: labels are no numbers.
    """
    folder = Path(folder)
    finished = read_outcome(folder)
    if finished is not None:
        return finished
    start = time.monotonic()
    train, val = task.dataset("train"), task.dataset("val")
    check_labels(task, train.labels, has_classes=False)
    lines = _lines(statistics_of(train, task), train.labels.double().numpy())
    predictions = _predictions(lines, statistics_of(val, task))
    found = [task.metrics(task.outputs_for(column), val.labels) for column in predictions.T]
    best = int(np.argmax([metrics[task.metric] for metrics in found]))
    name = statistic_name(best, num_tensors=len(found) // len(NAMES))
    minutes = (time.monotonic() - start) / 60
    test = task.open_test()
    outputs = task.outputs_for(_predictions(lines, statistics_of(test, task))[:, best])
    metrics = task.metrics(outputs, test.labels)
    logger.info("The best statistic is the %s.", name)
    folder.mkdir(parents=True, exist_ok=True)
    _history(found).to_csv(folder / "metrics.csv", index=False)
    outcome = Outcome(found[best], metrics, best, num_params=2, minutes=minutes, device="cpu")
    write_outcome(folder, outcome, outputs=outputs.numpy(), labels=test.labels.numpy())
    return outcome


def statistic_name(number: int, *, num_tensors: int) -> str:
    """What a column of `statistics_of` is, e.g. `variance of the weights into layer 2`."""
    tensor, kind = divmod(number, len(NAMES))
    num_layers = num_tensors // 2
    is_bias = tensor >= num_layers
    values = "biases of" if is_bias else "weights into"
    return f"{NAMES[kind]} of the {values} layer {tensor % num_layers + 1} of {num_layers}"


def _lines(
    features: Features, labels: Float[np.ndarray, " networks"]
) -> tuple[Float[np.ndarray, " features"], ...]:
    """Mean of each feature, slope of the line through it, and mean of the labels."""
    present = np.isfinite(features)
    count = present.sum(0).clip(min=1)
    mean = np.where(present, features, 0.0).sum(0) / count
    centred = np.where(present, features - mean, 0.0)
    variance = np.square(centred).sum(0)
    covariance = (centred * (labels - labels.mean())[:, None]).sum(0)
    slope = covariance / np.where(variance > 0, variance, 1.0)
    return mean, slope, np.full_like(mean, labels.mean())


def _predictions(
    lines: tuple[Float[np.ndarray, " features"], ...], features: Features
) -> Float[Tensor, "networks features"]:
    mean, slope, label = lines
    centred = np.where(np.isfinite(features), features - mean, 0.0)
    return torch.from_numpy(label + slope * centred).float()


def _history(found: list[dict[str, float]]) -> pd.DataFrame:
    table = pd.DataFrame([{f"val/{name}": value for name, value in one.items()} for one in found])
    names = [statistic_name(one, num_tensors=len(found) // len(NAMES)) for one in table.index]
    return table.rename_axis("statistic").reset_index().assign(name=names)
