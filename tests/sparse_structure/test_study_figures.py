"""Figures show what they are given."""

import numpy as np
import pandas as pd

from nn_graphs.plotting import save_figure
from nn_graphs.sparse_structure import (
    plot_density_curves,
    plot_predicted_accuracies,
    plot_searches,
)


def test_predictions(tmp_path):
    accuracies = np.linspace(10, 90, 12)
    predicted = {"linear": accuracies + 1, "trees": accuracies[::-1]}
    r2 = {"linear": 0.9, "trees": -1.0}
    figure = plot_predicted_accuracies(predicted, accuracies, ["tree", "ring"] * 6, r2=r2)
    assert [axes.get_title() for axes in figure.axes] == ["linear, R2 0.900", "trees, R2 -1.000"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["tree", "ring"]
    assert save_figure(figure, tmp_path / "a.png").stat().st_size > 5_000


def test_density_curves(tmp_path):
    rows = [
        {"method": method, "seed": seed, "density": density, "test_accuracy": 50 + seed}
        for method in ("random", "snip")
        for seed in (1, 2)
        for density in (1.0, 0.1)
    ]
    figure = plot_density_curves(pd.DataFrame(rows), {"test_accuracy": "accuracy"}, title="MLP")
    axes = figure.axes[0]
    assert [line.get_label() for line in axes.get_lines()] == ["random", "snip"]
    np.testing.assert_allclose(axes.get_lines()[0].get_xydata(), [[10, 51.5], [100, 51.5]])
    assert axes.get_xlim()[0] > axes.get_xlim()[1]
    one_seed = pd.DataFrame(rows[:2])
    save_figure(plot_density_curves(one_seed, {"test_accuracy": "a"}), tmp_path / "b.png")


def test_searches(tmp_path):
    curves = {"evolution": [np.array([0.1, 0.5]), np.array([0.3, 0.5])], "random": [np.zeros(2)]}
    figure = plot_searches(curves)
    means = [line for line in figure.axes[0].get_lines() if line.get_linewidth() == 2]
    assert [line.get_label() for line in means] == ["evolution", "random"]
    np.testing.assert_allclose(means[0].get_ydata(), [20, 50])
    assert save_figure(figure, tmp_path / "c.png").exists()
