"""What the norm between the layers of NG-GNN does to its training: val against steps and time.

    python main.py --multirun encoder=ng_gnn trainer=budget trainer.max_cpu_minutes=1.5 \\
        encoder.model.encoder.norm=published,graph,running,layer,rms seed=0,1,2
    python norm_curves.py outputs ../cnn_generalization/outputs

Takes the runs in these folders that were given a `norm` by name, writes their curves to
`norm_curves.csv` and draws them in `norm_curves.png`: a column a zoo, lines are means over seeds.
"""

import argparse
import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from nn_graphs.encoders.norms import NORM_NAMES
from nn_graphs.errors import NNGraphsError
from nn_graphs.plotting import STYLE, save_figure

FOLDER = Path(__file__).parent
METRICS = {"val/accuracy": "accuracy on val (%)", "val/tau": "Kendall's tau on val"}
COUNTED = {"step": "steps", "cpu_minutes": "minutes of one core"}


def collect(folders: list[Path]) -> pd.DataFrame:
    """Curves of all runs with a norm: columns zoo, norm, seed, step, cpu_minutes, metric, value."""
    curves = []
    for file in sorted(path for folder in folders for path in folder.rglob("metrics.csv")):
        config = OmegaConf.load(file.with_name("config.yaml"))
        norm = OmegaConf.select(config, "encoder.model.encoder.norm")
        curve = pd.read_csv(file)
        metric = next((name for name in METRICS if name in curve), None)
        if norm is None or metric is None or "step" not in curve or "norm=" not in str(file.parent):
            continue
        curve = curve[["step", "cpu_minutes", metric]].rename(columns={metric: "value"})
        known = {"zoo": config.zoo.name, "norm": norm, "seed": config.seed, "metric": metric}
        curves.append(curve.assign(**known))
    if not curves:
        raise NNGraphsError(
            f"draw curves of the runs in {', '.join(map(str, folders))}",
            found="none of them was given a norm by name.",
            do="Run main.py with encoder.model.encoder.norm=... first.",
        )
    return pd.concat(curves, ignore_index=True).round(4)


def plot(curves: pd.DataFrame) -> Figure:
    """A column a zoo; val against steps above, against minutes of a core below."""
    zoos = list(dict.fromkeys(curves["zoo"]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(zoos), 5.6))
        axes = figure.subplots(2, len(zoos), squeeze=False)
        for column, zoo in enumerate(zoos):
            runs = curves[curves["zoo"] == zoo]
            for row, (counted, label) in enumerate(COUNTED.items()):
                _draw(axes[row, column], runs, counted)
                axes[row, column].set(xlabel=label, ylabel=METRICS[runs["metric"].iloc[0]])
            axes[0, column].set_title(zoo)
        axes[0, 0].legend()
        figure.tight_layout()
    return figure


def _draw(axes: mpl.axes.Axes, runs: pd.DataFrame, counted: str) -> None:
    """Each run as a thin line, the mean over seeds of each epoch as a thick one."""
    names = [name for name in NORM_NAMES if name in set(runs["norm"])]
    for name in names:
        color = f"C{NORM_NAMES.index(name)}"
        of_norm = runs[runs["norm"] == name]
        for _, run in of_norm.groupby("seed"):
            axes.plot(run[counted], run["value"], color=color, alpha=0.25, linewidth=0.8)
        epochs = of_norm.assign(epoch=of_norm.groupby("seed").cumcount()).groupby("epoch")
        is_whole = epochs.size() == of_norm["seed"].nunique()
        means = epochs[[counted, "value"]].mean()[is_whole]
        axes.plot(means[counted], means["value"], color=color, label=name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*", default=[FOLDER / "outputs"])
    parser.add_argument("--curves", type=Path, default=FOLDER / "norm_curves.csv")
    parser.add_argument(
        "--redraw", action="store_true", help="draw the curves that are written, collect none"
    )
    options = parser.parse_args()
    try:
        if not options.redraw:
            collect(options.folders).to_csv(options.curves, index=False)
        figure = plot(pd.read_csv(options.curves))
    except NNGraphsError as error:
        sys.exit(f"error: {error}")
    print(save_figure(figure, options.curves.with_suffix(".png")))


if __name__ == "__main__":
    main()
