"""What a run of CNN generalization shows at its end: predicted against true accuracies."""

import logging

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_only
from support.launch import Run
from support.reports import report_scores

from nn_graphs.plotting import plot_learning_curves, plot_predictions, save_figure
from nn_graphs.tasks.generalization import Generalization
from nn_graphs.training import Outcome

logger = logging.getLogger(__name__)


@rank_zero_only
def report_generalization(run: Run, task: Generalization, outcome: Outcome) -> None:
    """Learning curves and a scatter plot; then the scores of all models so far."""
    name = f"{run.config.encoder.name} on {run.config.zoo.name}"
    metrics = pd.read_csv(run.folder / "metrics.csv")
    curves = plot_learning_curves(metrics, metric=task.metric, title=name)
    save_figure(curves, run.folder / "learning_curves.png")
    arrays = np.load(run.folder / "test_outputs.npz")
    predictions = task.predictions(torch.from_numpy(arrays["outputs"])).numpy()
    scatter = plot_predictions(
        predictions,
        arrays["labels"],
        quantity="accuracy",
        title=f"{name}: tau {outcome.test['tau']:.3f} of at most {outcome.test['tau_ceiling']:.3f}",
    )
    save_figure(scatter, run.folder / "predictions.png")
    logger.info(
        "%s: tau %.3f on val; on test tau %.3f of at most %.3f, R2 %.3f, L1 %.4f "
        "(%d parameters, %.1f minutes)",
        name,
        outcome.val["tau"],
        *(outcome.test[metric] for metric in ("tau", "tau_ceiling", "r2", "l1")),
        outcome.num_params,
        outcome.minutes,
    )
    report_scores(run, "test/tau", unit="", digits=3)
    logger.info("Figures: %s", run.folder)
