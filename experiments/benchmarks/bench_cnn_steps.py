"""What does a training step on convolutional networks take, as published and here?

    python bench_cnn_steps.py                      # all, about half an hour on two cores
    python bench_cnn_steps.py --only park          # NG-GNN, 32 networks of the Wild Park's kind
    python bench_cnn_steps.py --only zoo           # the Small CNN Zoo's architecture, batch 32
    python bench_cnn_steps.py --only curves        # against edges, kernel size, architectures

A step goes from flat parameters to the optimizer's update: the batch, forward, loss, backward. Each
measurement runs in a process of its own. The curves go to `cnn_steps.csv` and the figure
`cnn_steps.png`, both axes logarithmic, with fitted exponents.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import matplotlib as mpl
import pandas as pd
from benchmarks.bench_scaling import exponent
from benchmarks.cnn_steps import CNNStepSetting, make_specs, prepare_cnn_step
from benchmarks.training_steps import StepCost, measure
from matplotlib.figure import Figure
from support.benchmarks import RESULTS, record

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.plotting import STYLE, save_figure

QUESTIONS = {  # name, the plain variant, ours, and the settings of both
    "park": [("NG-GNN on a mix of CNNs", "gnn_published", "gnn", {"networks": "park"})],
    "zoo": [
        (
            "NG-GNN on CNNs of one architecture",
            "gnn_published",
            "gnn",
            {"networks": "zoo", "dim": 256},
        ),
        (
            "NG-T on all pairs, CNNs of one architecture",
            "transformer_published",
            "transformer_all_pairs",
            {"networks": "zoo"},
        ),
        (
            "NG-T on edges, CNNs of one architecture",
            "transformer_published",
            "transformer_edges",
            {"networks": "zoo"},
        ),
    ],
}
AXES = {
    "num_edges": "edges of a network",
    "kernel_size": "width of the kernels",
    "num_architectures": "architectures in a batch",
}
CURVES = {"gnn_published": "NG-GNN as published", "gnn": "NG-GNN, ours"}


def measure_apart(setting: CNNStepSetting, *, num_steps: int) -> StepCost:
    """One variant in a fresh process."""
    command = [sys.executable, __file__, "--setting", json.dumps(dataclasses.asdict(setting))]
    found = subprocess.run(
        [*command, "--num-steps", str(num_steps)], capture_output=True, text=True
    )
    if found.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{found.stderr}")
    return StepCost(**json.loads(found.stdout.splitlines()[-1]))


def measure_here(setting: CNNStepSetting, *, num_steps: int) -> StepCost:
    return measure(prepare_cnn_step(setting), num_steps=num_steps, device="cpu")


def cost(setting: CNNStepSetting, options: argparse.Namespace) -> StepCost:
    function = measure_here if options.in_one_process else measure_apart
    found = function(setting, num_steps=options.num_steps)
    print(f"{setting}: {found}", flush=True)
    return found


def compare(name: str, options: argparse.Namespace) -> None:
    for question, plain, ours, networks in QUESTIONS[name]:
        sizes = {"batch_size": options.batch_size, "num_architectures": options.batch_size}
        settings = [CNNStepSetting(v, **sizes | networks) for v in (plain, ours)]
        costs = [
            [cost(setting, options) for setting in settings] for _ in range(options.num_rounds)
        ]
        described = f"{networks['networks']}, batch {options.batch_size}, published settings"
        for figure, what, unit in (
            ("seconds", "training step of", "s"),
            ("gigabytes", "memory of a training step of", "GB"),
        ):
            values = [[getattr(c, figure) for c in round_] for round_ in costs]
            if all(value for pair in values for value in pair):
                record(
                    f"{what} {question}",
                    setting=described,
                    unit=unit,
                    plain=statistics.median(pair[0] for pair in values),
                    ours=statistics.median(pair[1] for pair in values),
                    device=costs[0][0].device,
                    results=options.results,
                )


def curve_settings(variant: str, options: argparse.Namespace) -> dict[str, list[CNNStepSetting]]:
    """The points of every axis."""
    chain = CNNStepSetting(
        variant, networks="chain", batch_size=options.batch_size, num_architectures=1
    )
    return {
        "num_edges": [dataclasses.replace(chain, channels=c) for c in options.channels],
        "kernel_size": [dataclasses.replace(chain, kernel_size=k) for k in options.kernel_sizes],
        "num_architectures": [
            dataclasses.replace(chain, num_architectures=number) for number in options.architectures
        ],
    }


def measure_curves(options: argparse.Namespace) -> pd.DataFrame:
    """One row per point; its column `axis` says which figure it belongs to."""
    rows, known = [], {}
    for variant in CURVES:
        for axis, settings in curve_settings(variant, options).items():
            for setting in settings:
                known[setting] = known.get(setting) or cost(setting, options)
                edges = [template_from_spec(spec).num_edges for spec in make_specs(setting)]
                point = dataclasses.asdict(setting) | {"num_edges": sum(edges) / len(edges)}
                rows.append(
                    {"axis": axis, "place": point[axis], **point}
                    | dataclasses.asdict(known[setting])
                )
    return pd.DataFrame(rows)


def fitted_exponents(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    """By axis and variant."""
    return {
        key: exponent(points["place"].to_numpy(), points["seconds"].to_numpy())
        for key, points in table.groupby(["axis", "variant"], sort=False)
    }


def plot_curves(table: pd.DataFrame) -> Figure:
    exponents = fitted_exponents(table)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 4))
        for axes, (axis, label) in zip(figure.subplots(1, len(AXES)), AXES.items(), strict=True):
            points = table[table["axis"] == axis]
            for number, (variant, title) in enumerate(CURVES.items()):
                chosen = points[points["variant"] == variant]
                name = f"{title}: {exponents[axis, variant]:.2f}"
                axes.loglog(
                    chosen["place"], chosen["seconds"], "o-", color=f"C{number}", label=name
                )
            places = sorted(set(points["place"]))
            axes.set_xticks(places, [f"{place:.0f}" for place in places])
            axes.set_xticks([], minor=True)
            axes.set(xlabel=label, ylabel="seconds per training step")
            axes.legend(title="exponent", loc="upper center", bbox_to_anchor=(0.5, -0.2))
        figure.tight_layout()
    return figure


def record_curves(table: pd.DataFrame, options: argparse.Namespace) -> None:
    """The last point of every axis, and the exponents."""
    exponents = fitted_exponents(table)
    for axis, label in AXES.items():
        last = table[table["axis"] == axis].groupby("variant").last()
        powers = ", ".join(f"{CURVES[v]} {exponents[axis, v]:.2f}" for v in CURVES)
        record(
            f"NG-GNN step against {label}",
            setting=f"{label}: {last['place'].iloc[0]:.0f}, batch {options.batch_size}",
            unit="s",
            plain=last["seconds"]["gnn_published"],
            ours=last["seconds"]["gnn"],
            remark=f"Exponents: {powers}.",
            device=table["device"].iloc[0],
            results=options.results,
        )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=[*QUESTIONS, "curves"], default=[*QUESTIONS, "curves"])
    add("--setting", type=json.loads, help="measure one, and print it as JSON")
    add("--batch-size", type=int, default=32)
    add("--channels", nargs="+", type=int, default=[4, 8, 16, 32])
    add("--kernel-sizes", nargs="+", type=int, default=[1, 3, 5, 7])
    add("--architectures", nargs="+", type=int, default=[1, 4, 16, 32])
    add("--num-steps", type=int, default=3, help="timed in each process")
    add("--num-rounds", type=int, default=2, help="processes of each variant")
    add("--in-one-process", action="store_true", help="quicker, but memory peaks mix")
    add("--folder", type=Path, default=Path("outputs"), help="of the curves and their figure")
    add("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    if options.setting:
        found = measure_here(CNNStepSetting(**options.setting), num_steps=options.num_steps)
        print(json.dumps(dataclasses.asdict(found)))
        return
    for name in options.only:
        if name != "curves":
            compare(name, options)
    if "curves" in options.only:
        table = measure_curves(options)
        options.folder.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.folder / "cnn_steps.csv", index=False)
        save_figure(plot_curves(table), options.folder / "cnn_steps.png")
        record_curves(table, options)


if __name__ == "__main__":
    main()
