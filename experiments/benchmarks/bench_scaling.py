"""How does the time of a training step grow with the batch and with the width of the INRs?

    python bench_scaling.py
    python bench_scaling.py --curves gnn --widths 32 64

Seconds per step of NG-GNN and of NG-T, on edges and on all pairs, against the batch size (INRs
2-32-32-1) and against the hidden width (batch 8), each point in a process of its own. Writes
`scaling.csv` and the figure `scaling.png`, both axes logarithmic, and fits the exponents. Points
that would take more memory than `--max-gigabytes`, guessed from the point before, are left out.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from benchmarks.bench_encoder_step import measure_apart
from benchmarks.training_steps import OURS, StepCost, StepSetting, measure_step
from matplotlib.figure import Figure
from support.benchmarks import RESULTS, record

from nn_graphs.plotting import STYLE, save_figure

TITLES = {
    "gnn": "NG-GNN",
    "transformer_edges": "NG-T, edges",
    "transformer_all_pairs": "NG-T, all pairs",
}
AXES = {"batch_size": "INRs per step", "width": "hidden width of the INRs"}


def measure_curves(options: argparse.Namespace) -> pd.DataFrame:
    """One row per point; its column `axis` says which figure it belongs to."""
    points = {
        "batch_size": [(size, options.fixed_width) for size in options.batch_sizes],
        "width": [(options.fixed_batch_size, width) for width in options.widths],
    }
    rows, known = [], {}
    for curve in options.curves:
        for axis, places in points.items():
            before = None
            for place in places:
                setting = _setting(curve, *place, options)
                if _is_too_large(setting, before, options.max_gigabytes):
                    print(f"{curve} at batch {place[0]}, width {place[1]} is left out: memory")
                    break
                known[setting] = known.get(setting) or _measure(setting, options)
                before = (setting, known[setting])
                rows.append(_row(curve, axis, place, known[setting]))
    return pd.DataFrame(rows)


def _setting(curve: str, batch_size: int, width: int, options: argparse.Namespace) -> StepSetting:
    return StepSetting(
        curve, layer_layout=(2, width, width, 1), batch_size=batch_size, device=options.device
    )


def _measure(setting: StepSetting, options: argparse.Namespace) -> StepCost:
    measure = measure_step if options.in_one_process else measure_apart
    cost = measure(setting, num_steps=options.num_steps)
    print(f"{setting.variant}, batch {setting.batch_size}, {setting.layer_layout}: {cost}")
    return cost


def _row(curve: str, axis: str, place: tuple[int, int], cost: StepCost) -> dict:
    batch_size, width = place
    return {
        "curve": curve,
        "axis": axis,
        "batch_size": batch_size,
        "width": width,
        "seconds": cost.seconds,
        "gigabytes": cost.gigabytes,
        "device": cost.device,
    }


def _is_too_large(
    setting: StepSetting, before: tuple[StepSetting, StepCost] | None, max_gigabytes: float
) -> bool:
    """Whether a step would take too much memory, if it grew as edges (or pairs) do."""
    if before is None or before[1].gigabytes is None:
        return False
    last, cost = before
    return cost.gigabytes * _num_edges(setting) / _num_edges(last) > max_gigabytes


def _num_edges(setting: StepSetting) -> int:
    layout = np.array(setting.layer_layout)
    is_complete = setting.variant == "transformer_all_pairs"
    per_network = layout.sum() ** 2 if is_complete else (layout[1:] * layout[:-1]).sum()
    return setting.batch_size * int(per_network)


def exponent(places: np.ndarray, seconds: np.ndarray) -> float:
    """The power of a straight line through the points in logarithms; NaN for one point."""
    if len(places) < 2:
        return float("nan")
    return float(np.polyfit(np.log(places), np.log(seconds), deg=1)[0])


def fitted_exponents(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    """By axis and curve."""
    return {
        (axis, curve): exponent(points[axis].to_numpy(), points["seconds"].to_numpy())
        for (axis, curve), points in table.groupby(["axis", "curve"], sort=False)
    }


def plot_curves(table: pd.DataFrame) -> Figure:
    exponents = fitted_exponents(table)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4))
        for axes, (axis, label) in zip(figure.subplots(1, 2), AXES.items(), strict=True):
            points = table[table["axis"] == axis]
            for number, (curve, title) in enumerate(TITLES.items()):
                chosen = points[points["curve"] == curve]
                if len(chosen):
                    name = f"{title}: {exponents[axis, curve]:.2f}"
                    axes.loglog(
                        chosen[axis], chosen["seconds"], "o-", color=f"C{number}", label=name
                    )
            places = sorted(set(points[axis]))
            axes.set_xticks(places, places)
            axes.set_xticks([], minor=True)
            axes.set(xlabel=label, ylabel="seconds per training step")
            axes.legend(title="exponent", loc="upper center", bbox_to_anchor=(0.5, -0.2))
        figure.tight_layout()
    return figure


def record_axis(table: pd.DataFrame, axis: str, options: argparse.Namespace) -> None:
    """The last point that both kinds of NG-T have, and the exponents of all curves."""
    exponents = ", ".join(
        f"{TITLES[curve]} {value:.2f}"
        for (of, curve), value in fitted_exponents(table).items()
        if of == axis
    )
    remark = f"Exponents: {exponents}."
    print(f"{AXES[axis]}: {remark}")
    points = table[table["axis"] == axis].pivot(
        index=["batch_size", "width"], columns="curve", values="seconds"
    )
    if not {"transformer_all_pairs", "transformer_edges"} <= set(points):
        return
    both = points.dropna(subset=["transformer_all_pairs", "transformer_edges"])
    batch_size, width = both.index[-1]
    record(
        f"NG-T on edges instead of all pairs, by {AXES[axis]}",
        setting=f"2-{width}-{width}-1, batch {batch_size}, published settings",
        unit="s",
        plain=both["transformer_all_pairs"].iloc[-1],
        ours=both["transformer_edges"].iloc[-1],
        remark=remark,
        device=table["device"].iloc[0],
        results=options.results,
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    add = parser.add_argument
    add("--curves", nargs="+", choices=OURS, default=[*TITLES])
    add("--batch-sizes", nargs="+", type=int, default=[8, 16, 32, 64, 128])
    add("--widths", nargs="+", type=int, default=[32, 64, 128, 256])
    add("--fixed-batch-size", type=int, default=8, help="where the width changes")
    add("--fixed-width", type=int, default=32, help="where the batch size changes")
    add("--num-steps", type=int, default=3, help="timed at each point")
    add("--max-gigabytes", type=float, default=8.0)
    add("--device", default=device, choices=("cpu", "cuda"))
    add("--in-one-process", action="store_true", help="quicker, but memory peaks mix")
    add("--folder", type=Path, default=Path("outputs"), help="of scaling.csv and scaling.png")
    add("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    table = measure_curves(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.folder / "scaling.csv", index=False)
    save_figure(plot_curves(table), options.folder / "scaling.png")
    for axis in AXES:
        record_axis(table, axis, options)


if __name__ == "__main__":
    main()
