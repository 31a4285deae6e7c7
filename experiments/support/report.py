"""What a run shows at its end: figures in its folder, and a table of all results so far."""

import logging

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_only
from support.launch import Run

from nn_graphs.plotting import plot_learning_curves, plot_scores, save_figure
from nn_graphs.results import latest_results, read_results, summarize
from nn_graphs.tasks.task import Task
from nn_graphs.training import Outcome

logger = logging.getLogger(__name__)


@rank_zero_only
def report_outcome(run: Run, task: Task, outcome: Outcome) -> None:
    """Learning curves, and the figures of the task; then the scores of all models so far."""
    name = f"{run.config.encoder.name} on {run.config.zoo.name}"
    metrics = pd.read_csv(run.folder / "metrics.csv")
    curves = plot_learning_curves(metrics, metric=task.metric, title=name)
    with np.load(run.folder / "test_outputs.npz") as arrays:
        outputs, labels = (torch.from_numpy(arrays[key]) for key in ("outputs", "labels"))
    for key, figure in {
        "learning_curves": curves,
        **task.figures(outputs, labels, title=name),
    }.items():
        save_figure(figure, run.folder / f"{key}.png")
    logger.info(
        "%s: %s %s on val, %s on test (%d parameters, %.1f minutes)",
        name,
        task.metric,
        *(
            f"{found[task.metric]:.{task.digits}f}{task.unit}"
            for found in (outcome.val, outcome.test)
        ),
        outcome.num_params,
        outcome.minutes,
    )
    others = {key: value for key, value in outcome.test.items() if key != task.metric}
    logger.info("on test: %s", ", ".join(f"{key} {value:.4g}" for key, value in others.items()))
    _report_scores(run, task)
    logger.info("Figures: %s", run.folder)


def _report_scores(run: Run, task: Task) -> None:
    """A table and a bar chart of the task's metric on test, of all models on this run's zoo."""
    metric, zoo = f"test/{task.metric}", run.config.zoo.name
    results = read_results(run.config.results)
    results = results[
        (results["task"] == run.config.task)
        & (results["zoo"] == zoo)
        & (results["metric"] == metric)
    ]
    columns = ["model", "mean", "std", "count", "params", "minutes", "options"]
    table = summarize(results)[columns].to_string(
        index=False, float_format=f"%.{task.digits}f", na_rep="-"
    )
    logger.info("%s on %s so far:\n%s", metric, zoo, table)
    scores = {
        "\n".join([model, *options.split()]): rows["value"].tolist()
        for (model, options), rows in latest_results(results).groupby(["model", "options"])
    }
    ylabel = f"{metric} ({task.unit})" if task.unit else metric
    figure = plot_scores(scores, ylabel=ylabel, title=zoo)
    save_figure(figure, run.folder.parent / f"scores_{zoo}.png")
