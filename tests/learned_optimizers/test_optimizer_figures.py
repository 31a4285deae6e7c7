"""Figures of learned optimizers are drawn from curves and rows."""

import pandas as pd
import torch

from nn_graphs.learned_optimizers.inner_curves import InnerCurves
from nn_graphs.learned_optimizers.inner_scores import adam_steps, curve_metrics
from nn_graphs.learned_optimizers.optimizer_figures import (
    generalization_matrix,
    plot_generalization,
    plot_inner_curves,
    plot_meta_history,
)
from nn_graphs.plotting import save_figure


def curves(*val_losses: list[float]) -> InnerCurves:
    losses = torch.tensor(val_losses)
    count = len(losses)
    ones, nothing = torch.ones(count), torch.zeros(count, dtype=torch.bool)
    steps = [10 * (number + 1) for number in range(losses.shape[1])]
    return InnerCurves(torch.ones(count, 30), steps, losses, ones, ones / 2, nothing, 0.6)


def test_speed_up_is_against_adams_best_loss():
    adam = adam_steps(curves([3.0, 1.0, 2.0], [3.0, 3.0, 4.0]))
    assert (adam.loss, adam.steps) == (2.0, 20)
    found = curve_metrics(curves([2.0, 1.0, 1.0], [4.0, 3.0, 2.5], [5.0, 4.0, 2.0]), adam)
    assert [one["speedup"] for one in found] == [2.0, 0.0, 20 / 30]
    assert found[0]["val/loss"] == 1.0
    assert found[0]["test/quality"] == 0.5
    assert found[0]["milliseconds"] == 1000 * 0.6 / 90
    assert "speedup" not in curve_metrics(curves([2.0]), None)[0]


def test_figures(tmp_path):
    by_task = {
        f"task {number}": {"adam": curves([3.0, 2.0], [2.5, 2.0]), "own": curves([2.0, 1.0])}
        for number in range(4)
    }
    figure = plot_inner_curves(by_task, highlighted="own")
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == list(by_task)
    history = pd.DataFrame({"step": [0, 5], "val_loss": [1.0, 0.5], "meta_loss": [0.0, 1.0]})
    rows = pd.DataFrame(
        [
            {"model": model, "options": options, "zoo": zoo, "metric": "test/quality", "value": v}
            for model, options, zoo, v in (
                ("own", "", "a, mlp", 0.5),
                ("own", "", "a, mlp", 0.7),
                ("own", "inner_tasks=b", "a, mlp", 0.4),
                ("own", "", "b, cnn", 0.9),
            )
        ]
    )
    matrix = generalization_matrix(rows)
    assert matrix.loc["own", "a, mlp"] == 0.6
    assert matrix.loc["own (inner_tasks=b)"].isna().tolist() == [False, True]
    for number, one in enumerate((figure, plot_meta_history(history), plot_generalization(matrix))):
        assert save_figure(one, tmp_path / f"{number}.png").stat().st_size > 5_000
