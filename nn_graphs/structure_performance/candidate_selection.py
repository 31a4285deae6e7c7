"""Choosing networks: how often is the best of a few candidates picked early in their training?

StructureReps concludes that correlations with performance let one "identify the best-performing
network from a set of candidates". Here candidates are networks of different runs at one epoch; a
probe on embeddings picks one, and so do the training loss, chance and an oracle. All candidates of
a set are estimated by one probe, which was fitted to other runs alone: of several probes, each
would be lower, by its mean, on just the runs that are better.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.structure_performance.probes import Features, Labels, Probe, fit_ridge
from nn_graphs.structure_performance.protocols import MIN_TRAIN_RUNS

JudgedBy = Literal["now", "end"]
HELD_OUT = 0.4  # share of the runs that candidates are drawn from; at least as many as there are


@dataclass(frozen=True)
class Picks:
    """What came of choosing one of K candidates again and again.

    Attributes:
        rate: share of choices that were a best one.
        regret: by how much the performance of the chosen fell short of the best, on average.
    """

    rate: float
    regret: float


def pick(
    estimates: Labels,
    performance: Labels,
    *,
    num_candidates: int,
    num_draws: int = 1000,
    seed: int = 0,
) -> Picks:
    """Draws sets of candidates, and chooses of each the one that is estimated best.

    Of candidates that are estimated alike, each counts with its share, so that equal estimates are
    chance.

    Args:
        estimates: of all candidates that there are; larger is better.
        performance: of the same.
        num_candidates: K, of a set.
        num_draws: sets.
        seed: of the draws; equal seeds draw equal sets, whatever the estimates.

    Raises:
        NNGraphsError: K is below 2, or there are fewer.
    """
    if not 2 <= num_candidates <= len(performance):
        raise NNGraphsError(
            f"choose among {num_candidates} candidates",
            found=f"there are {len(performance)} networks.",
            do=f"Choose a number from 2 to {len(performance)}, or make more runs.",
        )
    random = np.random.default_rng(seed)
    order = random.random((num_draws, len(performance))).argsort(axis=1)[:, :num_candidates]
    guessed, truth = estimates[order], performance[order]
    best = truth.max(axis=1, keepdims=True)
    is_picked = guessed == guessed.max(axis=1, keepdims=True)
    share = is_picked / is_picked.sum(axis=1, keepdims=True)
    return Picks(
        rate=float((share * (truth == best)).sum(1).mean()),
        regret=float((share * (best - truth)).sum(1).mean()),
    )


def selection_table(
    features: Features,
    table: pd.DataFrame,
    *,
    performance: str,
    loss: str,
    epochs: Sequence[int],
    num_candidates: int,
    judged_by: JudgedBy = "end",
    num_divisions: int = 20,
    num_draws: int = 200,
    seed: int = 0,
    fit: Probe = fit_ridge,
) -> pd.DataFrame:
    """How often each way of choosing picks the best of K runs at some epochs of their training.

    Args:
        features: embeddings of the networks.
        table: of them, with columns `run` and `epoch`, a network each.
        performance, loss: names of columns: larger, and smaller, is better.
        epochs: at which one chooses; runs without a network there are no candidates.
        num_candidates: K.
        judged_by: the best is the best "now", at the same epoch, or at the "end", the last epoch
            of each run; probes are fitted to the same.
        num_divisions: of the runs into those that probes are fitted to and candidates.
        num_draws: sets of candidates a division; all ways choose among the same sets.
        seed: of all draws.
        fit: the probe.

    Returns:
        A row an epoch and way, `embedding`, `loss`, `chance` or `oracle`, with `rate` and `regret`.

    Raises:
        NNGraphsError: too few runs, an unknown way to judge, or a column is missing.
    """
    check_known(judged_by, get_args(JudgedBy), asked=f"judge networks by {judged_by!r}")
    _check_columns(table, ["run", "epoch", performance, loss])
    table = table.reset_index(drop=True)
    runs = table["run"].to_numpy()
    labels = _labels(table, performance, judged_by)
    is_epoch = {epoch: table["epoch"].to_numpy() == epoch for epoch in epochs}
    losses = table[loss].to_numpy(float)
    rows = []
    for number in range(num_divisions):
        own_seed = seed * num_divisions + number
        is_candidate = np.isin(runs, _candidates(runs, num_candidates, own_seed))
        others = ~is_candidate
        fitted = fit(features[others], labels[others], runs[others])
        for epoch, is_here in is_epoch.items():
            here = np.flatnonzero(is_candidate & is_here)
            ways = {
                "embedding": fitted.predict(features[here]) if len(here) else np.zeros(0),
                "loss": -losses[here],
                "chance": np.zeros(len(here)),
                "oracle": labels[here],
            }
            draws = {"num_candidates": num_candidates, "num_draws": num_draws, "seed": own_seed}
            for way, estimates in ways.items():
                found = pick(estimates, labels[here], **draws)
                rows.append({"epoch": epoch, "way": way, **asdict(found)})
    return pd.DataFrame(rows).groupby(["epoch", "way"], sort=False).mean().reset_index()


def _candidates(
    runs: Shaped[np.ndarray, " N"], num_candidates: int, seed: int
) -> Shaped[np.ndarray, " C"]:
    """Some of the runs, such that two or more are left.

    Raises:
        NNGraphsError: there are too few.
    """
    names = np.unique(runs)
    number = max(num_candidates, round(HELD_OUT * len(names)))
    if len(names) - number < MIN_TRAIN_RUNS:
        raise NNGraphsError(
            f"choose among {num_candidates} candidates by a probe that has seen other runs",
            found=f"there are {len(names)} runs, so that {max(0, len(names) - number)} are left to "
            f"fit to; {MIN_TRAIN_RUNS} are needed.",
            do="Make more runs, or choose among fewer.",
        )
    return np.random.default_rng(seed).choice(names, number, replace=False)


def _labels(table: pd.DataFrame, performance: str, judged_by: JudgedBy) -> Float[np.ndarray, " N"]:
    """Of each network, its performance, or that of its run's last network."""
    if judged_by == "now":
        return table[performance].to_numpy(float)
    last = table.sort_values("epoch").groupby("run")[performance].last()
    return table["run"].map(last).to_numpy(float)


def _check_columns(table: pd.DataFrame, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in table]
    if missing:
        raise NNGraphsError(
            "choose among networks in training",
            found=f"their table has no column {missing[0]}, but {', '.join(table)}.",
            do="Use a zoo of training trajectories, and name a column of it.",
        )
