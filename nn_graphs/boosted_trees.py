"""Gradient-boosted trees on statistics of the tensors of a network: no graph, no deep learning.

The same seven statistics as StatNN (Unterthiner et al., 2020, whose strongest predictor are trees
like these), what a network does not have counts as missing. Settings and number of trees are chosen
on val, by the task's metric; then test is scored, once.
"""

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import Tensor

from nn_graphs.encoders.statnn import tensor_statistics
from nn_graphs.errors import NNGraphsError
from nn_graphs.tasks.task import Task
from nn_graphs.training import Outcome
from nn_graphs.zoos.batches import GraphDataset

logger = logging.getLogger(__name__)
BATCH = 1024  # networks whose statistics are taken together


@dataclass(frozen=True)
class TreeSettings:
    """What is tried; every combination is trained, the best one on val is taken.

    Attributes:
        learning_rates: factors on what each tree adds.
        max_leaf_nodes: sizes of a tree.
        num_trees: at most; every `check_every`-th number of trees is tried too.
        check_every: steps between the numbers of trees that are tried.
        l2_regularization: on the values of leaves.
        seed: of the trees' binning.
    """

    learning_rates: tuple[float, ...] = (0.05, 0.1)
    max_leaf_nodes: tuple[int, ...] = (15, 31)
    num_trees: int = 500
    check_every: int = 10
    l2_regularization: float = 0.0
    seed: int = 0


def fit_and_test_trees(
    task: Task,
    settings: TreeSettings,
    folder: str | Path,
    *,
    to_outputs: Callable[[Tensor], Tensor] = lambda predicted: predicted.unsqueeze(1),
) -> Outcome:
    """Fits trees to the labels of a task of regression.

    `folder` gets `test_outputs.npz` and `outcome.json`, as from `nn_graphs.training`; a finished
    run is read. In the outcome, `best_epoch` is the last tree (from 0) and `num_params` the number
    of leaves that the chosen trees have at most.

    Args:
        task: whose labels are one number each.
        settings: what is tried.
        folder: of the run.
        to_outputs: from predicted labels `[N]` to the outputs that the task's metrics take.

    Raises:
        NNGraphsError: the labels are classes.
    """
    folder = Path(folder)
    finished = folder / "outcome.json"
    if finished.exists():
        logger.info("%s is finished; its outcome is read.", folder)
        return Outcome(**json.loads(finished.read_text()))
    start = time.monotonic()
    train, val = task.dataset("train"), task.dataset("val")
    _check_labels(task, train.labels)
    best = _choose(task, settings, statistics_of(train, task), val, to_outputs)
    minutes = (time.monotonic() - start) / 60
    test = task.open_test()
    outputs = to_outputs(best.predict(statistics_of(test, task)))
    outcome = Outcome(
        val=best.metrics,
        test=task.metrics(outputs, test.labels),
        best_epoch=best.num_trees - 1,
        num_params=best.num_trees * best.model.max_leaf_nodes,
        minutes=minutes,
        device="cpu",
    )
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "test_outputs.npz", outputs=outputs.numpy(), labels=test.labels.numpy())
    finished.write_text(json.dumps(dataclasses.asdict(outcome), indent=2))
    return outcome


def statistics_of(dataset: GraphDataset, task: Task) -> Float[np.ndarray, "N features"]:
    """Statistics of all tensors of every network of a split, NaN where it has no such tensor."""
    rows = []
    for first in range(0, len(dataset), BATCH):
        graphs, _ = dataset.__getitems__(list(range(first, min(first + BATCH, len(dataset)))))
        values, is_there = tensor_statistics(graphs, task.dims)
        rows.append(torch.where(is_there.unsqueeze(-1), values, torch.nan).flatten(1))
    return torch.cat(rows).numpy()


@dataclass(frozen=True)
class _Candidate:
    """The first trees of a model, with their metrics on val."""

    model: HistGradientBoostingRegressor
    num_trees: int
    metrics: dict[str, float]

    def predict(self, features: Float[np.ndarray, "N features"]) -> Float[Tensor, "N"]:
        stages = enumerate(self.model.staged_predict(features), start=1)
        predicted = next(values for number, values in stages if number == self.num_trees)
        return torch.from_numpy(predicted).float()


def _choose(
    task: Task,
    settings: TreeSettings,
    features: Float[np.ndarray, "N features"],
    val: GraphDataset,
    to_outputs: Callable[[Tensor], Tensor],
) -> _Candidate:
    """The best model, and its best number of trees, by the task's metric on val."""
    labels, val_features = task.dataset("train").labels.numpy(), statistics_of(val, task)
    best = None
    for learning_rate, max_leaf_nodes in product(settings.learning_rates, settings.max_leaf_nodes):
        model = HistGradientBoostingRegressor(
            learning_rate=learning_rate,
            max_leaf_nodes=max_leaf_nodes,
            max_iter=settings.num_trees,
            l2_regularization=settings.l2_regularization,
            early_stopping=False,
            random_state=settings.seed,
        ).fit(features, labels)
        for number, predicted in enumerate(model.staged_predict(val_features), start=1):
            if number % settings.check_every and number != settings.num_trees:
                continue
            outputs = to_outputs(torch.from_numpy(predicted).float())
            metrics = task.metrics(outputs, val.labels)
            if best is None or metrics[task.metric] > best.metrics[task.metric]:
                best = _Candidate(model, number, metrics)
    return best


def _check_labels(task: Task, labels: Tensor) -> None:
    if not labels.is_floating_point() or labels.ndim != 1:
        raise NNGraphsError(
            f"fit trees to the labels of {task.name}",
            found=f"they are {list(labels.shape)} of the type {labels.dtype}.",
            do="Use a task whose labels are one number each, e.g. an accuracy.",
        )
