"""Figures show what they are given: curves, shares, pictures, bars."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from nn_graphs.plotting import (
    plot_confusion,
    plot_learning_curves,
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
