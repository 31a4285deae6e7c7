"""How well performance is told from vectors of networks: correlations on networks not fitted to.

StructureReps reports Pearson correlations, as mean and variance; rank correlations and R2 beside
them say whether a relation is one of order, and whether predicted values are right at all.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.metrics import kendall_tau, pearson_r, r_squared, spearman_rho
from nn_graphs.structure_performance.probes import Features, Labels, Probe, fit_ridge
from nn_graphs.structure_performance.protocols import Division, Protocol, Runs, divide

SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class ProbeScores:
    """Of predicted and true performance; correlations are 0 where all predictions are equal."""

    pearson: float
    spearman: float
    kendall: float
    r2: float


@dataclass(frozen=True)
class HeldOut:
    """What a probe says of networks that it was not fitted to.

    Attributes:
        division: of all networks.
        predictions, labels: of those of `division.val`, in this order.
    """

    division: Division
    predictions: Labels
    labels: Labels

    @property
    def scores(self) -> ProbeScores:
        """Raises `NNGraphsError` where all labels are equal."""
        return score_predictions(self.predictions, self.labels)


def score_predictions(predictions: Labels, labels: Labels) -> ProbeScores:
    """All scores.

    Raises:
        NNGraphsError: all labels are equal, so that no correlation is defined.
    """
    if not np.ptp(labels):
        raise NNGraphsError(
            f"correlate predictions with the performance of {len(labels)} networks",
            found=f"all have the performance {labels[0]:g}, so that it is undefined.",
            do="Choose a harder task, more runs, or another measure of performance.",
        )
    pair = torch.from_numpy(np.asarray(predictions, float)), torch.from_numpy(labels.astype(float))
    return ProbeScores(pearson_r(*pair), spearman_rho(*pair), kendall_tau(*pair), r_squared(*pair))


def hold_out(
    features: Features,
    labels: Labels,
    runs: Runs,
    *,
    protocol: Protocol,
    seed: int,
    fit: Probe = fit_ridge,
) -> HeldOut:
    """Fits a probe on one side of a division, and predicts the other.

    Args:
        features: of networks; NaN where a network does not have one.
        labels: their performance.
        runs: which training run each is of.
        protocol: of the division.
        seed: of it.
        fit: the probe.

    Raises:
        NNGraphsError: numbers of rows differ, a performance is not finite, a feature is infinite,
            or there are too few networks or runs.
    """
    _check(features, labels, runs)
    division = divide(runs, protocol, seed=seed)
    fitted = fit(features[division.train], labels[division.train], runs[division.train])
    return HeldOut(division, fitted.predict(features[division.val]), labels[division.val])


def score_features(
    features: Features,
    labels: Labels,
    runs: Runs,
    *,
    protocol: Protocol,
    seeds: Sequence[int] = SEEDS,
    fit: Probe = fit_ridge,
) -> pd.DataFrame:
    """Scores of a probe, one row a seed of the division (the index), one column a score.

    Raises:
        NNGraphsError: see `hold_out` and `score_predictions`.
    """
    rows = [
        asdict(hold_out(features, labels, runs, protocol=protocol, seed=seed, fit=fit).scores)
        for seed in seeds
    ]
    return pd.DataFrame(rows, index=pd.Index(seeds, name="seed"))


@dataclass(frozen=True)
class PerformanceColumns:
    """Names of columns of a zoo of trajectories.

    Attributes:
        train, test: performance on training and on test inputs; larger is better.
        loss: on training inputs; smaller is better.
    """

    train: str
    test: str
    loss: str


CLASSIFICATION = PerformanceColumns("train_accuracy", "test_accuracy", "train_loss")
REGRESSION = PerformanceColumns("train_r2", "test_r2", "train_mse")


def performance_columns(table: pd.DataFrame) -> PerformanceColumns:
    """Accuracy and cross-entropy, or R2 and mean squared error, whichever a table has.

    Raises:
        NNGraphsError: it has neither.
    """
    for columns in (CLASSIFICATION, REGRESSION):
        if {columns.train, columns.test, columns.loss} <= set(table):
            return columns
    raise NNGraphsError(
        f"tell the performance of {len(table)} networks",
        found=f"their table has the columns {', '.join(map(str, table))}.",
        do=f"Give {', '.join(asdict(CLASSIFICATION).values())}, or the same with r2 and mse.",
    )


def performance_of(table: pd.DataFrame, column: str) -> Labels:
    """A column of the table of a zoo as labels.

    Raises:
        NNGraphsError: there is no such column.
    """
    if column not in table:
        raise NNGraphsError(
            f"predict {column} of {len(table)} networks",
            found=f"their table has the columns {', '.join(table)}.",
            do="Choose one of these.",
        )
    return table[column].to_numpy(dtype=float)


def _check(features: np.ndarray, labels: np.ndarray, runs: np.ndarray) -> None:
    asked = f"fit a probe to vectors of {len(features)} networks"
    if not len(features) == len(labels) == len(runs):
        raise NNGraphsError(
            asked,
            found=f"there are {len(labels)} labels and {len(runs)} runs.",
            do="Give one of each a network.",
        )
    is_bad = ~np.isfinite(labels)
    if is_bad.any():
        raise NNGraphsError(
            asked,
            found=f"the performance of {is_bad.sum()} is not finite, the first is number "
            f"{is_bad.argmax()}, of run {runs[is_bad.argmax()]}.",
            do="Leave out epochs at which training has diverged (Zoo.select).",
        )
    is_bad = np.isinf(features).any(axis=1)
    if is_bad.any():
        raise NNGraphsError(
            asked,
            found=f"features of {is_bad.sum()} are infinite, the first is number "
            f"{is_bad.argmax()}, of run {runs[is_bad.argmax()]}.",
            do="Leave out networks whose weights are too large.",
        )
