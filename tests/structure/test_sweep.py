"""Sweeps select the first graph of each cell, in processes, and go on where they were."""

import numpy as np
import pytest

from nn_graphs.datasets import data_root
from nn_graphs.structure import (
    PUBLISHED_SWEEPS,
    Plane,
    Sweep,
    average_clustering,
    average_path_length,
    run_sweep,
    ws_flex,
)
from nn_graphs.structure import sweep as sweep_module
from tests.structure.published import ROWS_16, ROWS_64

SMALL = Sweep(12, 3.0, 9.0, Plane(20, 2.5), num_degrees=8, num_ps=6, num_seeds=4)


@pytest.fixture
def measured(monkeypatch) -> list[tuple[int, int]]:
    """The shards that get measured, in their order."""
    shards, measure = [], Sweep.measure

    def recorded(self, start, stop):
        shards.append((start, stop))
        return measure(self, start, stop)

    monkeypatch.setattr(Sweep, "measure", recorded)
    return shards


def test_candidates_are_all_combinations_shuffled():
    rows = SMALL.candidates(0, len(SMALL))
    assert rows.shape == (8 * 6 * 4, 4)
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert set(rows[:, 0]) == {12}
    np.testing.assert_allclose(np.unique(rows[:, 1])[[0, -1]] * 12, [3, 9])
    np.testing.assert_allclose(np.diff(np.unique(rows[:, 1]) ** 0.5), (3 - 3**0.5) / 7 / 12**0.5)
    np.testing.assert_allclose(np.unique(rows[:, 2]) ** 0.5, np.linspace(0, 1, 6))
    assert set(rows[:, 3]) == {0, 1, 2, 3}
    np.testing.assert_array_equal(SMALL.candidates(50, 60), rows[50:60])
    assert len(set(rows[:20, 1])) > 4


@pytest.mark.parametrize(("num_nodes", "rows"), [(64, ROWS_64), (16, ROWS_16)])
def test_the_published_sweeps_begin_with_their_graphs(num_nodes, rows):
    """The arrays keep the order in which graphs were found: rows 0 and 1 are candidates 0 and 1."""
    sweep = PUBLISHED_SWEEPS[num_nodes]
    np.testing.assert_array_equal(sweep.candidates(0, 2), rows[:2, :4])
    np.testing.assert_array_equal(sweep.measure(0, 2), rows[:2])
    assert len(sweep) == {64: 2_700_000, 16: 1_800_000}[num_nodes]


def test_one_graph_a_cell_the_first_one(tmp_path):
    table = run_sweep(SMALL, tmp_path, shard_size=50)
    everything = SMALL.measure(0, len(SMALL))
    first, seen = [], set()
    for row in everything:
        cell = (int(row[4] / (1 / 20)), int((row[5] - 1) / (1.5 / 20)))
        if max(cell) < 20 and cell not in seen:
            seen.add(cell)
            first.append(row)
    np.testing.assert_array_equal(table, np.array(first))
    assert 20 < len(table) < len(everything)


def test_measured_values(tmp_path):
    for num_nodes, sparsity, p, seed, clustering, path_length in run_sweep(SMALL, tmp_path):
        graph = ws_flex(int(num_nodes), sparsity=sparsity, p=p, seed=int(seed))
        assert average_clustering(graph) == clustering
        assert average_path_length(graph) == path_length


def test_an_interrupted_sweep_goes_on(tmp_path, measured, monkeypatch):
    whole = run_sweep(SMALL, tmp_path / "whole", shard_size=50)
    measured.clear()
    select, calls = Sweep.select, []

    def interrupted(self, table):
        calls.append(table)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return select(self, table)

    with monkeypatch.context() as patch:
        patch.setattr(Sweep, "select", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(SMALL, tmp_path / "parts", shard_size=50)
    assert measured == [(0, 50), (50, 100), (100, 150)]
    measured.clear()
    table = run_sweep(SMALL, tmp_path / "parts", shard_size=50)
    assert measured == [(100, 150), (150, 192)]
    np.testing.assert_array_equal(table, whole)


def test_more_candidates_go_on_from_fewer(tmp_path, measured):
    few = run_sweep(SMALL, tmp_path, num_candidates=100, shard_size=50)
    more = run_sweep(SMALL, tmp_path, shard_size=50)
    assert measured == [(0, 50), (50, 100), (100, 150), (150, 192)]
    np.testing.assert_array_equal(more[: len(few)], few)
    assert len(run_sweep(SMALL, tmp_path, num_candidates=0)) == 0


def test_processes_find_the_same(tmp_path):
    alone = run_sweep(SMALL, tmp_path / "alone", shard_size=50)
    together = run_sweep(SMALL, tmp_path / "together", shard_size=50, num_workers=2)
    np.testing.assert_array_equal(together, alone)


def test_a_folder_of_another_sweep(tmp_path, raises_saying):
    run_sweep(SMALL, tmp_path, num_candidates=5)
    other = Sweep(12, 3.0, 9.0, Plane(20, 2.5), num_degrees=8, num_ps=6, num_seeds=5)
    with raises_saying(
        asked=f"go on with the sweep in {tmp_path}", found="num_seeds (4)", do="another folder"
    ):
        run_sweep(other, tmp_path)


@pytest.mark.parametrize(("lowest", "highest"), [(1.0, 5.0), (3.0, 13.0), (float("nan"), 5.0)])
def test_impossible_degrees(raises_saying, lowest, highest):
    with raises_saying(asked="graphs of 12 nodes", found="not possible", do="from 2 to 12"):
        Sweep(12, lowest, highest, Plane(20, 2.5))


def test_graphs_that_no_try_connects_are_left_out(monkeypatch):
    monkeypatch.setattr(sweep_module, "draw_ws_flex", lambda *row: None)
    assert SMALL.measure(0, 5).shape == (0, 6)


@pytest.mark.data
@pytest.mark.parametrize(("num_nodes", "name"), [(64, "n64_3942"), (16, "n16_2698")])
def test_a_part_of_the_published_sweep(tmp_path, num_nodes, name):
    """What the first thousands of candidates select is what the published array begins with."""
    published = np.load(data_root() / "graph2nn" / f"graphs_{name}.npy")
    table = run_sweep(PUBLISHED_SWEEPS[num_nodes], tmp_path, num_candidates=4000)
    assert len(table) > 500
    np.testing.assert_array_equal(table, published[: len(table)])


@pytest.mark.data
@pytest.mark.slow
def test_the_whole_published_sweep_of_16_nodes(tmp_path):
    published = np.load(data_root() / "graph2nn" / "graphs_n16_2698.npy")
    table = run_sweep(PUBLISHED_SWEEPS[16], tmp_path, num_workers=2)
    np.testing.assert_array_equal(table, published)
