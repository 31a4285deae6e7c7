"""How well does the structure of a graph predict the error of its network?

python predict.py                            # published MLPs, 3,942 graphs; needs the data root
python predict.py --task resnet34_imagenet

Predictors are cross-validated graph by graph; rows go to results.csv.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.paths import default_data_root
from support.relational import script_row

from nn_graphs.relational_results import (
    TASKS,
    GraphRegressor,
    mean_errors,
    noise_ceiling,
    polynomial,
    predict_errors,
    read_graphs,
    read_published,
    without_baseline,
)
from nn_graphs.results import ResultRow, append_rows
from nn_graphs.structure import MEASURES, Adjacencies, measure_graphs, ws_flex_graphs

RESULTS = Path(__file__).with_name("results.csv")
LEFT_OUT = ("degree_assortativity",)  # undefined for regular graphs
PLANE = ("clustering", "path_length")
NAMED_OTHERWISE = ("average_clustering", "average_path_length", *PLANE)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="mlp_cifar10", choices=list(TASKS))
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    options = parser.parse_args()
    root = default_data_root() / "graph2nn"
    runs = read_published(root, tasks=[options.task])
    ceiling = noise_ceiling(runs)
    errors = without_baseline(mean_errors(runs)).reset_index(drop=True)
    graphs = read_graphs(root, TASKS[options.task].graphs)
    adjacency = adjacency_of(graphs)
    measures = measure_table(adjacency, graphs.index)
    errors = errors.join(measures, on="graph_id")
    boosting = HistGradientBoostingRegressor(
        max_iter=300, learning_rate=0.05, max_leaf_nodes=15, l2_regularization=1.0, random_state=0
    )
    everything = (*PLANE, *measures.columns)
    quadratic = make_pipeline(StandardScaler(), polynomial(2))
    predictors = {
        "linear": (polynomial(1), PLANE),
        "quadratic": (polynomial(2), PLANE),
        "boosting": (boosting, PLANE),
        "quadratic, all measures": (quadratic, everything),
        "boosting, all measures": (boosting, everything),
        "graph network": (GraphRegressor(), None),
    }
    print(f"{options.task}: {len(errors)} graphs; R2 that seeds leave to explain: {ceiling}")
    for name, (regressor, used) in predictors.items():
        start = time.perf_counter()
        inputs = {"adjacency": adjacency} if used is None else {"measures": used}
        found = predict_errors(errors, regressor, **inputs)
        minutes = (time.perf_counter() - start) / 60
        print(f"{name}: R2 {found.r2:.3f}, Spearman {found.spearman:.3f}, fit {found.r2_fit:.3f}")
        scores = {"val/r2": found.r2, "val/spearman": found.spearman, "val/kendall": found.kendall}
        scores |= {"fit/r2": found.r2_fit, "ceiling/r2": ceiling.share}
        rows = [row(options.task, name, *score, minutes) for score in scores.items()]
        append_rows(options.results, rows)


def adjacency_of(graphs: pd.DataFrame) -> Adjacencies:
    """The graphs of a published array."""
    return ws_flex_graphs(
        int(graphs["num_nodes"].iloc[0]),
        graphs["sparsity"].to_numpy(),
        graphs["rewiring"].to_numpy(),
        graphs["graph_seed"].to_numpy(),
    )


def measure_table(adjacency: Adjacencies, graph_ids: pd.Index) -> pd.DataFrame:
    """Measures of graphs beside C and L, indexed by `graph_id`."""
    names = [name for name in MEASURES if name not in (*LEFT_OUT, *NAMED_OTHERWISE)]
    return pd.DataFrame(measure_graphs(adjacency, names), index=graph_ids)


def row(task: str, model: str, metric: str, value: float, minutes: float) -> ResultRow:
    """A result row; parameters of these predictors are not counted."""
    return script_row("error_from_structure", model, task, metric, value, minutes)


if __name__ == "__main__":
    main()
