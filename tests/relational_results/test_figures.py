"""Figures show what they are given."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from nn_graphs.plotting import save_figure
from nn_graphs.relational_results import (
    BASELINE,
    CellGrid,
    correlate_counts,
    fit_curve,
    graph_sweet_spot,
    mean_errors,
    polynomial,
    predict_errors,
)
from nn_graphs.relational_results.figures import (
    plot_correlation_lines,
    plot_correlations,
    plot_curve,
    plot_heat_map,
    plot_prediction,
    plot_relational_graphs,
    plot_selected,
)
from tests.relational_results.tables import make_runs, random_runs

GRID = CellGrid(4, (1.0, 5.0))


@pytest.fixture
def written(tmp_path):
    """Writes a figure; matplotlib's settings are left alone."""
    before = dict(mpl.rcParams)
    yield lambda figure: save_figure(figure, tmp_path / "figure.png")
    assert dict(mpl.rcParams) == before


def test_heat_map(written):
    runs = make_runs({1: [5.0, 5.1], 4: [7.0, 7.1], 9: [6.0, 6.1], BASELINE: [9.0, 9.1]})
    spot = graph_sweet_spot(runs)
    figure = plot_heat_map(mean_errors(runs), GRID, sweet_spot=spot, title="mlp")
    axes, bar = figure.axes
    image = axes.collections[0].get_array().reshape(4, 4)
    found = {
        (row, column): image[row, column] for row, column in np.argwhere(~np.isnan(image)).tolist()
    }
    assert found == pytest.approx({(0, 0): 5.05, (1, 1): 7.05, (2, 3): 6.05})  # along L, along C
    assert axes.collections[1].get_array().tolist() == pytest.approx([9.05])
    assert axes.collections[0].get_clim() == pytest.approx((5.05, 9.05))
    (box,) = axes.patches
    assert box.get_bbox().get_points().tolist() == [[0.1, 1.3], [0.1, 1.3]]
    best = axes.lines[0]
    assert (best.get_xdata()[0], best.get_ydata()[0]) == pytest.approx((0.1, 1.3))
    assert (axes.get_title(), bar.get_ylabel()) == ("mlp", "top-1 error (%)")
    assert written(figure).stat().st_size


def test_selected_graphs_are_counted(written):
    places = np.array([0.1, 0.1, 0.2, 0.9]), np.array([1.0, 1.5, 2.5, 4.9])
    figure = plot_selected(*places, GRID, title="four graphs")
    axes, bar = figure.axes
    counts = axes.collections[0].get_array().reshape(4, 4)
    found = {(row, column): counts[row, column] for row, column in np.argwhere(~counts.mask)}
    assert found == {(0, 0): 2, (1, 0): 1, (3, 3): 1}  # along L, along C
    assert (axes.get_title(), bar.get_ylabel()) == ("four graphs", "graphs in a cell")
    assert written(figure).stat().st_size


def test_heat_map_without_baseline_or_spot(written):
    figure = plot_heat_map(mean_errors(make_runs({1: [5.0], 9: [6.0]})), GRID)
    assert not figure.axes[0].patches
    assert len(figure.axes[0].collections) == 1
    assert written(figure)


def test_curve(written):
    errors = mean_errors(random_runs(200, noise=0.1))
    curve = fit_curve(errors, along="path_length")
    baseline = mean_errors(make_runs({BASELINE: [40.0]}))
    figure = plot_curve(pd.concat([errors, baseline]), curve, title="mlp")
    (axes,) = figure.axes
    points, line, lowest, dense = axes.lines
    assert len(points.get_xdata()) == len(curve.graphs)
    assert np.allclose(line.get_ydata(), curve(line.get_xdata()))
    assert lowest.get_xdata()[0] == pytest.approx(curve.vertex)
    assert list(dense.get_ydata()) == [40, 40]
    assert axes.get_xlabel() == "path length L  (0.4 <= C <= 0.6)"
    assert written(figure)


def test_correlations(written):
    table = pd.DataFrame([[1.0, 0.25], [0.25, np.nan]], index=["a", "b"], columns=["a", "b"])
    (axes,) = plot_correlations(table, title="tasks").axes
    assert [text.get_text() for text in axes.texts] == ["1.00", "0.25", "0.25", ""]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert written(axes.figure)


def test_correlation_lines(written):
    errors = mean_errors(random_runs(40, noise=1.0))
    counts = correlate_counts(
        errors, range(10), GRID, generator=np.random.default_rng(0), num_orders=2
    )
    figure = plot_correlation_lines(counts, xlabel="graphs", marks={"half": 20.0})
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines[:2]] == ["0", "1"]
    assert np.allclose(axes.lines[1].get_ydata(), counts[1])
    assert axes.texts[0].get_text() == "half"
    assert axes.get_legend() is not None
    assert written(figure)
    alone = plot_correlation_lines(counts[[0]], xlabel="graphs").axes[0]
    assert alone.get_legend() is None
    assert len(alone.lines) == 1


def test_prediction(written):
    errors = mean_errors(random_runs(40, noise=1.0))
    predicted = predict_errors(errors, polynomial(2)).predicted
    (axes,) = plot_prediction(errors, predicted).axes
    points, diagonal = axes.lines
    measured = errors.set_index("graph_id")["error"]
    assert np.allclose(points.get_ydata(), measured.loc[predicted.index])
    assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert written(axes.figure)


def test_relational_graphs_and_their_masks():
    ring = np.roll(np.eye(5, dtype=bool), 1, axis=1)
    figure = plot_relational_graphs({"ring": ring | ring.T, "complete": ~np.eye(5, dtype=bool)})
    drawn, masks = np.reshape(figure.axes, (2, 2))
    assert [axes.get_title() for axes in drawn] == ["ring", "complete"]
    assert [len(axes.collections[0].get_segments()) for axes in drawn] == [5, 10]
    assert [int(axes.images[0].get_array().sum()) for axes in masks] == [15, 25]
