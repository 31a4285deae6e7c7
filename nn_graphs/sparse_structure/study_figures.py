"""Figures of studies of sparse structures."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nn_graphs.plotting import new_figure


def plot_predicted_accuracies(
    predicted: Mapping[str, Float[np.ndarray, " N"]],
    accuracies: Float[np.ndarray, " N"],
    families: Sequence[str],
    *,
    r2: Mapping[str, float],
    title: str = "",
) -> Figure:
    """Predicted against true accuracies of structures, a panel for each predictor.

    Args:
        predicted: for each predictor, all structures, in percent.
        accuracies: the true ones, in percent.
        families: of the structures, which are colours.
        r2: of each predictor.
        title: of the figure.
    """
    names = np.array(families)
    with new_figure(3.2 * len(predicted) + 1.2, 3.3, layout="constrained") as figure:
        panels = figure.subplots(1, len(predicted), sharey=True, squeeze=False)[0]
        for axes, (name, values) in zip(panels, predicted.items(), strict=True):
            for family in dict.fromkeys(families):
                own = names == family
                axes.plot(accuracies[own], values[own], ".", markersize=3, label=family)
            ends = [accuracies.min(), accuracies.max()]
            axes.plot(ends, ends, color="grey", linewidth=0.8)
            axes.set(xlabel="accuracy (%)", title=f"{name}, R2 {r2[name]:.3f}")
        panels[0].set_ylabel("predicted (%)")
        marks, labels = panels[0].get_legend_handles_labels()
        figure.legend(marks, labels, loc="outside right", markerscale=3)
        figure.suptitle(title)
    return figure


def plot_density_curves(
    table: pd.DataFrame, values: Mapping[str, str], *, title: str = ""
) -> Figure:
    """Accuracy, and measures of what is left, against density, a line for each way of pruning.

    Args:
        table: one row a network: `method`, `density` (a share), and the columns of `values`.
        values: columns to draw, and their labels.
        title: of the figure.
    """
    with new_figure(3.4 * len(values), 3.3, layout="constrained") as figure:
        panels = figure.subplots(1, len(values), squeeze=False)[0]
        for axes, (column, label) in zip(panels, values.items(), strict=True):
            for method, rows in table.groupby("method", sort=False):
                _line(axes, rows.groupby("density")[column], method)
            axes.set(xscale="log", xlabel="weights left (%)", ylabel=label)
            axes.invert_xaxis()
        panels[0].legend()
        figure.suptitle(title)
    return figure


def _line(axes: Axes, groups: pd.core.groupby.SeriesGroupBy, label: str) -> None:
    """Means, and deviations over seeds as a band."""
    mean, deviation = groups.mean(), groups.std().fillna(0)
    places = 100 * mean.index.to_numpy(float)
    (line,) = axes.plot(places, mean, "o-", markersize=3, label=label)
    axes.fill_between(
        places, mean - deviation, mean + deviation, color=line.get_color(), alpha=0.15, linewidth=0
    )


def plot_searches(
    curves: Mapping[str, Sequence[Float[np.ndarray, " evaluations"]]], *, title: str = ""
) -> Figure:
    """The best fitness so far against the number of evaluations, thin for each seed.

    Args:
        curves: of each method one for each seed, from 0 to 1.
        title: of the figure.
    """
    with new_figure(5, 3.3, layout="constrained") as figure:
        axes = figure.subplots()
        for number, (method, own) in enumerate(curves.items()):
            color = f"C{number}"
            for curve in own:
                axes.plot(np.arange(1, len(curve) + 1), 100 * curve, color=color, alpha=0.3)
            mean = 100 * np.mean(np.stack(own), axis=0)
            axes.plot(np.arange(1, len(mean) + 1), mean, color=color, linewidth=2, label=method)
        axes.set(xlabel="structures trained", ylabel="best accuracy on val so far (%)", title=title)
        axes.legend()
    return figure
