"""Synthetic runs of relational graphs."""

import numpy as np
import pandas as pd

from nn_graphs.relational_results import BASELINE

SEEDS = (1, 2, 3)


def make_runs(
    errors: dict[int, list[float]],
    *,
    structures: dict[int, tuple[float, float]] | None = None,
    task: str = "mlp",
    epoch: int = 10,
) -> pd.DataFrame:
    """Runs with the given top-1 errors per graph, seeds counted from 1.

    Without `structures` graph `i` has clustering `0.1 i` and path length `1 + 0.3 i`.
    """
    structures = structures or {}
    rows = []
    for graph_id, values in errors.items():
        usual = (1.0, 1.0) if graph_id == BASELINE else (0.1 * graph_id, 1 + 0.3 * graph_id)
        clustering, path_length = structures.get(graph_id, usual)
        for seed, value in enumerate(values, start=1):
            rows.append((task, epoch, graph_id, seed, clustering, path_length, value))
    columns = ["task", "epoch", "graph_id", "train_seed", "clustering", "path_length", "top1_error"]
    return pd.DataFrame(rows, columns=columns)


def random_runs(
    num_graphs: int, *, noise: float, seed: int = 0, num_seeds: int = 5, task: str = "mlp"
) -> pd.DataFrame:
    """Runs whose error is `30 + 4 (C - 0.4)^2 + (L - 2.2)^2` and normal noise of a seed."""
    rng = np.random.default_rng(seed)
    clustering, path_length = rng.uniform(0, 1, num_graphs), rng.uniform(1, 4.5, num_graphs)
    means = 30 + 4 * (clustering - 0.4) ** 2 + (path_length - 2.2) ** 2
    values = means[:, None] + noise * rng.normal(size=(num_graphs, num_seeds))
    structures = dict(enumerate(zip(clustering.tolist(), path_length.tolist(), strict=True)))
    return make_runs(dict(enumerate(values.tolist())), structures=structures, task=task)
