"""Val against steps and against minutes of one core, of finished and of unfinished runs.

    python val_curves.py outputs ../cnn_generalization/outputs --by norm --curves norm_curves.csv
    python val_curves.py outputs/encoder=product_gnn* outputs/encoder=probe_only* --by model

Takes the runs in these folders, writes their curves to a table and draws them beside it: a column a
zoo, thin lines are runs, thick ones means over seeds. `--by norm` takes runs that were given
`encoder.model.encoder.norm` by name, `--by model` all, each under the name of its encoder.
"""

import argparse
import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from nn_graphs.errors import NNGraphsError
from nn_graphs.plotting import STYLE, save_figure

FOLDER = Path(__file__).parent
NORM = "encoder.model.encoder.norm"
METRICS = {"val/accuracy": "accuracy on val (%)", "val/tau": "Kendall's tau on val"}
COUNTED = {"step": "steps", "cpu_minutes": "minutes of one core"}


def label_of(config: DictConfig, folder: Path, *, by: str) -> str | None:
    """What a run is drawn as; None: it is not drawn."""
    if by == "model":
        probes = OmegaConf.select(config, "encoder.model.encoder.num_probes")
        return f"{config.encoder.name}, {probes} probes" if probes else config.encoder.name
    return OmegaConf.select(config, NORM) if f"{NORM}=" in str(folder) else None


def collect(folders: list[Path], *, by: str) -> pd.DataFrame:
    """Curves of runs: columns zoo, label, seed, step, cpu_minutes, metric, value."""
    curves = []
    for file in sorted(path for folder in folders for path in folder.rglob("metrics.csv")):
        config = OmegaConf.load(file.with_name("config.yaml"))
        label, curve = label_of(config, file.parent, by=by), pd.read_csv(file)
        metric = next((name for name in METRICS if name in curve), None)
        if label is None or metric is None or "step" not in curve:
            continue
        curve = curve[["step", "cpu_minutes", metric]].rename(columns={metric: "value"})
        known = {"zoo": config.zoo.name, "label": label, "seed": config.seed, "metric": metric}
        curves.append(curve.assign(**known))
    if not curves:
        raise NNGraphsError(
            f"draw curves of the runs in {', '.join(map(str, folders))}",
            found=f"there is none with a {by} to tell it by.",
            do=f"Run main.py first; for --by norm with {NORM}=....",
        )
    return pd.concat(curves, ignore_index=True).round(4)


def plot(curves: pd.DataFrame) -> Figure:
    """A column a zoo; val against steps above, against minutes of a core below."""
    zoos = list(dict.fromkeys(curves["zoo"]))
    colors = {label: f"C{number}" for number, label in enumerate(sorted(set(curves["label"])))}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(zoos), 5.6))
        axes = figure.subplots(2, len(zoos), squeeze=False)
        for column, zoo in enumerate(zoos):
            runs = curves[curves["zoo"] == zoo]
            for row, (counted, label) in enumerate(COUNTED.items()):
                _draw(axes[row, column], runs, counted, colors)
                axes[row, column].set(xlabel=label, ylabel=METRICS[runs["metric"].iloc[0]])
            axes[0, column].set_title(zoo)
        figure.tight_layout()
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(),
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncols=2 * len(zoos),
        )
    return figure


def _draw(axes: mpl.axes.Axes, runs: pd.DataFrame, counted: str, colors: dict[str, str]) -> None:
    """Each run as a thin line, the mean over seeds of each epoch as a thick one."""
    for name, curves in runs.groupby("label"):
        color = colors[name]
        for _, run in curves.groupby("seed"):
            axes.plot(run[counted], run["value"], color=color, alpha=0.25, linewidth=0.8)
        epochs = curves.assign(epoch=curves.groupby("seed").cumcount()).groupby("epoch")
        is_whole = epochs.size() == curves["seed"].nunique()
        means = epochs[[counted, "value"]].mean()[is_whole]
        axes.plot(means[counted], means["value"], color=color, label=name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*", default=[FOLDER / "outputs"])
    parser.add_argument("--by", choices=("norm", "model"), default="norm")
    parser.add_argument("--curves", type=Path, default=FOLDER / "val_curves.csv")
    parser.add_argument(
        "--redraw", action="store_true", help="draw the curves that are written, collect none"
    )
    options = parser.parse_args()
    try:
        if not options.redraw:
            collect(options.folders, by=options.by).to_csv(options.curves, index=False)
        figure = plot(pd.read_csv(options.curves))
    except NNGraphsError as error:
        sys.exit(f"error: {error}")
    print(save_figure(figure, options.curves.with_suffix(".png")))


if __name__ == "__main__":
    main()
