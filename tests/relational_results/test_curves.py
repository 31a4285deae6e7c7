"""One-measure curves."""

import numpy as np
import pytest

from nn_graphs.relational_results import BASELINE, fit_curve, mean_errors
from tests.relational_results.tables import make_runs


def bowl() -> dict:
    """Graphs on an exact quadratic in L where C is 0.5; others, with other errors, elsewhere."""
    lengths = np.linspace(1.2, 4, 8)
    structures = {number: (0.5, length) for number, length in enumerate(lengths.tolist())}
    values = {number: [30 + 2 * (x - 2.5) ** 2] for number, (_, x) in structures.items()}
    return {
        "errors": {**values, 8: [99.0], BASELINE: [99.0]},
        "structures": {**structures, 8: (0.7, 2.0)},
    }


def test_an_exact_quadratic_is_found():
    curve = fit_curve(mean_errors(make_runs(**bowl())), along="path_length")
    assert len(curve.graphs) == 8
    assert curve.coefficients == pytest.approx((2, -10, 42.5))
    assert curve.vertex == pytest.approx(2.5)
    assert curve.r2 == pytest.approx(1)
    assert curve(np.array([2.5, 3.5])) == pytest.approx([30, 32])


def test_the_window_is_closed_and_may_be_given():
    errors = mean_errors(make_runs(**bowl()))
    assert len(fit_curve(errors, along="path_length", window=(0.5, 0.5)).graphs) == 8
    assert len(fit_curve(errors, along="path_length", window=(0.5, 0.7)).graphs) == 9
    whole = fit_curve(errors, along="path_length", window=(0.0, 1.0))
    assert whole.graphs["graph_id"].tolist()[0] == BASELINE
    assert whole.r2 < 0.9


def test_along_clustering():
    structures = {number: (0.1 * number, 2.0 + 0.1 * number) for number in range(8)}
    values = {number: [5 + (0.1 * number - 0.3) ** 2] for number in range(8)}
    curve = fit_curve(mean_errors(make_runs(values, structures=structures)), along="clustering")
    assert len(curve.graphs) == 6  # up to L = 2.5
    assert curve.vertex == pytest.approx(0.3)


def test_too_few_graphs(raises_saying):
    errors = mean_errors(make_runs({4: [1.0], 5: [2.0], 9: [3.0]}))
    with raises_saying(asked="along path_length", found="2 graphs have a clustering", do="wider"):
        fit_curve(errors, along="path_length", window=(0.35, 0.55))
