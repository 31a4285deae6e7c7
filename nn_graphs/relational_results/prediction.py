"""How much of networks' errors the structure of their graphs explains, on graphs not seen before.

Predictors are regressors of scikit-learn, so that a linear or a quadratic function of clustering
and path length, any other model of any measures, and a graph network that sees the graph itself
(`encoder`) are compared in the same way. The mark of any
learned encoder of structure on the published MLPs is the quadratic's R2 of .557 (within the
sample); what training seeds leave to be explained at all is `noise_ceiling`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import stats
from sklearn.base import RegressorMixin, clone
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from nn_graphs.errors import NNGraphsError
from nn_graphs.relational_results.table import STRUCTURE, check_single, without_baseline


@dataclass(frozen=True)
class Prediction:
    """How well a regressor predicts mean errors.

    Attributes:
        r2_fit: fitted to and scored on all graphs.
        r2: cross-validated: of all predictions together, each by a model that saw other graphs.
        spearman, kendall: rank correlations of the same predictions with the errors; NaN where
            either are all equal.
        predicted: these predictions, indexed by `graph_id`.
    """

    r2_fit: float
    r2: float
    spearman: float
    kendall: float
    predicted: pd.Series


def polynomial(degree: int) -> Pipeline:
    """Least squares in all products of up to `degree` measures: 1 is linear, 2 quadratic."""
    return make_pipeline(PolynomialFeatures(degree, include_bias=False), LinearRegression())


def predict_errors(
    errors: pd.DataFrame,
    regressor: RegressorMixin | Pipeline,
    *,
    measures: Sequence[str] = tuple(STRUCTURE),
    adjacency: Bool[np.ndarray, "all n n"] | None = None,
    num_folds: int = 10,
    seed: int = 0,
) -> Prediction:
    """Cross-validates a regressor from structure to mean error, graph by graph.

    All runs of a graph are in one row and so in one fold. The baseline is left out: it is no draw
    from the family.

    Args:
        errors: of one task and epoch, as `mean_errors` returns them, and columns of further
            measures if wanted.
        regressor: of scikit-learn; it is cloned.
        measures: the columns to predict from.
        adjacency: of the graphs by `graph_id`, to predict from instead: the regressor is given
            matrices `[N, n, n]`, as `GraphRegressor` takes them.
        num_folds: graphs are shuffled into.
        seed: of the shuffle.

    Raises:
        NNGraphsError: several tasks or epochs, a measure is missing or not finite, graphs are not
            among the matrices, or there are fewer graphs than folds.
    """
    check_single(errors, "predict errors from structure")
    graphs = without_baseline(errors).sort_values("graph_id")
    features = _features(graphs, measures) if adjacency is None else _matrices(graphs, adjacency)
    labels = graphs["error"].to_numpy(float)
    if len(graphs) < max(num_folds, 3):
        raise NNGraphsError(
            f"cross-validate in {num_folds} folds",
            found=f"there are {len(graphs)} graphs.",
            do="Give fewer folds or more graphs.",
        )
    predicted = np.empty(len(labels))
    for seen, unseen in KFold(num_folds, shuffle=True, random_state=seed).split(features):
        model = clone(regressor).fit(features[seen], labels[seen])
        predicted[unseen] = model.predict(features[unseen])
    fitted = clone(regressor).fit(features, labels).predict(features)
    return Prediction(
        r2_fit=float(r2_score(labels, fitted)),
        r2=float(r2_score(labels, predicted)),
        spearman=_rank_correlation(stats.spearmanr, labels, predicted),
        kendall=_rank_correlation(stats.kendalltau, labels, predicted),
        predicted=pd.Series(predicted, graphs["graph_id"].to_numpy(), name="predicted"),
    )


def _rank_correlation(
    statistic: Callable, labels: Float[np.ndarray, " N"], predicted: Float[np.ndarray, " N"]
) -> float:
    if not (np.ptp(labels) and np.ptp(predicted)):
        return float("nan")
    return float(statistic(labels, predicted).statistic)


def _features(graphs: pd.DataFrame, measures: Sequence[str]) -> Float[np.ndarray, "N measures"]:
    missing = [measure for measure in measures if measure not in graphs]
    if missing:
        raise NNGraphsError(
            f"predict from {', '.join(measures)}",
            found=f"the table has no column {missing[0]}.",
            do=f"Choose of: {', '.join(graphs.columns)}.",
        )
    features = graphs[list(measures)].to_numpy(float)
    if not np.isfinite(features).all():
        column = int(np.flatnonzero(~np.isfinite(features).all(axis=0))[0])
        raise NNGraphsError(
            f"predict from {', '.join(measures)}",
            found=f"some graph's {measures[column]} is not finite.",
            do="Leave the measure or the graph out.",
        )
    return features


def _matrices(
    graphs: pd.DataFrame, adjacency: Bool[np.ndarray, "all n n"]
) -> Bool[np.ndarray, "N n n"]:
    ids = graphs["graph_id"].to_numpy(int)
    if ids.max(initial=-1) >= len(adjacency):
        raise NNGraphsError(
            f"predict from {len(adjacency)} graphs",
            found=f"the table has a graph {ids.max()}.",
            do="Give the adjacency matrices of all graphs, in the order of graph_id.",
        )
    return adjacency[ids]
