"""Prediction of errors from structure, on graphs not seen."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyRegressor

from nn_graphs.relational_results import (
    BASELINE,
    mean_errors,
    noise_ceiling,
    polynomial,
    predict_errors,
)
from tests.relational_results.tables import make_runs, random_runs


class Memory(RegressorMixin, BaseEstimator):
    """Knows every graph it was fitted to, and nothing else."""

    def fit(self, features, labels):
        self.known_ = dict(zip(map(tuple, features), labels, strict=True))
        return self

    def predict(self, features):
        return np.array([self.known_.get(tuple(row), 0.0) for row in features])


def test_a_quadratic_is_found_by_the_quadratic_alone():
    errors = mean_errors(random_runs(300, noise=0.0))
    quadratic = predict_errors(errors, polynomial(2))
    assert quadratic.r2_fit == pytest.approx(1)
    assert quadratic.r2 == pytest.approx(1)
    assert quadratic.spearman == pytest.approx(1)
    assert quadratic.kendall == pytest.approx(1)
    linear = predict_errors(errors, polynomial(1))
    assert linear.r2 < linear.r2_fit < 0.8
    measured = errors.set_index("graph_id")["error"]
    assert np.allclose(quadratic.predicted, measured.loc[quadratic.predicted.index])


def test_noise_bounds_what_is_explained():
    runs = random_runs(3000, noise=2.0)
    quadratic = predict_errors(mean_errors(runs), polynomial(2))
    assert quadratic.r2 == pytest.approx(noise_ceiling(runs).share, abs=0.03)


def test_graphs_are_predicted_while_unseen():
    errors = mean_errors(random_runs(30, noise=1.0))
    memory = predict_errors(errors, Memory(), num_folds=5)
    assert memory.r2_fit == 1
    assert (memory.predicted == 0).all()
    assert memory.r2 < 0
    assert np.isnan([memory.spearman, memory.kendall]).all()


def test_the_baseline_is_no_graph_of_the_family():
    values = {number: [float(number % 4)] for number in range(9)}
    prediction = predict_errors(
        mean_errors(make_runs({**values, BASELINE: [1e6]})), polynomial(1), num_folds=3
    )
    assert sorted(prediction.predicted.index) == [*range(9)]
    assert prediction.predicted.abs().max() < 10


def test_other_measures_and_regressors():
    errors = mean_errors(random_runs(60, noise=0.1)).assign(answer=lambda table: table["error"])
    assert predict_errors(errors, polynomial(1), measures=["answer"]).r2 == pytest.approx(1)
    assert predict_errors(errors, DummyRegressor()).r2 < 0.01


def test_bad_input(raises_saying):
    errors = mean_errors(random_runs(12, noise=0.1))
    with raises_saying(asked="predict from degree", found="no column degree", do="clustering"):
        predict_errors(errors, polynomial(1), measures=["degree"])
    broken = errors.assign(degree=np.where(errors["graph_id"] == 3, np.nan, 1.0))
    with raises_saying(asked="from degree", found="degree is not finite", do="Leave"):
        predict_errors(broken, polynomial(1), measures=["degree"])
    with raises_saying(asked="in 13 folds", found="12 graphs", do="fewer folds"):
        predict_errors(errors, polynomial(1), num_folds=13)
