"""What relational graphs do to errors: published and own runs, and their analysis."""

from nn_graphs.relational_results.cells import COARSE_GRIDS, CellGrid, cell_errors
from nn_graphs.relational_results.correlations import (
    cells_by_task,
    correlate_counts,
    correlate_epochs,
    correlate_subset,
    correlate_tasks,
)
from nn_graphs.relational_results.curves import Curve, fit_curve
from nn_graphs.relational_results.encoder import GraphRegressor
from nn_graphs.relational_results.prediction import Prediction, polynomial, predict_errors
from nn_graphs.relational_results.published import (
    EVERY_EPOCH,
    TASKS,
    nested_ids,
    read_graphs,
    read_published,
)
from nn_graphs.relational_results.sweet_spot import (
    SweetSpot,
    cell_sweet_spot,
    graph_sweet_spot,
    tied_best,
)
from nn_graphs.relational_results.table import (
    BASELINE,
    check_runs,
    final_runs,
    handle_missing,
    mean_errors,
    missing_runs,
    noise_ceiling,
    without_baseline,
)

__all__ = [
    "BASELINE",
    "COARSE_GRIDS",
    "EVERY_EPOCH",
    "TASKS",
    "CellGrid",
    "Curve",
    "GraphRegressor",
    "Prediction",
    "SweetSpot",
    "cell_errors",
    "cell_sweet_spot",
    "cells_by_task",
    "check_runs",
    "correlate_counts",
    "correlate_epochs",
    "correlate_subset",
    "correlate_tasks",
    "final_runs",
    "fit_curve",
    "graph_sweet_spot",
    "handle_missing",
    "mean_errors",
    "missing_runs",
    "nested_ids",
    "noise_ceiling",
    "polynomial",
    "predict_errors",
    "read_graphs",
    "read_published",
    "tied_best",
    "without_baseline",
]
