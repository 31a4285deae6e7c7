"""Probes against scikit-learn and least squares, and how they choose."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold

from nn_graphs.structure_performance import fit_quadratic, fit_ridge, fit_trees
from nn_graphs.structure_performance.probes import STRENGTHS

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(120, 4)) * [1, 10, 0.1, 1] + [0, 50, 0, 0]
RUNS = np.repeat(np.arange(12), 10)
LINEAR = FEATURES @ [1.0, 0.2, -5.0, 0.0] + 3
UNSEEN = RANDOM.normal(size=(30, 4)) * [1, 10, 0.1, 1] + [0, 50, 0, 0]


def strength_of(fitted) -> float:
    return fitted[-1].alpha


def test_ridge_finds_a_linear_map_whatever_the_scales():
    fitted = fit_ridge(FEATURES, LINEAR, RUNS)
    expected = LinearRegression().fit(FEATURES, LINEAR).predict(UNSEEN)
    np.testing.assert_allclose(fitted.predict(UNSEEN), expected, rtol=1e-4)
    assert strength_of(fitted) == 1e-4


def test_the_strength_is_chosen_on_other_runs():
    """Many numbers of a run, and a label of it that has nothing to do with them."""
    random = np.random.default_rng(1)
    told, labels = random.normal(size=(12, 20))[RUNS], random.normal(size=12)[RUNS]
    across = fit_ridge(told, labels, RUNS)
    within = fit_ridge(told, labels, np.arange(len(RUNS)))
    assert strength_of(within) < 0.1
    assert strength_of(across) > 100
    assert np.ptp(across.predict(told)) < 0.7 * np.ptp(labels)


@pytest.mark.parametrize("fit", [fit_ridge, fit_quadratic])
def test_the_strength_is_that_of_scikit_learn(fit):
    """The one with the least squared error over folds of whole runs, searched the plain way."""
    labels = LINEAR + 8 * np.random.default_rng(2).normal(size=120)
    fitted = fit(FEATURES, labels, RUNS)
    folds = list(GroupKFold(5).split(FEATURES, groups=RUNS))
    grid = {"ridge__alpha": STRENGTHS}
    search = GridSearchCV(clone(fitted), grid, cv=folds, scoring="neg_mean_squared_error")
    search.fit(FEATURES, labels)
    assert strength_of(fitted) == search.best_params_["ridge__alpha"]
    assert 1e-4 < strength_of(fitted) < 1e5
    np.testing.assert_allclose(fitted.predict(UNSEEN), search.predict(UNSEEN))


def test_one_run_is_cut_into_stretches():
    fitted = fit_ridge(FEATURES, LINEAR, np.zeros(120, dtype=int))
    np.testing.assert_allclose(
        fitted.predict(UNSEEN), LinearRegression().fit(FEATURES, LINEAR).predict(UNSEEN), rtol=1e-4
    )


@pytest.mark.parametrize("fit", [fit_ridge, fit_quadratic, fit_trees])
def test_missing_and_constant_features(fit):
    extra = np.full((120, 2), np.nan)
    extra[:, 1] = 7.0
    features = np.concatenate([FEATURES, extra], axis=1)
    features[::5, 0] = np.nan
    predicted = fit(features, LINEAR, RUNS).predict(features)
    assert np.isfinite(predicted).all()
    assert np.corrcoef(predicted, LINEAR)[0, 1] > 0.9


def test_quadratic_and_trees_see_squares():
    features, runs = RANDOM.normal(size=(600, 2)), np.repeat(np.arange(12), 50)
    labels = features[:, 0] ** 2
    seen, unseen = np.arange(500), np.arange(500, 600)
    found = [
        np.corrcoef(
            fit(features[seen], labels[seen], runs[seen]).predict(features[unseen]), labels[unseen]
        )[0, 1]
        for fit in (fit_ridge, fit_quadratic, fit_trees)
    ]
    assert found[0] < 0.5
    assert found[1] > 0.999
    assert found[2] > 0.9
