"""Figures of relational graphs' results, after those of You et al. (ICML 2020)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.stats import binned_statistic_2d

from nn_graphs.plotting import draw_table, new_figure
from nn_graphs.relational_results.cells import CellGrid, cell_errors
from nn_graphs.relational_results.curves import Curve
from nn_graphs.relational_results.sweet_spot import SweetSpot
from nn_graphs.relational_results.table import BASELINE, without_baseline
from nn_graphs.structure.adjacency import Adjacency

LABELS = {"clustering": "clustering C", "path_length": "path length L"}
ERROR = "top-1 error (%)"
MARK = "#b02a30"


def plot_heat_map(
    errors: pd.DataFrame,
    grid: CellGrid,
    *,
    sweet_spot: SweetSpot | None = None,
    title: str = "",
    error_label: str = ERROR,
) -> Figure:
    """Mean error per cell of the plane of clustering and path length; bright is good.

    The complete graph, where there is one, is a square in its corner in the colour of its error.

    Args:
        errors: of one task and epoch, as `mean_errors` returns them.
        grid: of the cells.
        sweet_spot: its box is drawn and its best graph or cell marked.
        title: of the figure.
        error_label: of the colours.
    """
    cells = cell_errors(errors, grid, with_baseline=False)
    image = np.full((grid.num_cells, grid.num_cells), np.nan)
    along_c, along_l = np.array(cells.index.tolist()).T
    image[along_l, along_c] = cells.to_numpy()
    baseline = errors.loc[errors["graph_id"] == BASELINE, "error"].tolist()
    shown = [*cells, *baseline]
    colors = {"cmap": "viridis_r", "vmin": min(shown), "vmax": max(shown)}
    with new_figure(5, 4, has_grid=False) as figure:
        axes = figure.subplots()
        mesh = axes.pcolormesh(grid.clustering_edges, grid.path_edges, image, **colors)
        for error in baseline:
            axes.scatter(
                1, 1, c=[error], s=50, marker="s", edgecolors="black", clip_on=False, **colors
            )
            axes.annotate("complete", (1, 1), textcoords="offset points", xytext=(4, 9), ha="right")
        if sweet_spot is not None:
            _mark(axes, sweet_spot)
        figure.colorbar(mesh, ax=axes, pad=0.12).set_label(error_label)
        axes.set(xlabel=LABELS["clustering"], ylabel=LABELS["path_length"], title=title)
    return figure


def plot_plane(graphs: pd.DataFrame, x: str, y: str, *, bins: int = 12, title: str = "") -> Figure:
    """Mean error per cell of the plane of any two measures; bright is good.

    Args:
        graphs: with the columns `x`, `y` and `error`.
        x, y: names of measures (`nn_graphs.structure.MEASURES`).
        bins: cells in each direction.
        title: of the figure.
    """
    means, x_edges, y_edges, _ = binned_statistic_2d(
        graphs[x], graphs[y], graphs["error"], bins=bins
    )
    with new_figure(5, 4, has_grid=False) as figure:
        axes = figure.subplots()
        mesh = axes.pcolormesh(x_edges, y_edges, means.T, cmap="viridis_r")
        figure.colorbar(mesh, ax=axes).set_label(ERROR)
        axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), title=title)
    return figure


def plot_selected(
    clustering: Float[np.ndarray, " N"],
    path_length: Float[np.ndarray, " N"],
    grid: CellGrid,
    *,
    title: str = "",
) -> Figure:
    """How many selected graphs lie in each cell of the plane; cells without any stay white.

    Args:
        clustering, path_length: of the graphs.
        grid: of the cells.
        title: of the figure.
    """
    cells = grid.cells_of(clustering, path_length)
    counts = np.zeros((grid.num_cells, grid.num_cells))
    np.add.at(counts, (cells[:, 1], cells[:, 0]), 1)
    with new_figure(5, 4, has_grid=False) as figure:
        axes = figure.subplots()
        shown = np.ma.masked_equal(counts, 0)
        mesh = axes.pcolormesh(grid.clustering_edges, grid.path_edges, shown, cmap="viridis")
        figure.colorbar(mesh, ax=axes).set_label("graphs in a cell")
        axes.set(xlabel=LABELS["clustering"], ylabel=LABELS["path_length"], title=title)
    return figure


def plot_curve(
    errors: pd.DataFrame, curve: Curve, *, title: str = "", error_label: str = ERROR
) -> Figure:
    """Errors of graphs along one measure, the quadratic and its lowest point.

    Args:
        errors: what the curve was fitted to a window of; a baseline is drawn as a line.
        curve: from `fit_curve`.
        title: of the figure.
        error_label: of the errors.
    """
    x, (low, high) = curve.graphs[curve.along].to_numpy(float), curve.window
    other = "L" if curve.along == "clustering" else "C"
    places = np.linspace(x.min(), x.max(), 200)
    with new_figure(4.5, 3.2) as figure:
        axes = figure.subplots()
        axes.plot(x, curve.graphs["error"], ".", color="0.65", markersize=3)
        axes.plot(places, curve(places), label=f"quadratic, R2 {curve.r2:.3f}")
        if places[0] <= curve.vertex <= places[-1]:
            lowest = curve(np.array([curve.vertex]))
            axes.plot([curve.vertex], lowest, "x", color=MARK, label=f"turns at {curve.vertex:.2f}")
        for error in errors.loc[errors["graph_id"] == BASELINE, "error"]:
            axes.axhline(
                error, color="black", linestyle="--", linewidth=0.8, label="complete graph"
            )
        axes.legend()
        axes.set(
            xlabel=f"{LABELS[curve.along]}  ({low:g} <= {other} <= {high:g})",
            ylabel=error_label,
            title=title,
        )
    return figure


def plot_correlations(correlations: pd.DataFrame, *, title: str = "") -> Figure:
    """A table of correlations between tasks, as colours and numbers."""
    count, values = len(correlations), correlations.to_numpy(float)
    texts = np.where(np.isnan(values), "", np.char.mod("%.2f", values)).tolist()
    with new_figure(0.9 * count + 2, 0.7 * count + 1.5, has_grid=False) as figure:
        axes = figure.subplots()
        colors = {"cmap": "RdBu_r", "limits": (-1, 1), "white_beyond": 0.6}
        draw_table(axes, values, texts, **colors)
        axes.set_xticks(range(count), correlations.columns, rotation=45, ha="right")
        axes.set_yticks(range(count), correlations.index)
        axes.set(title=title)
    return figure


def plot_correlation_lines(
    correlations: pd.DataFrame,
    *,
    xlabel: str,
    title: str = "",
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Correlations along epochs or numbers of graphs, one line per column.

    Args:
        correlations: from `correlate_epochs` or `correlate_counts`; the index is the x axis.
        xlabel: what the index is.
        title: of the figure.
        marks: names and places of vertical lines.
    """
    with new_figure(5, 3.2) as figure:
        axes = figure.subplots()
        for name in correlations.columns:
            line = correlations[name].dropna()
            axes.plot(line.index, line, marker="." if len(line) == 1 else None, label=str(name))
        for name, place in (marks or {}).items():
            axes.axvline(place, color="black", linestyle=":", linewidth=0.8)
            axes.annotate(name, (place, 0.02), xycoords=("data", "axes fraction"))
        if len(correlations.columns) > 1:
            axes.legend()
        axes.set(xlabel=xlabel, ylabel="Pearson correlation", title=title)
    return figure


def plot_prediction(
    errors: pd.DataFrame, predicted: pd.Series, *, title: str = "", error_label: str = ERROR
) -> Figure:
    """Errors of graphs against what was predicted for them while they were not seen.

    Args:
        errors: as given to `predict_errors`.
        predicted: of a `Prediction`.
        title: of the figure.
        error_label: of both axes.
    """
    measured = without_baseline(errors).set_index("graph_id")["error"].loc[predicted.index]
    ends = [min(measured.min(), predicted.min()), max(measured.max(), predicted.max())]
    with new_figure(3.8, 3.6) as figure:
        axes = figure.subplots()
        axes.plot(predicted, measured, ".", markersize=3, alpha=0.5)
        axes.plot(ends, ends, color="black", linewidth=0.8)
        axes.set(xlabel=f"predicted {error_label}", ylabel=error_label, title=title)
    return figure


def _mark(axes: Axes, sweet_spot: SweetSpot) -> None:
    (left, right), (bottom, top) = sweet_spot.clustering, sweet_spot.path_length
    style = {"edgecolor": MARK, "facecolor": "none", "linestyle": "--", "linewidth": 1.5}
    axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, **style))
    best = sweet_spot.candidates.loc[sweet_spot.best]
    axes.plot(best["clustering"], best["path_length"], "x", color=MARK, markeredgewidth=2)


def plot_relational_graphs(graphs: Mapping[str, Adjacency]) -> Figure:
    """Graphs side by side: nodes in a circle, and below them the mask with one channel a node.

    Args:
        graphs: adjacency matrices by name.
    """
    with new_figure(2.2 * len(graphs), 4.4, has_grid=False) as figure:
        axes = figure.subplots(2, len(graphs), squeeze=False)
        for (drawn, mask), (name, adjacency) in zip(axes.T, graphs.items(), strict=True):
            angles = 2 * np.pi * np.arange(len(adjacency)) / len(adjacency)
            places = np.stack([np.cos(angles), np.sin(angles)], axis=1)
            ends = np.argwhere(np.triu(adjacency | adjacency.T))
            drawn.add_collection(LineCollection(places[ends], color="0.6", linewidth=0.7))
            drawn.plot(*places.T, "o", color=MARK, markersize=4)
            drawn.set(aspect="equal", title=name)
            drawn.axis("off")
            mask.imshow(adjacency | np.eye(len(adjacency), dtype=bool), cmap="Greys")
            mask.set(xticks=[], yticks=[], xlabel="from", ylabel="to")
    return figure
