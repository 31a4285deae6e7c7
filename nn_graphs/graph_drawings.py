"""Drawings of directed acyclic graphs, of masks, and of what pruning has left of a network.

Nodes stand in columns, one for each layer, ordered by barycentres: each node near the mean of its
neighbours in the columns before and behind (Sugiyama, Tagawa & Toda, 1981), a few times back and
forth. Edges that pass over a layer are bent around it.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction import NetworkGraph
from nn_graphs.plotting import new_figure

MAX_DRAWN_EDGES = 20_000
NUM_SWEEPS = 8
BEND = 0.35  # of an edge over several layers, in heights of the drawing
CURVE = np.linspace(0, 1, 17)
ALIVE, DEAD = "#20639b", "#c9ccd1"
CUT = "#ed553b"


def layered_positions(
    sources: Int[np.ndarray, " e"], targets: Int[np.ndarray, " e"], layers: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n 2"]:
    """Places for the nodes of a layered graph: the layer, and a height from 0 to 1.

    Args:
        sources, targets: of every edge.
        layers: of every node.
    """
    heights = np.empty(len(layers))
    columns = [np.nonzero(layers == layer)[0] for layer in np.unique(layers)]
    for nodes in columns:
        heights[nodes] = _spread(np.arange(len(nodes)))
    arriving, leaving = _by_column(targets, layers), _by_column(sources, layers)
    for sweep in range(NUM_SWEEPS):
        is_back = sweep % 2 == 1
        own, other, edges = (sources, targets, leaving) if is_back else (targets, sources, arriving)
        for nodes in reversed(columns) if is_back else columns:
            into = edges[int(layers[nodes[0]])]
            heights[nodes] = _by_barycentre(nodes, own[into], heights[other[into]], heights)
    return np.stack([layers.astype(float), heights], axis=1)


def plot_layered_graph(
    sources: Int[np.ndarray, " e"],
    targets: Int[np.ndarray, " e"],
    layers: Int[np.ndarray, " n"],
    *,
    weights: Float[np.ndarray, " e"] | None = None,
    title: str = "",
) -> Figure:
    """A directed acyclic graph, layer by layer from left to right.

    Args:
        sources, targets: of every edge.
        layers: of every node, smaller at the source of an edge than at its target.
        weights: by which edges are coloured, blue below zero, red above; or None.
        title: of the figure.

    Raises:
        NNGraphsError: there are too many edges, or an edge does not lead to a later layer.
    """
    _check_drawable(sources, targets, layers)
    positions = layered_positions(sources, targets, layers)
    with new_figure(*_figure_size(layers), has_grid=False, layout="constrained") as figure:
        axes = _empty_axes(figure, title)
        shown = {"colors": "#4b4b4b", "alpha": _opacity(len(sources))}
        if weights is not None:
            largest = float(np.abs(weights).max(initial=0)) or 1.0
            shown = {"array": weights / largest, "cmap": "coolwarm", "clim": (-1, 1)}
            shown["alpha"] = max(_opacity(len(sources)), 0.3)
        _draw_edges(axes, positions, sources, targets, **shown)
        _draw_nodes(axes, positions, layers, ALIVE)
    return figure


def plot_network_graph(graph: NetworkGraph, *, title: str = "") -> Figure:
    """An extracted graph, its edges coloured by their weights, its layers named.

    Raises:
        NNGraphsError: there are too many edges.
    """
    layers = graph.layer_id()
    figure = plot_layered_graph(
        graph.source, graph.target, layers, weights=graph.weight, title=title
    )
    _name_layers(figure.axes[0], graph)
    return figure


def plot_survivors(graph: NetworkGraph, *, title: str = "") -> Figure:
    """What pruning has left of a network: what still leads from an input to an output.

    Edges and nodes on such a path are blue; edges that lead nowhere, or come from nowhere, are red,
    nodes off all paths grey.

    Raises:
        NNGraphsError: there are too many edges.
    """
    layers = graph.layer_id()
    _check_drawable(graph.source, graph.target, layers)
    positions = layered_positions(graph.source, graph.target, layers)
    is_alive = surviving_nodes(graph)
    is_useful = is_alive[graph.source] & is_alive[graph.target]
    with new_figure(*_figure_size(layers), has_grid=False, layout="constrained") as figure:
        axes = _empty_axes(figure, title)
        for shown, color in ((~is_useful, CUT), (is_useful, ALIVE)):
            ends = graph.source[shown], graph.target[shown]
            opacity = _opacity(graph.num_edges)
            _draw_edges(axes, positions, *ends, colors=color, alpha=opacity)
        _draw_nodes(axes, positions, layers, np.where(is_alive, ALIVE, DEAD).tolist())
        _name_layers(axes, graph)
        counts = (int(is_useful.sum()), int((~is_useful).sum()), int((~is_alive).sum()))
        texts = ("{:,} edges on paths", "{:,} dead edges", "{:,} nodes off all paths")
        marks = [Line2D([], [], color=color) for color in (ALIVE, CUT)]
        marks.append(Line2D([], [], color=DEAD, marker="o", linestyle=""))
        labels = [text.format(count) for text, count in zip(texts, counts, strict=True)]
        axes.legend(marks, labels, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3)
    return figure


def surviving_nodes(graph: NetworkGraph) -> Bool[np.ndarray, " n"]:
    """Which nodes lie on a path from an input to an output."""
    is_input = np.repeat(
        [layer.kind == "input" for layer in graph.layers],
        [layer.num_nodes for layer in graph.layers],
    )
    is_reached, is_needed = is_input, graph.is_output()
    for own in graph.ranges:
        ends = slice(own.start, own.stop)
        source, target = graph.source[ends], graph.target[ends]
        is_reached[target[is_reached[source]]] = True
    for own in reversed(graph.ranges):
        ends = slice(own.start, own.stop)
        source, target = graph.source[ends], graph.target[ends]
        is_needed[source[is_needed[target]]] = True
    return is_reached & is_needed


def plot_masks(masks: Mapping[str, np.ndarray], *, title: str = "") -> Figure:
    """Masks, or weights, as heat maps side by side.

    Args:
        masks: `[out, in, *kernel]` each, by name: booleans, or weights of which all but zeros
            count. Of a kernel, a cell shows the share that is left.
        title: of the figure.

    Raises:
        NNGraphsError: there is none, or one has fewer than two axes.
    """
    shapes = {name: mask.shape for name, mask in masks.items()}
    flat = [name for name, shape in shapes.items() if len(shape) < 2]
    if flat or not masks:
        raise NNGraphsError(
            "draw masks",
            found=f"{flat[0]} is {list(shapes[flat[0]])}." if flat else "there are none.",
            do="Give arrays [out, in, *kernel] by name.",
        )
    width = min(3.2 * len(masks), 16)
    with new_figure(width, 3.4, has_grid=False, layout="constrained") as figure:
        all_axes = figure.subplots(1, len(masks), squeeze=False)[0]
        for axes, (name, mask) in zip(all_axes, masks.items(), strict=True):
            is_left = np.asarray(mask) != 0
            shares = is_left.reshape(*is_left.shape[:2], -1).mean(2)
            image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            image.set_interpolation("nearest")
            axes.set_title(f"{name}: {is_left.mean():.1%} left")
            axes.set(xlabel="input", ylabel="output")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(integer=True))
        figure.colorbar(image, ax=all_axes.tolist(), label="share that is left", shrink=0.8)
        figure.suptitle(title)
    return figure


def _by_column(ends: np.ndarray, layers: np.ndarray) -> dict[int, np.ndarray]:
    """For every layer, the edges that have this end in it."""
    own = layers[ends]
    order = np.argsort(own, kind="stable")
    bounds = np.searchsorted(own[order], np.arange(int(layers.max(initial=0)) + 2))
    return {n: order[bounds[n] : bounds[n + 1]] for n in range(len(bounds) - 1)}


def _by_barycentre(
    nodes: np.ndarray, own: np.ndarray, others: np.ndarray, heights: np.ndarray
) -> np.ndarray:
    """New heights of a column: in the order of the neighbours' means; without any, as before."""
    place = np.zeros(int(nodes.max()) + 1, dtype=np.intp)
    place[nodes] = np.arange(len(nodes))
    counts = np.bincount(place[own], minlength=len(nodes))
    sums = np.bincount(place[own], weights=others, minlength=len(nodes))
    means = np.where(counts > 0, sums / np.maximum(counts, 1), heights[nodes])
    ranks = np.empty(len(nodes), dtype=np.intp)
    ranks[np.lexsort((heights[nodes], means))] = np.arange(len(nodes))
    return _spread(ranks)


def _spread(ranks: np.ndarray) -> np.ndarray:
    return (ranks + 0.5) / max(len(ranks), 1)


def _draw_edges(
    axes: Axes, positions: np.ndarray, sources: np.ndarray, targets: np.ndarray, **shown
) -> None:
    """Straight lines to the next layer, curves to those behind it."""
    start, end = positions[sources], positions[targets]
    spans = (end - start)[:, 0]
    middle = (start[:, 1] + end[:, 1]) / 2
    bends = np.where(middle >= 0.5, BEND, -BEND) * (1 - 1 / np.maximum(spans, 1))
    paths = start[:, None] + (end - start)[:, None] * CURVE[:, None]
    paths[:, :, 1] += 4 * bends[:, None] * CURVE * (1 - CURVE)
    axes.add_collection(LineCollection(list(paths), linewidths=0.7, zorder=1, **shown))


def _draw_nodes(
    axes: Axes, positions: np.ndarray, layers: np.ndarray, colors: str | list[str]
) -> None:
    largest = int(np.bincount(layers.astype(np.intp)).max())
    size = float(np.clip(2000 / largest, 4, 90))
    axes.scatter(*positions.T, s=size, c=colors, edgecolors="white", linewidths=0.5, zorder=2)


def _name_layers(axes: Axes, graph: NetworkGraph) -> None:
    """Names under the columns, aslant where there are many."""
    names = [f"{layer.name}\n{layer.num_nodes}" for layer in graph.layers]
    is_long = len(names) > 5 or max(map(len, names)) > 16
    axes.set_xticks(range(len(names)), names, rotation=40 if is_long else 0, fontsize=7)
    axes.tick_params(axis="x", length=0, top=True, labeltop=True, bottom=False, labelbottom=False)


def _empty_axes(figure: Figure, title: str) -> Axes:
    axes = figure.subplots()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.margins(0.05)
    figure.suptitle(title)
    return axes


def _figure_size(layers: np.ndarray) -> tuple[float, float]:
    return float(np.clip(1.5 * len(np.unique(layers)), 4, 14)), 4.5


def _opacity(num_edges: int) -> float:
    """Fewer edges are drawn stronger."""
    return float(np.clip(12 / max(num_edges, 1) ** 0.5, 0.08, 0.9))


def _check_drawable(sources: np.ndarray, targets: np.ndarray, layers: np.ndarray) -> None:
    if len(sources) > MAX_DRAWN_EDGES:
        raise NNGraphsError(
            f"draw a graph of {len(sources):,} edges",
            found=f"more than {MAX_DRAWN_EDGES:,} make a grey area.",
            do="Choose a coarser level, as 'neuron' or 'layer', or a higher threshold.",
        )
    if not len(layers) or (layers[sources] >= layers[targets]).any():
        raise NNGraphsError(
            "draw a layered graph",
            found="there are no nodes." if not len(layers) else "an edge leads to no later layer.",
            do="Give each node the layer of its longest path from a source.",
        )
