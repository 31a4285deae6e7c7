"""Probes: what predicts performance from vectors of networks that are not trained any further.

All are functions of (features `[N, dim]`, labels `[N]`, runs `[N]`) that return a fitted regressor
of scikit-learn. A feature that a network does not have is NaN.
"""

from collections.abc import Callable, Sequence
from typing import Protocol as Interface

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from nn_graphs.structure_performance.protocols import Runs

STRENGTHS = tuple(float(f"{strength:.0e}") for strength in np.logspace(-4, 5, 10))
NUM_FOLDS = 5

Features = Float[np.ndarray, "N dim"]
Labels = Float[np.ndarray, " N"]


class Fitted(Interface):
    """A regressor that has been fitted."""

    def predict(self, features: Features) -> Labels: ...


Probe = Callable[[Features, Labels, Runs], Fitted]


def fit_ridge(
    features: Features, labels: Labels, runs: Runs, *, strengths: Sequence[float] = STRENGTHS
) -> Pipeline:
    """A linear map of standardised features, by least squares with a penalty.

    Its strength is that with the least squared error on runs left out, one fold of them after the
    other; where all networks are of one run, on stretches of it. StructureReps says "linear
    regressor" and no more; the smallest strength is least squares alone, but for rounding.
    """
    return _choose_strength([], features, labels, runs, strengths)


def fit_quadratic(
    features: Features, labels: Labels, runs: Runs, *, strengths: Sequence[float] = STRENGTHS
) -> Pipeline:
    """As `fit_ridge`, in all products of up to two features."""
    squares = [PolynomialFeatures(2, include_bias=False), StandardScaler()]
    return _choose_strength(squares, features, labels, runs, strengths)


def fit_trees(features: Features, labels: Labels, runs: Runs) -> HistGradientBoostingRegressor:
    """Boosted trees of fixed size; NaN counts as missing, and runs for nothing."""
    trees = HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.05, max_leaf_nodes=15, early_stopping=False, random_state=0
    )
    is_empty = np.isnan(features).all(axis=0)  # of which scikit-learn can make no bins
    return trees.fit(np.where(is_empty, 0.0, features), labels)


def _choose_strength(
    steps: list, features: Features, labels: Labels, runs: Runs, strengths: Sequence[float]
) -> Pipeline:
    """The pipeline of the strength that predicts best what it has not seen."""
    errors = np.zeros(len(strengths))
    for seen, unseen in _folds(runs):
        made = make_pipeline(*_known(), *map(clone, steps)).fit(features[seen])
        parts = made.transform(features[seen]), made.transform(features[unseen])
        predicted = _ridge_predictions(*parts, labels[seen], strengths)
        errors += np.square(predicted - labels[unseen, None]).mean(axis=0)
    best = Ridge(float(strengths[int(errors.argmin())]))
    return make_pipeline(*_known(), *steps, best).fit(features, labels)


def _known() -> tuple[SimpleImputer, StandardScaler]:
    """Gives a missing feature the mean of the networks that have it; then standardises."""
    return SimpleImputer(keep_empty_features=True), StandardScaler()


def _ridge_predictions(
    seen: Float[np.ndarray, "S dim"],
    unseen: Float[np.ndarray, "U dim"],
    labels: Float[np.ndarray, " S"],
    strengths: Sequence[float],
) -> Float[np.ndarray, "U strengths"]:
    """Predictions of all strengths by one decomposition; features seen have a mean of 0."""
    values, vectors = np.linalg.eigh(seen.T @ seen)
    along = vectors.T @ (seen.T @ (labels - labels.mean()))
    shrunk = along[:, None] / (values.clip(min=0)[:, None] + np.array(strengths))
    return unseen @ (vectors @ shrunk) + labels.mean()


def _folds(runs: Runs) -> list[tuple[Int[np.ndarray, " T"], Int[np.ndarray, " V"]]]:
    """Networks to fit to and to choose on, such that no run is on both sides."""
    places, num_runs = np.zeros((len(runs), 1)), len(set(runs.tolist()))
    if num_runs == 1:
        return list(KFold(min(NUM_FOLDS, len(runs))).split(places))
    return list(GroupKFold(min(NUM_FOLDS, num_runs)).split(places, groups=runs))
