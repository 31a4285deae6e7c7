"""How much of networks' accuracy their structure explains, on structures that were not fitted to.

After Stier & Granitzer (Procedia Computer Science 159, 2019), who quote an R2 of .9314 for their
best predictor. Every structure is one row, its accuracy the mean over its seeds, so that all runs
of a structure are in one fold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.model_selection import KFold

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.sparse_structure.dag_encoder import DAGRegressor
from nn_graphs.structure.layered_graph import LayeredGraph
from nn_graphs.structure_performance.probe_scores import ProbeScores, score_predictions
from nn_graphs.structure_performance.probes import Probe, fit_quadratic, fit_ridge, fit_trees

SIZES = ("num_nodes", "num_edges", "num_layers")
GRAPH_ENCODER = "graph_encoder"

Values = Float[np.ndarray, " N"]


@dataclass(frozen=True)
class PropertyPredictor:
    """A probe of properties.

    Attributes:
        fit: see `nn_graphs.structure_performance.probes`.
        columns: of the properties; None: all.
    """

    fit: Probe
    columns: tuple[str, ...] | None = None


PREDICTORS: dict[str, PropertyPredictor | None] = {
    "size_linear": PropertyPredictor(fit_ridge, SIZES),
    "size_boosted_trees": PropertyPredictor(fit_trees, SIZES),
    "linear": PropertyPredictor(fit_ridge),
    "quadratic": PropertyPredictor(fit_quadratic),
    "boosted_trees": PropertyPredictor(fit_trees),
    GRAPH_ENCODER: None,
}
"""By name; `None` stands for the graph encoder, which sees the graphs themselves."""


@dataclass(frozen=True, eq=False)
class StructurePrediction:
    """What a predictor says of structures.

    Attributes:
        scores: of the predictions, each by a model that saw other structures alone.
        r2_fitted: of a model fitted to and scored on all structures.
        predicted: these predictions, in the order of the structures.
    """

    scores: ProbeScores
    r2_fitted: float
    predicted: Values


def predict_accuracy(
    name: str,
    graphs: Sequence[LayeredGraph],
    properties: pd.DataFrame,
    accuracies: Values,
    *,
    num_folds: int = 5,
    seed: int = 0,
) -> StructurePrediction:
    """Cross-validates a predictor.

    Args:
        name: one of `PREDICTORS`; what it has to choose, it chooses inside of what it is fitted to.
        graphs: the structures, each once.
        properties: of each, see `property_table`.
        accuracies: of each.
        num_folds: that structures are shuffled into.
        seed: of the shuffle, and of the graph encoder.

    Raises:
        NNGraphsError: the predictor is unknown, numbers of rows differ, there are fewer than two
            structures a fold, or all accuracies are equal.
    """
    check_known(name, PREDICTORS, asked=f"predict accuracies by {name!r}")
    _check(len(graphs), len(properties), len(accuracies), num_folds)
    fit = _fit_encoder(graphs, seed) if PREDICTORS[name] is None else _fit_probe(name, properties)
    every = np.arange(len(graphs))
    predicted = np.empty(len(graphs))
    for seen, unseen in KFold(num_folds, shuffle=True, random_state=seed).split(every):
        predicted[unseen] = fit(seen, accuracies[seen])(unseen)
    fitted = fit(every, accuracies)(every)
    r2_fitted = score_predictions(fitted, accuracies).r2
    return StructurePrediction(score_predictions(predicted, accuracies), r2_fitted, predicted)


Predict = Callable[[np.ndarray], Values]
Fit = Callable[[np.ndarray, Values], Predict]


def _fit_probe(name: str, properties: pd.DataFrame) -> Fit:
    predictor = PREDICTORS[name]
    assert predictor is not None
    columns = list(properties) if predictor.columns is None else list(predictor.columns)
    features = properties[columns].to_numpy(float)

    def fit(places: np.ndarray, labels: Values) -> Predict:
        probe = predictor.fit(features[places], labels, places)
        return lambda others: probe.predict(features[others])

    return fit


def _fit_encoder(graphs: Sequence[LayeredGraph], seed: int) -> Fit:
    def fit(places: np.ndarray, labels: Values) -> Predict:
        regressor = DAGRegressor(seed=seed).fit([graphs[place] for place in places], labels)
        return lambda others: regressor.predict([graphs[place] for place in others])

    return fit


def _check(num_graphs: int, num_rows: int, num_labels: int, num_folds: int) -> None:
    if len({num_graphs, num_rows, num_labels}) > 1 or not 2 <= num_folds <= num_graphs // 2:
        raise NNGraphsError(
            f"predict accuracies of {num_graphs} structures in {num_folds} folds",
            found=f"there are {num_rows} rows of properties and {num_labels} accuracies.",
            do="Give one of each a structure, two folds or more, and two structures a fold.",
        )
