"""Figures of learned optimizers: curves with bands, meta-training, what generalizes to what."""

import math
import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nn_graphs.learned_optimizers.inner_curves import InnerCurves
from nn_graphs.plotting import draw_table, new_figure

COLUMNS = 3  # of tasks
WIDE, THIN = 2.2, 1.0
QUALITY = "test/quality"
NAME_WIDTH = 50  # letters in a line


def plot_inner_curves(
    curves: Mapping[str, Mapping[str, InnerCurves]], *, highlighted: str
) -> Figure:
    """Validation losses over steps, a panel per task: means, with a band over all seeds.

    Args:
        curves: by task, then by optimizer.
        highlighted: the optimizer that is drawn on top.
    """
    rows = math.ceil(len(curves) / COLUMNS)
    columns = min(len(curves), COLUMNS)
    with new_figure(3.4 * columns + 1, 2.6 * rows, layout="constrained") as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (task, of_task) in zip(grid.flat, curves.items(), strict=False):
            for name, found in of_task.items():
                is_own = name == highlighted
                losses = found.val_losses.cpu().numpy()
                (line,) = axes.plot(
                    found.val_steps,
                    losses.mean(0),
                    label=name,
                    lw=WIDE if is_own else THIN,
                    color="black" if is_own else None,
                    zorder=3 if is_own else 2,
                )
                band = losses.min(0), losses.max(0)
                axes.fill_between(found.val_steps, *band, color=line.get_color(), alpha=0.12, lw=0)
            axes.set(title=task, xlabel="step", yscale="log")
        for axes in grid[:, 0]:
            axes.set_ylabel("loss on validation inputs")
        for axes in grid.flat[len(curves) :]:
            axes.set_visible(False)
        handles = grid[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside right upper")
    return figure


def plot_meta_history(history: pd.DataFrame, *, title: str = "") -> Figure:
    """Losses over outer steps; of validation in units of guessing."""
    with new_figure(6, 2.6, layout="constrained") as figure:
        axes, beside = figure.subplots(1, 2)
        axes.plot(history["step"], history["val_loss"], color="black")
        axes.set(xlabel="outer step", ylabel="loss / guessing", title=f"{title}, validation")
        beside.plot(history["step"][1:], history["meta_loss"][1:], color="black")
        beside.set(xlabel="outer step", ylabel="mean inner loss", title="meta-training")
    return figure


def generalization_matrix(results: pd.DataFrame) -> pd.DataFrame:
    """Mean quality on test inputs: a row per optimizer and what it was learned or tuned on.

    Args:
        results: rows of `results.csv`, each seed once.
    """
    found = results[results["metric"] == QUALITY]
    names = found["model"] + found["options"].map(lambda text: f" ({text})" if text else "")
    return found.assign(optimizer=names).pivot_table(
        index="optimizer", columns="zoo", values="value", aggfunc="mean"
    )


def plot_generalization(matrix: pd.DataFrame) -> Figure:
    """What was learned where, by what it was tested on; colours compare within a column."""
    values = matrix.to_numpy(float)
    low, high = np.nanmin(values, 0), np.nanmax(values, 0)
    shades = np.nan_to_num((values - low) / np.where(high > low, high - low, 1.0))
    texts = [[None if np.isnan(v) else f"{v:.3f}" for v in row] for row in values]
    width, height = 1.3 * len(matrix.columns) + 1, 0.45 * len(matrix) + 1
    with new_figure(width, height, has_grid=False) as figure:
        axes = figure.subplots()
        draw_table(axes, shades, texts, cmap="Greens", limits=(0, 1), white_beyond=0.6)
        names = [textwrap.fill(name, NAME_WIDTH) for name in matrix.index]
        axes.set_yticks(range(len(matrix)), names, fontsize=7)
        labels = [name.replace(", ", "\n") for name in matrix.columns]
        axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", fontsize=7)
        axes.set_aspect("auto")
        axes.set_title("quality on test inputs: accuracy, R2 of autoencoders")
    return figure
