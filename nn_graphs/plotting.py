"""Figures: learning curves, confusion matrices, images beside the renderings of their INRs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

STYLE = {
    "figure.dpi": 120,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlesize": 10,
    "legend.frameon": False,
}


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Writes a figure as a PNG file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
    return path


def plot_learning_curves(metrics: pd.DataFrame, *, metric: str, title: str = "") -> Figure:
    """Training loss and the validation metric over the epochs, the best epoch marked.

    Args:
        metrics: the `metrics.csv` of a run: columns `epoch`, `train/loss`, `val/loss`,
            `val/<metric>`.
        metric: name of the metric that models are chosen by.
        title: of the figure.
    """
    epochs = metrics.set_index("epoch")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 3))
        loss_axes, metric_axes = figure.subplots(1, 2)
        marker = "." if len(epochs) == 1 else None  # a line needs two
        for column, label in (("train/loss", "train"), ("val/loss", "val")):
            if column in epochs:
                loss_axes.plot(epochs[column].dropna(), marker=marker, label=label)
        loss_axes.set(xlabel="epoch", ylabel="loss", title=title)
        loss_axes.legend()
        scores = epochs[f"val/{metric}"].dropna()
        metric_axes.plot(scores, color="C1", label=f"val {metric}")
        metric_axes.plot(scores.idxmax(), scores.max(), "o", color="C1")
        metric_axes.annotate(
            f"{scores.max():.1f}",
            (scores.idxmax(), scores.max()),
            textcoords="offset points",
            xytext=(0, -14),
            ha="center",
        )
        metric_axes.set(xlabel="epoch", ylabel=metric)
        figure.tight_layout()
    return figure


def plot_confusion(
    predictions: Int[np.ndarray, "N"],
    labels: Int[np.ndarray, "N"],
    *,
    class_names: Sequence[str],
    title: str = "",
) -> Figure:
    """How many networks of each class (rows) were taken for which class (columns), in percent."""
    counts = confusion_matrix(labels, predictions, labels=range(len(class_names)))
    shares = 100 * counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(0.45 * len(class_names) + 1.5, 0.45 * len(class_names) + 1))
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for row, column in np.ndindex(*shares.shape):
            if counts[row, column]:
                color = "white" if shares[row, column] > 50 else "black"
                text = f"{shares[row, column]:.0f}"
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=7)
        ticks = range(len(class_names))
        rotation = 45 if max(map(len, class_names)) > 2 else 0
        axes.set_xticks(ticks, class_names, rotation=rotation, ha="right" if rotation else "center")
        axes.set_yticks(ticks, class_names)
        axes.set(xlabel="predicted", ylabel="label", title=title)
    return figure


def plot_renderings(
    images: Float[np.ndarray, "N height width channels"],
    renderings: Float[np.ndarray, "N height width channels"],
    *,
    titles: Sequence[str],
    caption: str = "",
) -> Figure:
    """Images in [0, 1] above, and the renderings of the INRs that were fitted to them below."""
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(0.9 * len(images) + 0.6, 2.5))
        rows = figure.subplots(2, len(images), squeeze=False)
        for axes, pictures in zip(rows, (images, renderings), strict=True):
            for cell, picture in zip(axes, pictures, strict=True):
                _show(cell, picture)
        for cell, title in zip(rows[0], titles, strict=True):
            cell.set_title(title, fontsize=7)
        rows[0][0].set_ylabel("image")
        rows[1][0].set_ylabel("INR")
        figure.suptitle(caption, fontsize=10, y=1.04)
    return figure


def plot_scores(scores: Mapping[str, Sequence[float]], *, ylabel: str, title: str = "") -> Figure:
    """One bar per model, its mean over seeds, with a dot per seed."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.9 * len(scores) + 2, 3))
        axes = figure.subplots()
        for place, values in enumerate(scores.values()):
            axes.bar(place, np.mean(values), color=f"C{place}", alpha=0.8)
            axes.plot([place] * len(values), values, "k.", markersize=4)
            axes.text(place, np.mean(values), f"{np.mean(values):.1f}", ha="center", va="bottom")
        axes.set_xticks(range(len(scores)), list(scores))
        axes.set(ylabel=ylabel, title=title)
        axes.grid(visible=False, axis="x")
    return figure


def _show(axes: Axes, picture: Float[np.ndarray, "height width channels"]) -> None:
    is_gray = picture.shape[-1] == 1
    axes.imshow(picture[..., 0] if is_gray else picture.clip(0, 1), cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
