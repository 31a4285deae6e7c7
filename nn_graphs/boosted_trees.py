"""Gradient-boosted trees on statistics of the tensors of a network: no graph, no deep learning.

The same seven statistics as StatNN (Unterthiner et al., 2020, whose strongest predictor are trees
like these), what a network does not have counts as missing. Settings and number of trees are chosen
on val, by the task's metric; then test is scored, once.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits
from torch import Tensor

from nn_graphs.encoders.statnn import tensor_statistics
from nn_graphs.errors import NNGraphsError
from nn_graphs.ranges import PositiveInt, Seed, in_ranges
from nn_graphs.tasks.task import Task
from nn_graphs.threads import side_by_side
from nn_graphs.training.outcome import Outcome, read_outcome, write_outcome
from nn_graphs.zoos.batches import GraphDataset

BATCH = 1024  # networks whose statistics are taken together
SMALLEST = 1e-12  # probability of a class, so that its logarithm is finite

Features = Float[np.ndarray, "_ features"]  # of all networks of a split
Model: TypeAlias = HistGradientBoostingRegressor | HistGradientBoostingClassifier


@in_ranges
@dataclass(frozen=True)
class TreeSettings:
    """What is tried; every combination is trained, the best one on val is taken.

    Attributes:
        learning_rates: factors on what each tree adds.
        max_leaf_nodes: sizes of a tree.
        max_features: share of the features, drawn anew for each split, that it may be on.
        num_trees: at most (for classes, of each class); every `check_every`-th number of trees is
            tried too.
        check_every: steps between the numbers of trees that are tried.
        l2_regularization: on the values of leaves.
        seed: of the draws.
    """

    learning_rates: Sequence[float] = (0.05, 0.1)
    max_leaf_nodes: Sequence[int] = (15, 31)
    max_features: float = 1.0
    num_trees: PositiveInt = 500
    check_every: int = 10
    l2_regularization: float = 0.0
    seed: Seed = 0

    def make_models(self, labels: Tensor) -> Iterator[Model]:
        """A model for every combination: of classes where labels are whole numbers."""
        kind = (
            HistGradientBoostingRegressor
            if labels.is_floating_point()
            else HistGradientBoostingClassifier
        )
        for learning_rate, max_leaf_nodes in product(self.learning_rates, self.max_leaf_nodes):
            yield kind(
                learning_rate=learning_rate,
                max_leaf_nodes=max_leaf_nodes,
                max_features=self.max_features,
                max_iter=self.num_trees,
                l2_regularization=self.l2_regularization,
                early_stopping=False,
                random_state=self.seed,
            )


@in_ranges
def fit_and_test_trees(task: Task, folder: str | Path, *, settings: TreeSettings) -> Outcome:
    """Fits trees to the labels of a task, numbers or classes.

    `folder` gets `metrics.csv` (of the chosen trees, a row per number of trees that was tried),
    `test_outputs.npz` and `outcome.json`, as from `nn_graphs.training`; a finished run is read. In
    the outcome, `best_epoch` is the last tree (from 0) and `num_params` the number of leaves that
    the chosen trees have at most.

    Raises:
        NNGraphsError: the task has several labels a network.
    """
    folder = Path(folder)
    finished = read_outcome(folder)
    if finished is not None:
        return finished
    start = time.monotonic()
    best = _choose(task, settings)
    minutes = (time.monotonic() - start) / 60
    test = task.open_test()
    outputs = best.outputs(task, statistics_of(test, task))
    outcome = Outcome(
        val=best.val_metrics,
        test=task.metrics(outputs, test.labels),
        best_epoch=best.num_trees - 1,
        num_params=best.num_leaves,
        minutes=minutes,
        device="cpu",
    )
    folder.mkdir(parents=True, exist_ok=True)
    best.history.to_csv(folder / "metrics.csv")
    write_outcome(folder, outcome, outputs=outputs.numpy(), labels=test.labels.numpy())
    return outcome


def statistics_of(dataset: GraphDataset, task: Task) -> Features:
    """Statistics of all tensors of every network of a split, NaN where it has no such tensor."""
    rows = []
    for first in range(0, len(dataset), BATCH):
        graphs, _ = dataset.batch(list(range(first, min(first + BATCH, len(dataset)))))
        values, is_there = tensor_statistics(graphs, task.dims)
        rows.append(torch.where(is_there.unsqueeze(-1), values, torch.nan).flatten(1))
    return torch.cat(rows).numpy()


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A fitted model.

    Attributes:
        model: all its trees.
        history: a row per number of trees (the index) that was tried: the loss on train, and
            metrics on val.
        num_trees: the best of these numbers.
    """

    model: Model
    history: pd.DataFrame
    num_trees: PositiveInt

    @property
    def val_metrics(self) -> dict[str, float]:
        row = self.history.loc[self.num_trees]
        return {
            name.removeprefix("val/"): float(row[name]) for name in row.index if name[:4] == "val/"
        }

    @property
    def num_leaves(self) -> int:
        return self.num_trees * self.model.n_trees_per_iteration_ * self.model.max_leaf_nodes

    def outputs(self, task: Task, features: Features) -> Tensor:
        """Those of the first `num_trees` trees."""
        stages = enumerate(_staged_outputs(self.model, features, task), start=1)
        return next(outputs for number, outputs in stages if number == self.num_trees)


def _choose(task: Task, settings: TreeSettings) -> _Fitted:
    """The best model, with its best number of trees, by the task's metric on val."""
    train, val = task.dataset("train"), task.dataset("val")
    check_labels(task, train.labels)
    splits = [(statistics_of(split, task), split.labels) for split in (train, val)]
    features, labels = splits[0]

    def fit(model: Model) -> _Fitted:
        with threadpool_limits(1, user_api="openmp"):  # of this thread, in scikit-learn
            model.fit(features, labels.numpy())
            return _tried(model, *splits, task=task, settings=settings)

    fitted = side_by_side(fit, [*settings.make_models(labels)])
    return max(fitted, key=lambda one: one.val_metrics[task.metric])


def _tried(
    model: Model,
    train: tuple[Features, Tensor],
    val: tuple[Features, Tensor],
    *,
    task: Task,
    settings: TreeSettings,
) -> _Fitted:
    """A fitted model with its best number of trees."""
    rows = {}
    stages = zip(
        _staged_outputs(model, train[0], task), _staged_outputs(model, val[0], task), strict=True
    )
    for number, (train_outputs, val_outputs) in enumerate(stages, start=1):
        if number % settings.check_every == 0 or number == settings.num_trees:
            metrics = task.metrics(val_outputs, val[1])
            loss = task.loss(train_outputs, train[1]).item()
            rows[number] = {"train/loss": loss} | {f"val/{k}": v for k, v in metrics.items()}
    history = pd.DataFrame.from_dict(rows, orient="index").rename_axis("trees")
    return _Fitted(model, history, int(history[f"val/{task.metric}"].idxmax()))


def _staged_outputs(model: Model, features: Features, task: Task) -> Iterator[Tensor]:
    """What the task takes as outputs, of the first tree, the first two and so on."""
    if isinstance(model, HistGradientBoostingRegressor):
        for predicted in model.staged_predict(features):
            yield task.outputs_for(torch.from_numpy(predicted).float())
    else:
        classes = torch.from_numpy(model.classes_)
        for shares in model.staged_predict_proba(features):
            found = torch.full((len(features), task.out_dim), SMALLEST, dtype=torch.float64)
            found[:, classes] = torch.from_numpy(shares).clamp_min(SMALLEST)
            yield found.log().float()


def check_labels(task: Task, labels: Tensor, *, has_classes: bool = True) -> None:
    """Raises `NNGraphsError` where labels are not one number (or class) a network."""
    if labels.ndim != 1 or not (has_classes or labels.is_floating_point()):
        raise NNGraphsError(
            f"fit statistics to the labels of {task.name}",
            found=f"they are {list(labels.shape)} of the type {labels.dtype}.",
            do=f"Use a task with one number{' or class' if has_classes else ''} a network, "
            "e.g. an accuracy.",
        )
