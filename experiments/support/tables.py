"""Puts the results of every experiment into its README, between the two marks.

python tables.py
"""

import re
from pathlib import Path

import pandas as pd

from nn_graphs.results import read_results, summarize

EXPERIMENTS = Path(__file__).parents[1]
MARKED = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)


def render_readme(folder: Path) -> str:
    """The README of an experiment's folder with its `results.csv` as a table."""
    table = TABLES.get(folder.name, accuracy_table)(folder)
    text = (folder / "README.md").read_text(encoding="utf-8")
    return MARKED.sub(lambda marks: marks[1] + table + marks[2], text)


def short_options(options: str) -> str:
    """Options of result rows as a reader wants them: those of the encoder by their own names."""
    return options.replace("encoder.model.encoder.", "")


def accuracy_table(folder: Path) -> str:
    """Test and val accuracy of every zoo and model."""
    return score_table(folder, {"val": "val/accuracy", "test": "test/accuracy"}, digits=1)


def tau_table(folder: Path) -> str:
    """Kendall's tau-b on val and test, and on test its share of the ceiling and R2."""
    metrics = {
        "val tau": "val/tau",
        "test tau": "test/tau",
        "test tau / ceiling": "test/tau_of_ceiling",
        "test R2": "test/r2",
    }
    return score_table(folder, metrics, digits=3)


def score_table(folder: Path, metrics: dict[str, str], *, digits: int) -> str:
    """A row per zoo, model and options; metrics, by the names of their columns, over seeds."""
    summary = summarize(read_results(folder / "results.csv"))
    summary = summary[summary["metric"].isin(metrics.values())]
    index = ["zoo", "model", "options", "params", "count"]
    rows = [
        [
            zoo,
            model,
            short_options(options),
            f"{params:,.0f}",
            f"{count}",
            *(_mean_and_deviation(row, metric, digits=digits) for metric in metrics.values()),
        ]
        for (zoo, model, options, params, count), row in summary.pivot(
            index=index, columns="metric"
        ).iterrows()
    ]
    return _markdown(["zoo", "model", "options", "parameters", "seeds", *metrics], rows)


def speed_table(folder: Path) -> str:
    """The last row of every question."""
    table = pd.read_csv(folder / "results.csv")
    table = table.drop_duplicates(["question", "setting", "device"], keep="last")
    columns = ["question", "setting", "unit", "plain", "ours", "ratio", "remark", "device"]
    return _markdown(columns, table[columns].fillna("").astype(str).to_numpy().tolist())


def relational_tables(folder: Path) -> str:
    """How well errors are predicted from structure, and what sweeps selected."""
    summary = summarize(read_results(folder / "results.csv"))
    tables = {"error_from_structure": prediction_table, "sweep": sweep_table}
    parts = summary.groupby("task")
    return "".join(tables[task](part) for task, part in parts if task in tables)


def prediction_table(summary: pd.DataFrame) -> str:
    """How well errors are predicted, and the R2 that training seeds leave to be explained."""
    values = summary.pivot(index=["zoo", "model"], columns="metric", values="mean")
    metrics = ["fit/r2", "val/r2", "val/spearman", "val/kendall", "ceiling/r2"]
    rows = [
        [*names, *(f"{row[metric]:.3f}" for metric in metrics)] for names, row in values.iterrows()
    ]
    columns = ["task", "predictor", "R2 fitted", "R2", "Spearman", "Kendall", "R2 ceiling"]
    return _markdown(columns, rows)


def sweep_table(summary: pd.DataFrame) -> str:
    """How many graphs were selected, and in what time."""
    index = ["zoo", "options", "minutes"]
    values = summary.pivot(index=index, columns="metric", values="mean")
    rows = [
        [
            nodes,
            options,
            f"{row['graphs']:,.0f}",
            f"{row.get('published_rows', float('nan')):,.0f}",
            f"{row['looked_at']:,.0f}",
            f"{minutes:.1f}",
            f"{row['processor_minutes']:.1f}",
        ]
        for (nodes, options, minutes), row in values.iterrows()
    ]
    columns = ["graphs of", "candidates", "selected", "as published", "looked at in one go"]
    columns += ["minutes", "processor minutes"]
    return _markdown(columns, rows)


def _mean_and_deviation(row: pd.Series, metric: str, *, digits: int) -> str:
    mean, std = row["mean", metric], row["std", metric]
    return f"{mean:.{digits}f}" if pd.isna(std) else f"{mean:.{digits}f} ± {std:.{digits}f}"


def _markdown(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


TABLES = {
    "benchmarks": speed_table,
    "cnn_generalization": tau_table,
    "relational_graphs": relational_tables,
}


def main() -> None:
    for results in sorted(EXPERIMENTS.glob("*/results.csv")):
        readme = results.with_name("README.md")
        readme.write_text(render_readme(results.parent), encoding="utf-8")
        print(f"{readme.relative_to(EXPERIMENTS)} is up to date")


if __name__ == "__main__":
    main()
