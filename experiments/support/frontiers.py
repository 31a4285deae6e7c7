"""Draws what models score against what they cost: a figure per experiment and zoo.

python frontiers.py

Scores are those on test, of the rows that tell their costs; a cost is all multiply-adds per
network, those of queries too. Models that read the same are told by the brackets behind their
names.
"""

from pathlib import Path

import pandas as pd

from nn_graphs.plotting import plot_frontier, save_figure
from nn_graphs.results import latest_results, read_results

EXPERIMENTS = Path(__file__).parents[1]
METRICS = {  # of each experiment: its metric, and whether more of it is better
    "inr_classification": ("test/accuracy", True),
    "policy_classification": ("test/accuracy", True),
    "cnn_generalization": ("test/tau", True),
    "style_editing": ("test/mse", False),
}


def draw_frontiers(folder: Path, into: Path | None = None) -> list[Path]:
    """The figures of an experiment's folder, `frontier_<zoo>.png`; none where no row tells costs.

    Args:
        folder: of the experiment, with its `results.csv`.
        into: where figures go; None: beside the results.
    """
    metric, larger_is_better = METRICS[folder.name]
    table = latest_results(read_results(folder / "results.csv"))
    table = table[(table["metric"] == metric) & table["encoder_madds"].notna()]
    table = table.assign(cost=table["encoder_madds"] + table["query_madds"])
    table = table[table["cost"] > 0]
    return [
        save_figure(
            plot_frontier(
                _scores(rows),
                xlabel="multiply-adds per network",
                ylabel=metric,
                title=f"{folder.name}, {zoo}",
                larger_is_better=larger_is_better,
            ),
            (into or folder) / f"frontier_{zoo}.png",
        )
        for zoo, rows in table.groupby("zoo")
    ]


def _scores(rows: pd.DataFrame) -> dict[str, list[tuple[float, float]]]:
    """(cost, score) of every seed, by model with its options and what it reads."""
    scores = {}
    for (model, options, access), seeds in rows.groupby(["model", "options", "access"]):
        short = options.replace("encoder.model.encoder.", "").replace("encoder.model.", "")
        name = f"{model} {short}".strip()
        name = name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}..."
        pairs = zip(seeds["cost"], seeds["value"], strict=True)
        scores.setdefault(f"{name} ({access})", []).extend(pairs)
    return scores


MAX_NAME = 60


def main() -> None:
    for results in sorted(EXPERIMENTS.glob("*/results.csv")):
        if results.parent.name in METRICS:
            for path in draw_frontiers(results.parent):
                print(path.relative_to(EXPERIMENTS))


if __name__ == "__main__":
    main()
