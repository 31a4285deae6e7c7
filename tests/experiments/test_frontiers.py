"""Figures of scores against costs, of the rows that tell them."""

import dataclasses

import pytest
from support.frontiers import EXPERIMENTS, METRICS, draw_frontiers

from nn_graphs.plotting import frontier, plot_frontier
from nn_graphs.results import append_rows
from tests.test_results import OLD_LINES, ROW


def test_nothing_as_cheap_is_better():
    points = [(4.0, 2.0), (1.0, 1.0), (2.0, 3.0), (3.0, 3.0), (2.0, 2.0), (8.0, 5.0)]
    assert frontier(points) == [(1, 1), (2, 3), (8, 5)]
    assert frontier(points, larger_is_better=False) == [(1, 1)]
    others = [(1.0, 5.0), (2.0, 4.0), (2.0, 3.0)]
    assert frontier(others, larger_is_better=False) == [(1, 5), (2, 3)]


def test_points_are_means_over_seeds():
    figure = plot_frontier(
        {"a": [(10.0, 1.0), (10.0, 3.0)], "b": [(100.0, 4.0)]}, xlabel="c", ylabel="s"
    )
    (axes,) = figure.axes
    first, second, line = axes.lines
    assert first.get_xydata().tolist() == [[10, 2]]
    assert second.get_xydata().tolist() == [[100, 4]]
    assert line.get_xydata().tolist() == [[10, 2], [100, 4]]
    assert axes.get_xscale() == "log"


def test_a_figure_per_zoo_of_rows_with_costs(tmp_path):
    folder = tmp_path / "inr_classification"
    folder.mkdir()
    path = folder / "results.csv"
    path.write_text(OLD_LINES)
    assert draw_frontiers(folder) == []
    other = dataclasses.replace(ROW, zoo="other", model="b")
    append_rows(path, [ROW, dataclasses.replace(ROW, seed=1), other])
    found = draw_frontiers(folder)
    assert [figure.name for figure in found] == ["frontier_digits_inrs.png", "frontier_other.png"]
    assert all(figure.stat().st_size > 1000 for figure in found)


@pytest.mark.parametrize("name", METRICS)
def test_experiments_are_there(name, tmp_path):
    assert (EXPERIMENTS / name / "main.py").exists()
    draw_frontiers(EXPERIMENTS / name, tmp_path)
