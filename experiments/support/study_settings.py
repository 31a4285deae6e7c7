"""What the experiment on structure and performance measures, checked before anything is trained."""

from collections.abc import Sequence
from dataclasses import dataclass

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.ranges import PositiveInt, Share, in_ranges
from nn_graphs.structure_performance import (
    BASELINES,
    PROTOCOLS,
    epoch_index,
    performance_columns,
    performance_of,
    score_features,
    selection_table,
)
from nn_graphs.zoos.zoo import Zoo


@in_ranges
@dataclass(frozen=True)
class StudySettings:
    """The part `study` of the config.

    Attributes:
        num_divisions: of the networks into those that probes are fitted to and those scored.
        baselines: names of features that stand beside embeddings, of `BASELINES`.
        num_candidates: runs of which the best one is to be picked.
        selection_epochs: when, as shares of a run's epochs.
        num_fingerprint_epochs: of each run, of which the nearest networks are looked for.
        connectomes: names of those to embed, where they are there.

    Raises:
        NNGraphsError: an unknown baseline, or a number out of its range.
    """

    num_divisions: PositiveInt
    baselines: Sequence[str]
    num_candidates: PositiveInt
    selection_epochs: Sequence[Share]
    num_fingerprint_epochs: PositiveInt
    connectomes: Sequence[str]

    def __post_init__(self):
        for name in self.baselines:
            check_known(name, tuple(BASELINES), asked=f"compare with the baseline {name!r}")
        shares = self.selection_epochs
        fits = {
            "num_candidates": self.num_candidates >= 2,
            "selection_epochs": len(shares) > 0,
        }
        wrong = [f"{name} is {getattr(self, name)}" for name, is_fit in fits.items() if not is_fit]
        if wrong:
            raise NNGraphsError(
                "study embeddings with these settings",
                found=f"{', '.join(wrong)}.",
                do="Give two candidates or more, and shares of the epochs from 0 to 1.",
            )

    def check_zoo(self, zoo: Zoo, *, seed: int) -> None:
        """Scores the number of the epoch, as embeddings are going to be scored.

        Raises:
            NNGraphsError: a zoo without trajectories, with too few runs, or with equal scores.
        """
        columns, table = performance_columns(zoo.table), zoo.table
        features, runs = epoch_index(zoo), table["run"].to_numpy()
        for protocol in PROTOCOLS:
            for column in (columns.train, columns.test):
                labels = performance_of(table, column)
                score_features(features, labels, runs, protocol=protocol, seeds=[seed])
        selection_table(
            features,
            table,
            performance=columns.test,
            loss=columns.loss,
            epochs=[int(table["epoch"].max())],
            num_candidates=self.num_candidates,
            num_divisions=1,
            num_draws=1,
            seed=seed,
        )
