"""Puts the results of every experiment into its README, between the two marks.

python tables.py
"""

import re
from pathlib import Path

import pandas as pd

from nn_graphs.results import read_results, summarize
from nn_graphs.structure_performance.published_correlations import DATASETS, published

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


def error_table(folder: Path) -> str:
    """Mean squared errors of edited INRs on val and test, of unedited ones, and their quotient."""
    metrics = {
        "val MSE": "val/mse",
        "test MSE": "test/mse",
        "unedited": "test/unedited_mse",
        "test MSE / unedited": "test/share",
    }
    return score_table(folder, metrics, digits=4)


def optimizer_table(folder: Path) -> str:
    """A row per task and optimizer: test quality, losses, and how soon it is where Adam gets."""
    summary = summarize(read_results(folder / "results.csv"))
    metrics = {
        "test quality": ("test/quality", 3),
        "test loss": ("test/loss", 3),
        "val loss": ("val/loss", 4),
        "speed-up": ("speedup", 2),
        "diverged": ("diverged", 2),
        "ms a step": ("milliseconds", 2),
    }
    values = summary.pivot(index=STRUCTURE_INDEX, columns="metric", values=["mean", "std", "count"])
    rows = [
        [
            zoo,
            model,
            options,
            f"{max(row['count'].dropna()):.0f}",
            *(
                _mean_and_deviation(row, metric, digits=digits) if ("mean", metric) in row else ""
                for metric, digits in metrics.values()
            ),
        ]
        for (zoo, model, options), row in values.iterrows()
    ]
    return _markdown(["tested on", "optimizer", "options", "seeds", *metrics], rows)


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


STRUCTURE_ROWS = {
    "vgae_ea_tc_lf": "EA+TC+LF",
    "vgae_ea_gc_lf": "EA+GC+LF",
    "vgae_gc_lf": "GC+LF",
    "vgae_gc_rf": "GC+RF",
}
STRUCTURE_INDEX = ["zoo", "model", "options"]
PUBLISHED_AS = {"tiny_imagenet": "imagenet"}  # data sets by other names


def structure_tables(folder: Path) -> str:
    """Correlations of both protocols with train and test performance, then what else was found."""
    summary = summarize(read_results(folder / "results.csv"))
    parts = [
        f"\n### {side.capitalize()} performance\n{correlation_table(summary, side)}"
        for side in ("train", "test")
    ]
    others = {
        "silhouette": "silhouette",
        "distances": "mantel/correlation",
        "its p": "mantel/p",
        "picks at 10 %": "selection/10%",
        "at 50 %": "selection/50%",
        "same run": "fingerprint/recall",
        "permuted": "fingerprint/permuted",
    }
    rows = [
        [*index, *(_mean_and_variance(row, metric) for metric in others.values())]
        for index, row in _by_model(summary, [*others.values()]).iterrows()
    ]
    title = "\n### Space, selection and fingerprints\n"
    return "".join([*parts, title, _markdown([*STRUCTURE_INDEX, *others], rows)])


def correlation_table(summary: pd.DataFrame, side: str) -> str:
    """A row per zoo and model; the published Pearson correlation beside ours."""
    metrics = {
        "Pearson, random": f"random/{side}/pearson",
        "Pearson, run-disjoint": f"run_disjoint/{side}/pearson",
        "Spearman, run-disjoint": f"run_disjoint/{side}/spearman",
        "Kendall, run-disjoint": f"run_disjoint/{side}/kendall",
        "R2, run-disjoint": f"run_disjoint/{side}/r2",
    }
    rows = [
        [
            zoo,
            model,
            short_options(options),
            f"{max(row['count'].dropna()):.0f}",
            _published(zoo, model, side),
            *(_mean_and_variance(row, metric) for metric in metrics.values()),
        ]
        for (zoo, model, options), row in _by_model(summary, [*metrics.values()]).iterrows()
    ]
    return _markdown([*STRUCTURE_INDEX, "seeds", "published", *metrics], rows)


SPARSE_INDEX = ["zoo", "options", "model"]
TICKET_MEASURES = {
    "test_accuracy": ("Test accuracy in percent", 1),
    "live_neurons": (
        "Share of the hidden neurons that lie on a path from an input to an output",
        2,
    ),
    "useful_edges": ("Share of the weights left that lie on such a path", 2),
    "joined_pairs": ("Share of the pairs of an input and an output with a path between them", 2),
    "top_neurons": ("Share of the weights of the tenth of the hidden neurons with most", 2),
    "log10_paths": ("Logarithm (base 10) of the number of paths from inputs to outputs", 1),
}


def sparse_structure_tables(folder: Path) -> str:
    """What each study of sparse structures has found, as far as there are rows of it."""
    summary = summarize(read_results(folder / "results.csv"))
    tables = {
        "accuracy_from_structure": ("Accuracy from structure", structure_prediction_table),
        "lottery_tickets": ("Lottery tickets", ticket_tables),
        "structure_search": ("Search for structures", search_table),
    }
    parts = dict(list(summary.groupby("task")))
    return "".join(
        f"\n### {title}\n{table(parts[task])}"
        for task, (title, table) in tables.items()
        if task in parts
    )


def structure_prediction_table(summary: pd.DataFrame) -> str:
    """How well accuracies are predicted, and the R2 that training seeds leave to be explained."""
    values = summary.pivot(index=SPARSE_INDEX, columns="metric", values="mean")
    metrics = ["fit/r2", "val/r2", "val/spearman", "val/kendall"]
    rows = []
    for (zoo, options, model), row in values.iterrows():
        if model != "networks":
            networks = values.loc[(zoo, options, "networks")]
            own = [row[metric] for metric in metrics] + [networks.get("ceiling/r2", float("nan"))]
            rows.append([zoo, options, model, *(f"{value:.3f}" for value in own)])
    columns = ["data", "options", "predictor", "R2 fitted", "R2", "Spearman", "Kendall"]
    return _markdown([*columns, "R2 ceiling"], rows)


def ticket_tables(summary: pd.DataFrame) -> str:
    """A table for each measure, with a row for each way of pruning and a column a density."""
    names = summary["metric"].str.split("/", n=1, expand=True)
    shares = names[0].str.removesuffix("%").astype(float)
    table = summary.assign(measure=names[1], share=shares)
    parts = []
    for measure, (title, digits) in TICKET_MEASURES.items():
        own = table[table["measure"] == measure]
        values = own.pivot(index=SPARSE_INDEX, columns="share", values=["mean", "std", "count"])
        densities = sorted(own["share"].unique(), reverse=True)
        rows = [
            [
                *index,
                f"{row['count'].max():.0f}",
                *(_mean_of(row["mean", d], row["std", d], digits=digits) for d in densities),
            ]
            for index, row in values.iterrows()
        ]
        columns = ["data", "options", "method", "seeds", *(f"{d:g} %" for d in densities)]
        parts.append(f"\n{title}:\n{_markdown(columns, rows)}")
    return "".join(parts)


def search_table(summary: pd.DataFrame) -> str:
    """What was found by each way of searching."""
    metrics = {
        "first generation, val": "first/accuracy",
        "best network, val": "best/accuracy",
        "chosen structure, val": "val/accuracy",
        "chosen structure, test": "test/accuracy",
        "layers": "num_layers",
    }
    values = summary.pivot(index=SPARSE_INDEX, columns="metric", values=["mean", "std", "count"])
    params = summary.groupby(SPARSE_INDEX)["params"].first()
    rows = [
        [
            *index,
            f"{row['count'].max():.0f}",
            *(_mean_of(row["mean", m], row["std", m], digits=1) for m in metrics.values()),
            f"{params[index]:.0f}",
        ]
        for index, row in values.iterrows()
    ]
    return _markdown(["data", "options", "search", "seeds", *metrics, "weights"], rows)


def _by_model(summary: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """A row per zoo, model and options; of each metric mean, deviation and number of seeds."""
    chosen = summary[summary["metric"].isin(metrics)]
    return chosen.pivot(index=STRUCTURE_INDEX, columns="metric", values=["mean", "std", "count"])


def _published(zoo: str, model: str, side: str) -> str:
    """The published correlation of a row, where there is one of this data set."""
    dataset = zoo.split("_trajectories")[0]
    dataset = PUBLISHED_AS.get(dataset, dataset)
    if model not in STRUCTURE_ROWS or dataset not in DATASETS:
        return ""
    return f"{published(STRUCTURE_ROWS[model], dataset, side):.2f}"


def _mean_and_variance(row: pd.Series, metric: str) -> str:
    """As published: the variance over seeds in brackets."""
    if ("mean", metric) not in row or pd.isna(row["mean", metric]):
        return ""
    mean, std = row["mean", metric], row["std", metric]
    return f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ({std**2:.4f})"


def _mean_and_deviation(row: pd.Series, metric: str, *, digits: int) -> str:
    return _mean_of(row["mean", metric], row["std", metric], digits=digits)


def _mean_of(mean: float, std: float, *, digits: int) -> str:
    """Of one seed without a deviation; nothing where there is none."""
    if pd.isna(mean):
        return ""
    return f"{mean:.{digits}f}" if pd.isna(std) else f"{mean:.{digits}f} ± {std:.{digits}f}"


def _markdown(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


TABLES = {
    "benchmarks": speed_table,
    "cnn_generalization": tau_table,
    "learning_to_optimize": optimizer_table,
    "relational_graphs": relational_tables,
    "sparse_structure": sparse_structure_tables,
    "structure_performance": structure_tables,
    "style_editing": error_table,
}


def main() -> None:
    for results in sorted(EXPERIMENTS.glob("*/results.csv")):
        readme = results.with_name("README.md")
        readme.write_text(render_readme(results.parent), encoding="utf-8")
        print(f"{readme.relative_to(EXPERIMENTS)} is up to date")


if __name__ == "__main__":
    main()
