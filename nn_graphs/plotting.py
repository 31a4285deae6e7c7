"""Figures: learning curves, confusion matrices, rows of images, drawings of neural graphs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.networks.activations import ACTIVATION_NAMES

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
GRAPH_COLORS = "RdBu_r"


@contextmanager
def new_figure(
    width: float | int, height: float | int, *, has_grid: bool = True, layout: str | None = None
) -> Iterator[Figure]:
    """An empty figure of a size in inches, drawn on in the style of all of ours."""
    with mpl.rc_context({**STYLE, "axes.grid": has_grid}):
        yield Figure(figsize=(width, height), layout=layout)


def draw_table(
    axes: Axes,
    values: Float[np.ndarray, "rows columns"],
    texts: Sequence[Sequence[str | None]],
    *,
    cmap: str,
    limits: tuple[int, int],
    white_beyond: float | int,
    fontsize: int | None = None,
) -> None:
    """A table as colours, with a text on each cell: white on the dark ones.

    Args:
        axes: to draw on.
        values: that are colours, from the first to the second of `limits`.
        texts: of the cells; None: without one.
        cmap: name of the colours.
        limits: of the values.
        white_beyond: cells whose value is larger than this, up or down, are dark.
        fontsize: of the texts; None: as all text.
    """
    axes.imshow(values, cmap=cmap, vmin=limits[0], vmax=limits[1])
    for row, column in np.ndindex(*values.shape):
        color = "white" if abs(values[row, column]) > white_beyond else "black"
        text = texts[row][column]
        if text is not None:
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=fontsize)


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Writes a figure as a PNG file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
    return path


def plot_learning_curves(metrics: pd.DataFrame, *, metric: str, title: str = "") -> Figure:
    """Training loss and the validation metric over the epochs, the best epoch marked.

    Args:
        metrics: the `metrics.csv` of a run: what is counted (`epoch`, or `trees`) as its first
            column, then `train/loss`, `val/loss`, `val/<metric>` in any order.
        metric: name of the metric that models are chosen by.
        title: of the figure.
    """
    counted = metrics.columns[0]
    epochs = metrics.set_index(counted)
    with new_figure(8, 3) as figure:
        loss_axes, metric_axes = figure.subplots(1, 2)
        marker = "." if len(epochs) == 1 else None  # a line needs two
        for column, label in (("train/loss", "train"), ("val/loss", "val")):
            if column in epochs:
                loss_axes.plot(epochs[column].dropna(), marker=marker, label=label)
        loss_axes.set(xlabel=counted, ylabel="loss", title=title)
        loss_axes.legend()
        scores = epochs[f"val/{metric}"].dropna()
        metric_axes.plot(scores, color="C1", label=f"val {metric}")
        metric_axes.plot(scores.idxmax(), scores.max(), "o", color="C1")
        metric_axes.annotate(
            f"{scores.max():#.3g}",
            (scores.idxmax(), scores.max()),
            textcoords="offset points",
            xytext=(0, -14),
            ha="center",
        )
        metric_axes.set(xlabel=counted, ylabel=metric)
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
    texts = [
        [f"{share:.0f}" if count else None for share, count in zip(*row, strict=True)]
        for row in zip(shares, counts, strict=True)
    ]
    side = 0.45 * len(class_names) + 1
    with new_figure(side + 0.5, side, has_grid=False) as figure:
        axes = figure.subplots()
        colors = {"cmap": "Blues", "limits": (0, 100), "white_beyond": 50}
        draw_table(axes, shares, texts, **colors, fontsize=7)
        ticks = range(len(class_names))
        rotation = 45 if max(map(len, class_names)) > 2 else 0
        axes.set_xticks(ticks, class_names, rotation=rotation, ha="right" if rotation else "center")
        axes.set_yticks(ticks, class_names)
        axes.set(xlabel="predicted", ylabel="label", title=title)
    return figure


def plot_predictions(
    predictions: Float[np.ndarray, "N"],
    labels: Float[np.ndarray, "N"],
    *,
    quantity: str,
    title: str = "",
) -> Figure:
    """Predicted against true values, one point per network, with the line where they are equal."""
    with new_figure(4, 4) as figure:
        axes = figure.subplots()
        opacity = min(0.7, max(0.05, 300 / max(len(labels), 1)))
        axes.scatter(labels, predictions, s=9, alpha=opacity, linewidths=0)
        low, high = (bound(np.concatenate([labels, predictions])) for bound in (np.min, np.max))
        axes.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=0)
        axes.set(xlabel=f"true {quantity}", ylabel=f"predicted {quantity}", title=title)
        axes.set_aspect("equal")
        figure.tight_layout()
    return figure


def plot_renderings(
    images: Float[np.ndarray, "N height width channels"],
    renderings: Float[np.ndarray, "N height width channels"],
    *,
    titles: Sequence[str],
    caption: str = "",
) -> Figure:
    """Images in [0, 1] above, and the renderings of the INRs that were fitted to them below."""
    return plot_image_rows({"image": images, "INR": renderings}, titles=titles, caption=caption)


def plot_image_rows(
    rows: Mapping[str, Float[np.ndarray, "N height width channels"]],
    *,
    titles: Sequence[str],
    caption: str = "",
) -> Figure:
    """Rows of images in [0, 1], of any size, column by column about the same thing.

    Args:
        rows: their names, shown on the left, and images.
        titles: of the columns.
        caption: of the figure.
    """
    with new_figure(0.9 * len(titles) + 0.6, len(rows) + 0.5, has_grid=False) as figure:
        cells = figure.subplots(len(rows), len(titles), squeeze=False)
        for row, (name, images) in zip(cells, rows.items(), strict=True):
            for cell, image in zip(row, images, strict=True):
                _show(cell, image)
            row[0].set_ylabel(name)
        for cell, title in zip(cells[0], titles, strict=True):
            cell.set_title(title, fontsize=7)
        figure.suptitle(caption, fontsize=10, y=1.04)
    return figure


def plot_scores(scores: Mapping[str, Sequence[float]], *, ylabel: str, title: str = "") -> Figure:
    """One bar per model, its mean over seeds, with a dot per seed."""
    with new_figure(0.9 * len(scores) + 2, 3) as figure:
        axes = figure.subplots()
        for place, values in enumerate(scores.values()):
            axes.bar(place, np.mean(values), color=f"C{place}", alpha=0.8)
            axes.plot([place] * len(values), values, "k.", markersize=4)
            axes.text(place, np.mean(values), f"{np.mean(values):#.3g}", ha="center", va="bottom")
        axes.set_xticks(range(len(scores)), list(scores))
        axes.set(ylabel=ylabel, title=title)
        axes.grid(visible=False, axis="x")
    return figure


def plot_frontier(
    scores: Mapping[str, Sequence[tuple[float, float]]],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    larger_is_better: bool = True,
) -> Figure:
    """A point per model, what it scores against what it costs, and a line through the frontier.

    Args:
        scores: of each model, (cost, score) of each seed; their means are drawn. Costs are positive
            and drawn as logs.
        xlabel, ylabel, title: of the axes and the figure.
        larger_is_better: of scores.
    """
    means = {name: tuple(np.mean(points, axis=0)) for name, points in scores.items()}
    with new_figure(7.2, 4.4, layout="constrained") as figure:
        axes = figure.subplots()
        for number, (name, point) in enumerate(means.items()):
            axes.plot(*point, "osD^v"[number // 10 % 5], color=f"C{number % 10}", label=name, ms=6)
        best = frontier([*means.values()], larger_is_better=larger_is_better)
        axes.step(*zip(*best, strict=True), where="post", color="0.6", lw=1, zorder=0)
        axes.set_xscale("log")
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def frontier(
    points: Sequence[tuple[float, float]], *, larger_is_better: bool = True
) -> list[tuple[float, float]]:
    """Of (cost, score), those that nothing as cheap is better than; from the cheapest on."""
    sign = 1 if larger_is_better else -1
    best: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if not best or sign * score > sign * best[-1][1]:
            best.append((cost, score))
    return best


def plot_against_size(
    curves: Mapping[str, Mapping[int, Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
) -> Figure:
    """A curve per model: the mean over seeds at each size, with a dot per seed; sizes as logs."""
    with new_figure(6.4, 4.0, layout="constrained") as figure:
        axes = figure.subplots()
        for name, points in curves.items():
            sizes = sorted(points)
            means = [np.mean(points[size]) for size in sizes]
            (line,) = axes.plot(sizes, means, label=name)
            for size in sizes:
                dots = points[size]
                axes.plot([size] * len(dots), dots, "o", ms=4, color=line.get_color())
        axes.set_xscale("log")
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axes.legend()
    return figure


def plot_neural_graphs(graphs: Mapping[str, NeuralGraph], *, is_sorted: bool = True) -> Figure:
    """Networks drawn as neural graphs, side by side: layers are columns, inputs on the left.

    Weights are the colours of edges (strong ones also thick), biases those of neurons; both in
    units of the largest of their layer. Neurons without a bias are white, constant edges dashed.

    Args:
        graphs: titles and single graphs.
        is_sorted: hidden neurons stand by the sum of the heights of their sources times weights,
            so that a network looks the same in whatever order its neurons come; else they stand in
            that order.

    Raises:
        NNGraphsError: a graph is a batch, or has more than one feature per neuron or edge.
    """
    with new_figure(4.6 * len(graphs) + 0.8, 3.8, has_grid=False, layout="constrained") as figure:
        figure.get_layout_engine().set(wspace=0.06)  # type: ignore[call-arg]  # the constrained one
        cells = figure.subplots(1, len(graphs), squeeze=False)[0]
        for axes, (title, graph) in zip(cells, graphs.items(), strict=True):
            _check_drawable(graph)
            graph = copy(graph).to("cpu")  # torch-geometric moves in place
            _draw_graph(axes, graph, _positions(graph, is_sorted=is_sorted))
            axes.set_title(title)
        colors = ScalarMappable(Normalize(-1, 1), GRAPH_COLORS)
        bar = figure.colorbar(colors, ax=cells, ticks=[-1, 0, 1], shrink=0.6, pad=0.02)
        bar.set_label("weight, bias (largest of its layer = 1)")
        bar.outline.set_visible(False)
    return figure


def _check_drawable(graph: NeuralGraph) -> None:
    nodes, edges = graph.node_features, graph.edge_features
    if graph.num_graphs != 1 or nodes.shape[1] != 1 or edges.shape[1] != 1:
        raise NNGraphsError(
            "draw a neural graph",
            found=f"there are {graph.num_graphs} graphs in it, with {nodes.shape[1]} features per "
            f"neuron and {edges.shape[1]} per edge.",
            do="Give single graphs of weights and biases, e.g. batch[0] or template(params).",
        )


def _draw_graph(
    axes: Axes, graph: NeuralGraph, positions: Float[np.ndarray, "num_nodes 2"]
) -> None:
    edges, layer = graph.edge_index.numpy(), graph.layer_id.numpy()
    is_weight = graph.edge_kind_id.numpy() == 0
    weights = _in_units_of_layer(graph.edge_features, layer[edges[1]], is_weight)
    biases = _in_units_of_layer(graph.node_features, layer, graph.has_bias.numpy())
    strength = np.where(is_weight, np.abs(weights), 0.4)
    colors = mpl.colormaps[GRAPH_COLORS]((weights + 1) / 2)
    colors[~is_weight] = mpl.colors.to_rgba("gray")
    colors[:, 3] = 0.06 + 0.94 * strength**1.5
    order = np.argsort(strength)  # strong ones above weak ones
    lines = LineCollection(
        _edge_paths(positions[edges.T[order]]),
        colors=colors[order],
        linewidths=0.3 + 2 * strength[order],
        linestyles=["solid" if plain else "dashed" for plain in is_weight[order]],
    )
    axes.add_collection(lines)
    faces = mpl.colormaps[GRAPH_COLORS]((biases + 1) / 2)
    faces[~graph.has_bias.numpy()] = 1.0
    size = min(150, 2400 / np.bincount(layer).max())
    axes.scatter(*positions.T, s=size, c=faces, edgecolors="0.3", linewidths=0.8, zorder=2)
    axes.set_xticks(range(layer.max() + 1), _layer_names(graph))
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _edge_paths(
    ends: Float[np.ndarray, "num_edges 2 2"],
) -> Float[np.ndarray, "num_edges points 2"]:
    """Straight lines to the next layer, arcs over the layers that an edge skips."""
    span = ends[:, 1, 0] - ends[:, 0, 0]
    share = np.linspace(0, 1, 2 if (span <= 1).all() else 20)[:, None]
    paths = ends[:, None, 0] * (1 - share) + ends[:, None, 1] * share
    height = 0.25 * (1 - 1 / span.clip(min=1))
    paths[..., 1] += height[:, None] * (4 * share * (1 - share))[:, 0]
    return paths


def _in_units_of_layer(
    features: Tensor, layer: Int[np.ndarray, "N"], is_parameter: Bool[np.ndarray, "N"]
) -> Float[np.ndarray, "N"]:
    """Parameters in [-1, 1]; 0 where there is none, and where all of a layer are 0."""
    values = features.detach().numpy()[:, 0] * is_parameter
    largest = np.zeros(layer.max() + 1)
    np.maximum.at(largest, layer, np.abs(values))
    return values / np.where(largest > 0, largest, 1)[layer]


def _positions(graph: NeuralGraph, *, is_sorted: bool) -> Float[np.ndarray, "num_nodes 2"]:
    """A place for every neuron: its layer, and its height in -1 ... 1, the first on top."""
    source, target = graph.edge_index.numpy()
    weights = graph.edge_features.detach().numpy()[:, 0]
    layer = graph.layer_id.numpy()
    heights = np.zeros(len(layer))
    for number in range(layer.max() + 1):
        here = np.flatnonzero(layer == number)
        if is_sorted and graph.kind_id[here[0]] == NeuronKind.HIDDEN.value:
            pull = np.bincount(target, weights * heights[source], minlength=len(layer))
            here = here[np.argsort(-pull[here], kind="stable")]
        heights[here] = 1 - (2 * np.arange(len(here)) + 1) / len(here)
    return np.stack([layer, heights], axis=1)


def _layer_names(graph: NeuralGraph) -> list[str]:
    """What stands under each layer: how many neurons of what."""
    names = []
    for number in range(int(graph.layer_id.max()) + 1):
        here = (graph.layer_id == number).nonzero().flatten()
        kind = NeuronKind(graph.kind_id[here[0]].item())
        name = ACTIVATION_NAMES[graph.activation_id[here[0]]]
        if kind is not NeuronKind.HIDDEN:
            name = kind.name.lower() + ("s" if len(here) > 1 else "")
        names.append(f"{len(here)} {'linear' if name == 'none' else name}")
    return names


def _show(axes: Axes, picture: Float[np.ndarray, "height width channels"]) -> None:
    is_gray = picture.shape[-1] == 1
    axes.imshow(picture[..., 0] if is_gray else picture.clip(0, 1), cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
