"""Figures of embeddings: those of StructureReps, and what its protocol measures."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nn_graphs.plotting import new_figure
from nn_graphs.structure_performance.embedding_space import MantelTest
from nn_graphs.structure_performance.probe_scores import HeldOut

PROTOCOL_TITLES = {"random": "random fifth of networks", "run_disjoint": "other runs"}
NUM_BINS = 12
WAY_STYLES = {"oracle": ":", "chance": "--"}


def plot_held_out(
    found: Mapping[str, Mapping[str, HeldOut]],
    runs: Shaped[np.ndarray, " N"],
    *,
    quantity: str,
    title: str = "",
) -> Figure:
    """Predicted against true performance, a row per kind of features, a column per protocol.

    With a row for the embedding and one for the number of the epoch, it shows what the published
    protocol measures: under it, a probe that knows the epoch alone may do as well.

    Args:
        found: by the name of the features and the protocol.
        runs: of all networks; those of a run have one colour.
        quantity: what is predicted.
        title: of the figure.
    """
    columns = list(next(iter(found.values())))
    shape = len(found), len(columns)
    numbers = np.unique(runs, return_inverse=True)[1]
    with new_figure(3.2 * shape[1], 2.9 * shape[0], layout="constrained") as figure:
        cells = figure.subplots(*shape, squeeze=False)
        for row, (name, by_protocol) in zip(cells, found.items(), strict=True):
            for axes, protocol in zip(row, columns, strict=True):
                held = by_protocol[protocol]
                color = numbers[held.division.val] % 20
                axes.scatter(held.labels, held.predictions, c=color, cmap="tab20", s=7, lw=0)
                limits = [held.labels.min(), held.labels.max()]
                axes.plot(limits, limits, color="0.6", linewidth=0.8, zorder=0)
                scores = held.scores
                axes.set_title(
                    f"{name}, {PROTOCOL_TITLES.get(protocol, protocol)}:\n"
                    f"Pearson {scores.pearson:.2f}, R2 {scores.r2:.2f}"
                )
                axes.set(xlabel=f"true {quantity}", ylabel=f"predicted {quantity}")
        figure.suptitle(title)
    return figure


def plot_embedding(
    places: Float[np.ndarray, "N 2"],
    kinds: Shaped[np.ndarray, " N"],
    performance: Float[np.ndarray, " N"],
    mantel: MantelTest,
    *,
    silhouette: float | None = None,
    quantity: str,
    title: str = "",
) -> Figure:
    """Figure 2 of StructureReps: clusters by structure, performance in them, and over distance.

    Args:
        places: of networks, in two dimensions, see `project`.
        kinds: of each, its structure.
        performance: of each.
        mantel: how distances go along with differences of performance.
        silhouette: of the kinds in the embedding; None: there is one kind.
        quantity: what performance is.
        title: of the figure.
    """
    with new_figure(11, 3.4, layout="constrained") as figure:
        by_kind, by_performance, by_distance = figure.subplots(1, 3)
        _scatter_kinds(by_kind, places, kinds)
        score = "" if silhouette is None else f", silhouette {silhouette:.2f}"
        by_kind.set_title(f"(a) structure{score}")
        points = by_performance.scatter(*places.T, c=performance, s=7, lw=0, cmap="viridis")
        figure.colorbar(points, ax=by_performance).set_label(quantity)
        by_performance.set_title("(b) performance")
        _distances(by_distance, mantel)
        by_distance.set(xlabel="distance of embeddings", ylabel=f"difference of {quantity}")
        by_distance.set_title(f"(c) correlation {mantel.correlation:.2f}, p {mantel.p_value:.3f}")
        for axes in (by_kind, by_performance):
            axes.set(xticks=[], yticks=[])
        figure.suptitle(title)
    return figure


def plot_selection(table: pd.DataFrame, *, num_candidates: int, title: str = "") -> Figure:
    """How often each way picks the best of K, and by how much it falls short, over the epochs.

    Args:
        table: of `selection_table`.
        num_candidates: K.
        title: of the figure.
    """
    with new_figure(8, 3, layout="constrained") as figure:
        rates, regrets = figure.subplots(1, 2)
        for way, rows in table.groupby("way", sort=False):
            style = {"linestyle": WAY_STYLES.get(way, "-"), "marker": ".", "label": way}
            rates.plot(rows["epoch"], rows["rate"], **style)
            regrets.plot(rows["epoch"], rows["regret"], **style)
        rates.set(xlabel="epoch", ylabel=f"picks the best of {num_candidates}", ylim=(0, 1.05))
        regrets.set(xlabel="epoch", ylabel="falls short by", ylim=(0, None))
        rates.legend()
        figure.suptitle(title)
    return figure


def plot_connectomes(
    places: Float[np.ndarray, "N 2"],
    kinds: Shaped[np.ndarray, " N"],
    brains: Float[np.ndarray, "M 2"],
    names: Sequence[str],
    *,
    series: Sequence[int] = (),
    title: str = "",
) -> Figure:
    """Connectomes beside artificial networks, in two dimensions of one projection.

    Args:
        places: of artificial networks.
        kinds: of each.
        brains: of connectomes.
        names: of them.
        series: numbers of connectomes that follow each other, joined by a line.
        title: of the figure.
    """
    with new_figure(6.5, 4.5, layout="constrained") as figure:
        axes = figure.subplots()
        _scatter_kinds(axes, places, kinds)
        axes.plot(*brains[list(series)].T, color="0.4", linewidth=0.8)
        axes.plot(*brains.T, "k^", markersize=5, linestyle="none")
        for place, name in zip(brains, names, strict=True):
            axes.annotate(name, place, fontsize=6, textcoords="offset points", xytext=(4, 3))
        axes.set(xticks=[], yticks=[], title=title)
    return figure


def _scatter_kinds(
    axes: Axes, places: Float[np.ndarray, "N 2"], kinds: Shaped[np.ndarray, " N"]
) -> None:
    for kind in np.unique(kinds):
        axes.scatter(*places[kinds == kind].T, s=7, lw=0, label=str(kind))
    if len(np.unique(kinds)) <= 10:
        axes.legend(markerscale=2)


def _distances(axes: Axes, mantel: MantelTest) -> None:
    """All pairs, and their mean over bins of equally many pairs."""
    axes.scatter(mantel.distances, mantel.differences, s=2, lw=0, alpha=0.05, rasterized=True)
    order = mantel.distances.argsort()
    bins = np.array_split(order, min(NUM_BINS, len(order)))
    means = [
        [values[part].mean() for part in bins] for values in (mantel.distances, mantel.differences)
    ]
    axes.plot(*means, "o-", color="C1", markersize=4)
