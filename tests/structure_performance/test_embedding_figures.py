"""Figures show what they are given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from nn_graphs.plotting import save_figure
from nn_graphs.structure_performance import (
    PROTOCOLS,
    epoch_index,
    hold_out,
    mantel_test,
    plot_connectomes,
    plot_embedding,
    plot_held_out,
    plot_selection,
    project,
    weight_norms,
)
from tests.structure_performance.trajectories import DEEP, FLAT, trajectory_zoo

ZOO = trajectory_zoo(specs=(FLAT, DEEP))
RUNS = ZOO.table["run"].to_numpy()
KINDS = ZOO.table["structure"].to_numpy()
ACCURACY = ZOO.table["test_accuracy"].to_numpy()
NORMS = np.nan_to_num(weight_norms(ZOO))


def titles(figure: Figure) -> str:
    return " ".join(axes.get_title() for axes in figure.axes)


def test_held_out_predictions(tmp_path):
    found = {
        name: {
            protocol: hold_out(features, ACCURACY, RUNS, protocol=protocol, seed=0)
            for protocol in PROTOCOLS
        }
        for name, features in {"embedding": NORMS, "epoch": epoch_index(ZOO)}.items()
    }
    figure = plot_held_out(found, RUNS, quantity="test accuracy")
    assert len(figure.axes) == 4
    for axes, name in zip(figure.axes, ["embedding"] * 2 + ["epoch"] * 2, strict=True):
        assert axes.get_title().startswith(name)
    score = found["epoch"]["random"].scores.pearson
    assert f"Pearson {score:.2f}" in figure.axes[2].get_title()
    shown = figure.axes[3].collections[0].get_offsets()
    np.testing.assert_array_equal(shown[:, 0], found["epoch"]["run_disjoint"].labels)
    assert save_figure(figure, tmp_path / "held_out.png").stat().st_size > 10_000


def test_figure_2():
    mantel = mantel_test(NORMS, ACCURACY, num_permutations=9)
    places = project(NORMS)
    figure = plot_embedding(
        places, KINDS, ACCURACY, mantel, silhouette=0.42, quantity="test accuracy"
    )
    assert "silhouette 0.42" in titles(figure)
    assert f"p {mantel.p_value:.3f}" in titles(figure)
    by_kind = figure.axes[0]
    assert [text.get_text() for text in by_kind.get_legend().get_texts()] == ["deeper", "regular"]
    assert sum(len(points.get_offsets()) for points in by_kind.collections) == len(ZOO)
    plain = plot_embedding(places, KINDS, ACCURACY, mantel, quantity="accuracy")
    assert "silhouette" not in titles(plain)


def test_selection():
    rows = [
        {"epoch": epoch, "way": way, "rate": rate, "regret": 1 - rate}
        for epoch in (0, 5)
        for way, rate in {"embedding": 0.5, "chance": 0.25}.items()
    ]
    figure = plot_selection(pd.DataFrame(rows), num_candidates=4)
    rates, regrets = figure.axes
    assert [line.get_label() for line in rates.lines] == ["embedding", "chance"]
    assert rates.lines[0].get_ydata().tolist() == [0.5, 0.5]
    assert regrets.lines[1].get_ydata().tolist() == [0.75, 0.75]
    assert "best of 4" in rates.get_ylabel()


@pytest.mark.parametrize("series", [(), (0, 1)])
def test_connectomes(series):
    places = project(NORMS)
    figure = plot_connectomes(places, KINDS, places[:3], ["cat", "worm", "fly"], series=series)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["cat", "worm", "fly"]
    assert len(axes.lines[0].get_xdata()) == len(series)
