"""Probes: what predicts performance from vectors of networks that are not trained any further.

All are functions of (features `[N, dim]`, labels `[N]`, runs `[N]`) that return a fitted regressor
of scikit-learn. A feature that a network does not have is NaN.
"""

from collections.abc import Callable, Sequence
from typing import Protocol as Interface

import numpy as np
from jaxtyping import Float, Int
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
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
) -> GridSearchCV:
    """A linear map of standardised features, by least squares with a penalty.

    Its strength is that with the least squared error on runs left out, one fold of them after the
    other; where all networks are of one run, on stretches of it. StructureReps says "linear
    regressor" and no more; the smallest strength is least squares alone, but for rounding.
    """
    return _choose_strength([], features, labels, runs, strengths)


def fit_quadratic(
    features: Features, labels: Labels, runs: Runs, *, strengths: Sequence[float] = STRENGTHS
) -> GridSearchCV:
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
) -> GridSearchCV:
    known = SimpleImputer(keep_empty_features=True)  # the mean of the networks that have it
    pipeline: Pipeline = make_pipeline(known, StandardScaler(), *steps, Ridge())
    search = GridSearchCV(
        pipeline,
        {"ridge__alpha": list(strengths)},
        cv=_folds(runs),
        scoring="neg_mean_squared_error",
    )
    return search.fit(features, labels)


def _folds(runs: Runs) -> list[tuple[Int[np.ndarray, " T"], Int[np.ndarray, " V"]]]:
    """Networks to fit to and to choose on, such that no run is on both sides."""
    places, num_runs = np.zeros((len(runs), 1)), len(set(runs.tolist()))
    if num_runs == 1:
        return list(KFold(min(NUM_FOLDS, len(runs))).split(places))
    return list(GroupKFold(min(NUM_FOLDS, num_runs)).split(places, groups=runs))
