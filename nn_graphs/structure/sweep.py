"""The sweep: millions of WS-flex graphs, of which the first of each cell of the (C, L) plane stay.

Candidates are all combinations of a degree, a p and a seed (You et al., ICML 2020, section 3), in
an order shuffled once. They are looked at in that order, so the first thousand are already spread
as all are, and a sweep may end early, go on later, and be shared by processes: each shard keeps the
first graphs of its own cells, and the first of those over all shards are the selection.

`PUBLISHED_SWEEPS` are those of the studies: their 3,942 graphs of 64 nodes and 2,698 of 16 are
what `run_sweep` gives, in the same order.
"""

import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from nn_graphs.errors import NNGraphsError
from nn_graphs.progress import progress_bar
from nn_graphs.records import write_record
from nn_graphs.structure.measures import average_clustering
from nn_graphs.structure.paths import average_path_length
from nn_graphs.structure.plane import Plane
from nn_graphs.structure.wsflex import draw_ws_flex, unpack_rows
from nn_graphs.whole_files import whole_file

SHUFFLE_SEED = 1  # of numpy's legacy generator, as published
SHARD_SIZE = 10_000  # candidates: some seconds of work

GraphTable = Float64[np.ndarray, "_ 6"]
"""A row a graph, as in the published arrays: num_nodes, sparsity, p, seed, C, L."""


@dataclass(frozen=True)
class Sweep:
    """Candidates, and the plane that they are to cover.

    Attributes:
        num_nodes: of all graphs.
        min_degree, max_degree: mean degrees, between 2 and `num_nodes`; evenly spaced in their
            square roots, so that sparse graphs, which differ more, come more densely.
        plane: the grid.
        num_degrees: how many degrees.
        num_ps: how many p from 0 to 1, evenly spaced in their square roots.
        num_seeds: seeds 0, 1, ... of each.
    """

    num_nodes: int
    min_degree: float
    max_degree: float
    plane: Plane
    num_degrees: int = 300
    num_ps: int = 300
    num_seeds: int = 30

    def __post_init__(self):
        if not 2 <= self.min_degree <= self.max_degree <= self.num_nodes:
            raise NNGraphsError(
                f"sweep over graphs of {self.num_nodes} nodes",
                found=f"degrees from {self.min_degree:g} to {self.max_degree:g} are not possible.",
                do=f"Choose degrees from 2 to {self.num_nodes}.",
            )

    def __len__(self) -> int:
        return self.num_degrees * self.num_ps * self.num_seeds

    def candidates(self, start: int, stop: int) -> Float64[np.ndarray, "N 4"]:
        """Rows (num_nodes, sparsity, p, seed) of candidates `start` to `stop`, as shuffled."""
        return self.recipes_at(_order(len(self))[start:stop])

    def recipes_at(self, places: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, "N 4"]:
        """Rows (num_nodes, sparsity, p, seed) at places in the grid (degree, p, seed)."""
        grid = (self.num_degrees, self.num_ps, self.num_seeds)
        degree_at, p_at, seed = np.unravel_index(places, grid)
        degrees = np.linspace(np.sqrt(self.min_degree), np.sqrt(self.max_degree), grid[0]) ** 2
        ps = np.linspace(0, 1, grid[1]) ** 2
        sparsity = degrees[degree_at] / self.num_nodes
        return np.stack([np.full(len(seed), self.num_nodes), sparsity, ps[p_at], seed], axis=1)

    def select(self, table: GraphTable) -> GraphTable:
        """The rows that are the first of their cell of the plane."""
        return table[self.plane.first_of_cells(self.plane.cells(table[:, 4], table[:, 5]))]

    def measure(self, start: int, stop: int) -> GraphTable:
        """Candidates `start` to `stop` with C and L, without those that no try connects."""
        candidates = self.candidates(start, stop)
        drawn = [
            draw_ws_flex(self.num_nodes, sparsity, p, int(seed))
            for _, sparsity, p, seed in candidates.tolist()
        ]
        is_there = np.array([rows is not None for rows in drawn], bool)
        graphs = unpack_rows([rows for rows in drawn if rows is not None], self.num_nodes)
        values = np.stack([average_clustering(graphs), average_path_length(graphs)], axis=1)
        return np.concatenate([candidates[is_there], values], axis=1)


PUBLISHED_SWEEPS: dict[int, Sweep] = {
    64: Sweep(64, 8.0, 62.0, Plane(135, 4.5)),
    16: Sweep(16, 4.0, 14.0, Plane(108, 2.5, borrow_above=0.0), num_degrees=200),
}
"""The sweeps of the studies, by number of nodes: 2.7 and 1.8 million candidates."""


def run_sweep(
    sweep: Sweep,
    folder: Path,
    *,
    num_candidates: int | None = None,
    num_workers: int = 1,
    shard_size: int = SHARD_SIZE,
) -> GraphTable:
    """The graphs that a sweep selects, in the order in which they were found.

    Args:
        sweep: what is looked at.
        folder: where shards are kept; an interrupted sweep goes on from them, and so does one that
            looks at more candidates.
        num_candidates: how many to look at; all without it.
        num_workers: processes.
        shard_size: candidates that a process looks at before it writes.

    Raises:
        NNGraphsError: the folder holds shards of another sweep.
    """
    _open(folder, sweep)
    stop = len(sweep) if num_candidates is None else min(num_candidates, len(sweep))
    shards = [(start, min(start + shard_size, stop)) for start in range(0, stop, shard_size)]
    missing = [shard for shard in shards if not _file(folder, *shard).exists()]
    num_missing = sum(stop - start for start, stop in missing)
    description = f"sweep over graphs of {sweep.num_nodes} nodes"
    with progress_bar(stop, unit="graph", description=description, done=stop - num_missing) as bar:
        for start, end in _filled(sweep, folder, missing, num_workers):
            bar.advance(end - start)
    parts = [np.load(_file(folder, *shard)) for shard in shards]
    return sweep.select(np.concatenate([np.empty((0, 6)), *parts]))


@lru_cache(maxsize=1)
def _order(num_candidates: int) -> Int64[np.ndarray, " num_candidates"]:
    return np.random.RandomState(SHUFFLE_SEED).permutation(num_candidates)


def _open(folder: Path, sweep: Sweep) -> None:
    """Begins the folder, or makes sure that it belongs to this sweep."""
    folder.mkdir(parents=True, exist_ok=True)
    record, mine = folder / "sweep.json", asdict(sweep)
    if not record.exists():
        write_record(record, mine)
    theirs = json.loads(record.read_text())
    differing = [name for name in mine if theirs.get(name) != mine[name]]
    if differing:
        raise NNGraphsError(
            f"go on with the sweep in {folder}",
            found="it was begun with another "
            + ", ".join(f"{name} ({theirs.get(name)})" for name in differing)
            + ".",
            do="Repeat its settings, or choose another folder.",
        )


def num_measured(folder: Path) -> int:
    """Candidates whose shards lie in the folder of a sweep."""
    ends = (map(int, shard.stem.split("_")) for shard in folder.glob("?????????_?????????.npy"))
    return sum(stop - start for start, stop in ends)


def _file(folder: Path, start: int, stop: int) -> Path:
    return folder / f"{start:09d}_{stop:09d}.npy"


def _filled(
    sweep: Sweep, folder: Path, shards: list[tuple[int, int]], num_workers: int
) -> Iterator[tuple[int, int]]:
    """Writes shards, here or in `num_workers` processes, and names each as soon as it is there."""
    if num_workers == 1 or not shards:
        for shard in shards:
            yield _fill(sweep, folder, *shard)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, context, initializer=_follow_parent)
    try:
        futures = [pool.submit(_fill, sweep, folder, *shard) for shard in shards]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _fill(sweep: Sweep, folder: Path, start: int, stop: int) -> tuple[int, int]:
    path = _file(folder, start, stop)
    measured = sweep.select(sweep.measure(start, stop))
    with whole_file(path) as partial, partial.open("wb") as file:
        np.save(file, measured)
    return start, stop


def _follow_parent() -> None:
    """A worker ends with the process that started it, however that one ends."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
