"""How do time and memory of a VGAE's training step grow with the network?

    python bench_vgae_sizes.py                      # about 15 minutes, 12 GB
    python bench_vgae_sizes.py --sizes 64-32-10 784-32-10

MLPs up to as many edges as ResNet-18 has parameters. In networks of 512 neurons and more, edges are
decoded against as many drawn pairs without one; in smaller ones against all. The plain side (lists
of torch-geometric, all pairs of every network) is measured up to `--plain-up-to` edges. Writes
`vgae_sizes.csv` and the figure `vgae_sizes.png`, all axes logarithmic, and fits the exponents; each
point is measured in a process of its own.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import matplotlib as mpl
import numpy as np
import pandas as pd
from benchmarks.bench_scaling import exponent
from benchmarks.bench_structure_encoder import make_zoo, measure_side
from matplotlib.figure import Figure
from support.benchmarks import RESULTS, record

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.plotting import STYLE, save_figure

SIDES = {"plain": "torch-geometric", "ours": "ours"}
UNITS = {"seconds": "seconds per network", "gigabytes": "peak memory of a step, GB"}
SIZES = (
    "64-32-10",
    "784-32-10",
    "784-200-10",
    "784-500-200-10",
    "784-1200-800-10",
    "784-3000-2700-250-10",  # 11.1 million edges
)


def measure_sizes(options: argparse.Namespace) -> pd.DataFrame:
    """One row per size and side."""
    rows = []
    for layout in options.sizes:
        num_edges = template_from_spec(make_zoo(layout, 1).spec).num_edges
        for side in SIDES:
            if side == "plain" and num_edges > options.plain_up_to:
                continue
            cost = measure_side(side, options, layout=layout, num_graphs=options.batch_size)
            print(f"{side}, {layout} ({num_edges} edges): {cost}", flush=True)
            rows.append(
                {
                    "side": side,
                    "layout": layout,
                    "num_edges": num_edges,
                    "seconds": cost.seconds / options.batch_size,
                    "gigabytes": cost.gigabytes or np.nan,
                    "device": cost.device,
                }
            )
    return pd.DataFrame(rows)


def fitted_exponents(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    """By side and what is measured; of memory from the first point on that takes any."""
    found = {}
    for side, points in table.groupby("side"):
        for unit in UNITS:
            known = points[points[unit] > 0]
            found[side, unit] = exponent(known["num_edges"].to_numpy(), known[unit].to_numpy())
    return found


def plot_sizes(table: pd.DataFrame) -> Figure:
    exponents = fitted_exponents(table)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        for axes, (unit, label) in zip(figure.subplots(1, 2), UNITS.items(), strict=True):
            for side, title in SIDES.items():
                points = table[(table["side"] == side) & (table[unit] > 0)]
                if len(points):
                    name = f"{title}: {exponents[side, unit]:.2f}"
                    axes.loglog(points["num_edges"], points[unit], "o-", label=name)
            axes.set(xlabel="edges of a network", ylabel=label)
            axes.legend(title="exponent")
    return figure


def record_sizes(table: pd.DataFrame, options: argparse.Namespace) -> None:
    """Rows of the largest network that both sides have."""
    exponents = ", ".join(
        f"{side} {unit} {value:.2f}" for (side, unit), value in fitted_exponents(table).items()
    )
    largest = table.loc[table["num_edges"].idxmax(), "layout"]
    for unit, short in (("seconds", "s"), ("gigabytes", "GB")):
        both = table.pivot(index=["num_edges", "layout"], columns="side", values=unit).dropna()
        if not len(both):
            continue
        plain, ours = both.iloc[-1][["plain", "ours"]]
        record(
            f"{'memory of ' * (short == 'GB')}a VGAE step against edges of a network",
            setting=f"{both.index[-1][1]}, batch {options.batch_size}",
            unit=short,
            plain=plain,
            ours=ours,
            remark=f"Exponents in edges, ours up to {largest}: {exponents}.",
            device=table["device"].iloc[0],
            results=options.results,
        )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sizes", nargs="+", default=SIZES, help="widths of MLPs")
    add("--plain-up-to", type=int, default=600_000, help="edges of networks of the plain side")
    add("--batch-size", type=int, default=2)
    add("--num-epochs", type=int, default=3, help="steps timed at each point")
    add("--all-pairs-below", type=int, default=512, help="neurons; else pairs are drawn")
    add("--in-one-process", action="store_true", help="quicker, but memory peaks mix")
    add("--folder", type=Path, default=Path("outputs"), help="of the table and the figure")
    add("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    table = measure_sizes(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.folder / "vgae_sizes.csv", index=False)
    save_figure(plot_sizes(table), options.folder / "vgae_sizes.png")
    record_sizes(table, options)


if __name__ == "__main__":
    main()
