"""Select graphs that cover the plane of clustering and path length, as the published arrays do.

python sweep.py                               # a million candidates of 64 nodes, both cores
python sweep.py --num-candidates 2700000      # all, as in the publication
python sweep.py --num-nodes 16 --num-candidates 1800000

The same command goes on where it was interrupted, and one with more candidates from those of fewer.
Writes `graphs.npy` and a figure into the folder, and rows to results.csv: times, and processor
times of all processes, are of the candidates that this command itself looked at.
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import numpy as np
from support.paths import default_data_root
from support.relational import script_row

from nn_graphs.plotting import save_figure
from nn_graphs.relational_results.cells import COARSE_GRIDS
from nn_graphs.relational_results.figures import plot_selected
from nn_graphs.results import ResultRow, append_rows
from nn_graphs.structure import PUBLISHED_SWEEPS, run_sweep
from nn_graphs.structure.sweep import GraphTable, num_measured

RESULTS = Path(__file__).with_name("results.csv")
PUBLISHED = {64: "graphs_n64_3942.npy", 16: "graphs_n16_2698.npy"}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-nodes", type=int, default=64, choices=list(PUBLISHED_SWEEPS))
    parser.add_argument("--num-candidates", type=int, default=1_000_000)
    parser.add_argument("--num-workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--folder", type=Path, help="default: outputs/sweep_<nodes>")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    folder = options.folder or Path("outputs") / f"sweep_{options.num_nodes}"
    num_before = num_measured(folder)
    start, used = time.perf_counter(), processor_seconds()
    table = run_sweep(
        PUBLISHED_SWEEPS[options.num_nodes],
        folder,
        num_candidates=options.num_candidates,
        num_workers=options.num_workers,
    )
    minutes = (time.perf_counter() - start) / 60
    num_new = num_measured(folder) - num_before
    found = {"graphs": len(table), "looked_at": num_new}
    found |= {"processor_minutes": (processor_seconds() - used) / 60}
    found |= compare(table, options.num_nodes)
    np.save(folder / "graphs.npy", table)
    title = f"{len(table):,} graphs of {options.num_candidates:,} candidates"
    figure = plot_selected(table[:, 4], table[:, 5], COARSE_GRIDS[options.num_nodes], title=title)
    save_figure(figure, folder / "selected.png")
    rows = [row(options, metric, value, minutes) for metric, value in found.items()]
    append_rows(options.results, rows)
    print(f"{title}, {minutes:.1f} minutes: {folder / 'graphs.npy'}, {folder / 'selected.png'}")
    for metric, value in found.items():
        print(f"{metric}: {value:.6g}")


def compare(table: GraphTable, num_nodes: int) -> dict[str, float]:
    """How many of the published rows, from the first on, came back, where their array is there."""
    path = default_data_root() / "graph2nn" / PUBLISHED[num_nodes]
    if not path.exists():
        return {}
    published = np.load(path)
    num_both = min(len(table), len(published))
    is_equal = (table[:num_both] == published[:num_both]).all(1)
    return {"published_rows": float(np.logical_and.accumulate(is_equal).sum())}


def processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def row(options: argparse.Namespace, metric: str, value: float, minutes: float) -> ResultRow:
    """A result row of the selection."""
    return script_row(
        "sweep",
        "ws_flex",
        f"{options.num_nodes} nodes",
        metric,
        value,
        minutes,
        options=f"{options.num_candidates} candidates, {options.num_workers} processes",
    )


if __name__ == "__main__":
    main()
