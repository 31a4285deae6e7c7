"""Figures show what they are given: curves, shares, pictures, bars, networks."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from torch import nn
from torch_geometric.data import Batch

from nn_graphs import NetworkSpec, NeuralGraph, template_from_spec, trace
from nn_graphs.graphs.symmetry import apply_symmetries, sample_symmetries
from nn_graphs.networks.activations import Activation
from nn_graphs.plotting import (
    plot_against_size,
    plot_confusion,
    plot_image_rows,
    plot_learning_curves,
    plot_neural_graphs,
    plot_predictions,
    plot_renderings,
    plot_scores,
    save_figure,
)


def history(accuracies: list[float]) -> pd.DataFrame:
    losses = np.linspace(2, 1, len(accuracies))
    return pd.DataFrame(
        {
            "epoch": range(len(accuracies)),
            "train/loss": losses,
            "val/loss": losses + 0.5,
            "val/accuracy": accuracies,
            "minutes": losses,
        }
    )


@pytest.fixture(autouse=True)
def drawn(monkeypatch, tmp_path):
    """Every figure of a test is also written, and leaves matplotlib's settings alone."""
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before


def written(figure, tmp_path) -> bytes:
    return save_figure(figure, tmp_path / "new" / "figure.png").read_bytes()


def test_save_figure_writes_a_png(tmp_path):
    figure = plot_scores({"a": [1.0]}, ylabel="score")
    assert written(figure, tmp_path).startswith(b"\x89PNG")


def test_learning_curves(tmp_path):
    figure = plot_learning_curves(history([10, 60, 30]), metric="accuracy", title="ng_t")
    loss, metric = figure.axes
    assert [line.get_label() for line in loss.lines] == ["train", "val"]
    assert loss.lines[0].get_ydata().tolist() == [2, 1.5, 1]
    assert loss.lines[1].get_ydata().tolist() == [2.5, 2, 1.5]
    assert loss.get_title() == "ng_t"
    curve, best = metric.lines
    assert curve.get_ydata().tolist() == [10, 60, 30]
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (1, 60)
    assert [text.get_text() for text in metric.texts] == ["60.0"]
    assert written(figure, tmp_path)


def test_learning_curves_over_what_was_counted():
    for counted in ("epoch", "trees"):
        metrics = history([10, 60, 30]).rename(columns={"epoch": counted})
        figure = plot_learning_curves(metrics, metric="accuracy")
        assert {axes.get_xlabel() for axes in figure.axes} == {counted}


def test_learning_curves_of_one_epoch_can_be_seen(tmp_path):
    figure = plot_learning_curves(history([10]), metric="accuracy")
    assert all(line.get_marker() == "." for line in figure.axes[0].lines)
    assert written(figure, tmp_path)
    longer = plot_learning_curves(history([10, 20]), metric="accuracy")
    assert all(line.get_marker() in ("None", None) for line in longer.axes[0].lines)


def test_confusion(tmp_path):
    labels, predictions = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1])
    figure = plot_confusion(predictions, labels, class_names=["cat", "dog"], title="75%")
    (axes,) = figure.axes
    shares = axes.images[0].get_array()
    assert shares.tolist() == [[75, 25], [0, 100]]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "75",
        (1, 0): "25",
        (1, 1): "100",
    }
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("predicted", "label", "75%")
    assert written(figure, tmp_path)


def test_confusion_with_a_class_that_nobody_has(tmp_path):
    figure = plot_confusion(np.array([0, 2]), np.array([0, 0]), class_names=["0", "1", "2"])
    shares = figure.axes[0].images[0].get_array()
    assert shares.tolist() == [[50, 0, 50], [0, 0, 0], [0, 0, 0]]
    assert written(figure, tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 3])
def test_renderings(tmp_path, channels, count):
    images = np.linspace(0, 1, count * 4 * 5 * channels).reshape(count, 4, 5, channels)
    rendered = images * 1.5 - 0.2  # INRs leave [0, 1]
    titles = [f"image {number}" for number in range(count)]
    figure = plot_renderings(images, rendered, titles=titles, caption="test images")
    above, below = figure.axes[:count], figure.axes[count:]
    assert len(below) == count
    assert [axes.get_title() for axes in above] == titles
    for number in range(count):
        shown, drawn = above[number].images[0], below[number].images[0]
        expected = images[number] if channels == 3 else images[number, ..., 0]
        assert np.allclose(shown.get_array(), expected)
        clipped = rendered[number].clip(0, 1) if channels == 3 else rendered[number, ..., 0]
        assert np.allclose(drawn.get_array(), clipped)
        assert (shown.norm.vmin, shown.norm.vmax, drawn.norm.vmin, drawn.norm.vmax) == (0, 1, 0, 1)
    assert (above[0].get_ylabel(), below[0].get_ylabel()) == ("image", "INR")
    assert figure.get_suptitle() == "test images"
    assert written(figure, tmp_path)


def test_scores(tmp_path):
    figure = plot_scores({"mlp": [10.0, 20.0], "ng_t": [90.0]}, ylabel="%", title="digits")
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [15, 90]
    assert [list(line.get_ydata()) for line in axes.lines] == [[10.0, 20.0], [90.0]]
    assert [text.get_text() for text in axes.texts] == ["15.0", "90.0"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["mlp", "ng_t"]
    assert (axes.get_ylabel(), axes.get_title()) == ("%", "digits")
    assert written(figure, tmp_path)


def test_curves_against_size(tmp_path):
    curves = {"mlp": {100: [10.0, 20.0], 10: [5.0]}}
    figure = plot_against_size(curves, xlabel="INRs", ylabel="%", title="digits")
    (axes,) = figure.axes
    mean, *dots = axes.lines
    assert (list(mean.get_xdata()), list(mean.get_ydata())) == ([10, 100], [5.0, 15.0])
    assert [list(line.get_ydata()) for line in dots] == [[5.0], [10.0, 20.0]]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["mlp"]
    assert written(figure, tmp_path)


def test_image_rows_of_several_sizes(tmp_path):
    rows = {name: np.full((2, size, size, 1), 0.5) for name, size in (("8", 8), ("64", 64))}
    rows["8"][1] = 0.25
    figure = plot_image_rows({**rows, "again": rows["8"]}, titles=["a", "b"], caption="sizes")
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["8", "64", "again"]
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "", "", "", ""]
    assert [axes.images[0].get_array().shape for axes in figure.axes[1:4]] == [
        (8, 8),
        (64, 64),
        (64, 64),
    ]
    assert figure.axes[1].images[0].get_array()[0, 0] == 0.25
    assert figure.get_suptitle() == "sizes"
    assert written(figure, tmp_path)


# Drawings of neural graphs.

SINE = Activation("sine", 30.0)
COLORS = mpl.colormaps["RdBu_r"]


def mlp_graph(layout: tuple[int, ...], params: list[float]) -> NeuralGraph:
    return template_from_spec(NetworkSpec.mlp(layout, activation=SINE))(torch.tensor(params))


class Skip(nn.Module):
    """`linear(x + relu(linear(x)))`, whose first layer has no bias."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(3, 3, bias=False), nn.Linear(3, 2)

    def forward(self, values):
        return self.out(values + torch.relu(self.inner(values)))


def edges_of(axes: Axes) -> dict[tuple, int]:
    """Numbers of the drawn edges by their ends `(x, y, x, y)`."""
    paths = axes.collections[0].get_segments()
    return {tuple(path[[0, -1]].round(4).flatten().tolist()): n for n, path in enumerate(paths)}


def colors_by_place(axes: Axes) -> np.ndarray:
    """Colours of edges, then of neurons, in the order of their places."""
    lines, dots = axes.collections
    edges, neurons = edges_of(axes), dots.get_offsets().tolist()
    order = [edges[ends] for ends in sorted(edges)]
    faces = dots.get_facecolors()[sorted(range(len(neurons)), key=neurons.__getitem__)]
    return np.concatenate([lines.get_colors()[order], faces])


def test_a_drawing_shows_weights_and_biases(tmp_path):
    # weights and biases of 2-2-1, layer by layer
    graph = mlp_graph((2, 2, 1), [8.0, 0, -4, -2, 1, -2, 0.5, 0.25, 0])
    figure = plot_neural_graphs({"net": graph}, is_sorted=False)
    axes, bar = figure.axes
    lines, dots = axes.collections
    assert dots.get_offsets().tolist() == [[0, 0.5], [0, -0.5], [1, 0.5], [1, -0.5], [2, 0]]
    shown, widths = lines.get_colors(), lines.get_linewidths()
    numbers = edges_of(axes)
    expected = {
        (0, 0.5, 1, 0.5): 1,
        (0, -0.5, 1, 0.5): 0,
        (0, 0.5, 1, -0.5): -0.5,
        (0, -0.5, 1, -0.5): -0.25,
        (1, 0.5, 2, 0): 1,
        (1, -0.5, 2, 0): 0.5,
    }
    assert numbers.keys() == expected.keys()
    for ends, value in expected.items():
        assert np.allclose(shown[numbers[ends], :3], COLORS((value + 1) / 2)[:3])
        assert np.isclose(widths[numbers[ends]], 0.3 + 2 * abs(value))
    faces = dots.get_facecolors()
    assert np.allclose(faces[:2], 1)  # inputs have no bias
    assert np.allclose(faces[2:], [COLORS(0.75), COLORS(0.0), COLORS(0.5)])
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "2 inputs",
        "2 sine",
        "1 output",
    ]
    assert axes.get_title() == "net"
    assert bar.get_ylabel().startswith("weight")
    assert written(figure, tmp_path)


def test_strong_weights_are_drawn_last(tmp_path):
    graph = mlp_graph((2, 2, 1), [8.0, 0, -4, -2, 1, -2, 0.5, 0.25, 0])
    widths = plot_neural_graphs({"": graph}).axes[0].collections[0].get_linewidths()
    assert np.all(np.diff(widths) >= 0)


def test_a_sorted_drawing_does_not_depend_on_the_order_of_neurons():
    template = template_from_spec(NetworkSpec.mlp((2, 5, 4, 1), activation=SINE))
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(1, template.num_params, generator=generator)
    element = sample_symmetries(template, 1, kinds=["permutation"], generator=generator)
    permuted = apply_symmetries(template, params, element)
    graphs = {"before": template(params[0]), "after": template(permuted[0])}
    before, after, _ = plot_neural_graphs(graphs).axes
    assert np.allclose(colors_by_place(before), colors_by_place(after))
    before, after, _ = plot_neural_graphs(graphs, is_sorted=False).axes
    assert not np.allclose(colors_by_place(before), colors_by_place(after))


def test_hidden_neurons_stand_near_what_drives_them():
    weights = [0.0, 1, 1, 0, -3, 0]  # of three neurons: the lower input, the upper, minus the upper
    graph = mlp_graph((2, 3, 1), [*weights, 0.1, 0.2, 0.3, 1, 1, 1, 0])
    dots = plot_neural_graphs({"": graph}).axes[0].collections[1]
    assert np.allclose(dots.get_offsets()[2:5, 1], [0, 2 / 3, -2 / 3])


def test_a_drawing_of_a_skip_connection(tmp_path):
    module = Skip()
    graph = trace(module, torch.zeros(1, 3))(module)  # layers: inputs, relu, sum, outputs
    axes = plot_neural_graphs({"skip": graph}).axes[0]
    lines, dots = axes.collections
    dashed = np.array([pattern is not None for _, pattern in lines.get_linestyles()])
    assert dashed.sum() == 6
    assert np.allclose(lines.get_colors()[dashed][:, :3], mpl.colors.to_rgb("gray"))
    middle = {
        number: lines.get_segments()[number][9:11, 1].mean() - (ends[1] + ends[3]) / 2
        for ends, number in edges_of(axes).items()
    }
    spans = {number: ends[2] - ends[0] for ends, number in edges_of(axes).items()}
    assert all((middle[number] > 0.1) == (spans[number] == 2) for number in spans)
    assert np.allclose(dots.get_facecolors()[:9], 1)
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["3 inputs", "3 relu", "3 linear", "2 outputs"]
    assert written(axes.figure, tmp_path)


def test_a_drawing_of_zeros_and_of_gradients(tmp_path):
    module = nn.Linear(3, 2)
    template = trace(module, torch.zeros(1, 3))
    graphs = {"zero": template(torch.zeros(8)), "module": template(module)}
    figure = plot_neural_graphs(graphs)
    zero = figure.axes[0].collections[0]
    assert np.allclose(zero.get_colors()[:, :3], COLORS(0.5)[:3])
    assert written(figure, tmp_path)


def test_only_single_graphs_of_weights_can_be_drawn(raises_saying):
    graph = mlp_graph((2, 2, 1), [1.0] * 9)
    batch = Batch.from_data_list([graph, graph])
    with raises_saying(asked="draw", found="2 graphs", do="batch[0]"):
        plot_neural_graphs({"": batch})
    assert plot_neural_graphs({"": batch[0]})
    encoded = graph.with_features(torch.zeros(5, 4), torch.zeros(6, 3))
    with raises_saying(asked="draw", found="4 features per neuron and 3 per edge", do="single"):
        plot_neural_graphs({"": encoded})


@pytest.mark.gpu
def test_a_drawing_leaves_its_graph_on_its_device():
    graph = mlp_graph((2, 2, 1), [1.0] * 9).to("cuda")
    plot_neural_graphs({"": graph})
    assert all(value.is_cuda for value in graph.to_dict().values() if torch.is_tensor(value))


def test_predictions_are_points_beside_the_line_of_equality():
    labels, predictions = np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.4, 1.0])
    axes = plot_predictions(predictions, labels, quantity="accuracy", title="t").axes[0]
    points = axes.collections[0].get_offsets()
    np.testing.assert_allclose(points, np.stack([labels, predictions], axis=1))
    (line,) = axes.lines
    assert list(line.get_xdata()) == list(line.get_ydata()) == [0.1, 1.0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true accuracy", "predicted accuracy")
