"""Accuracy from structure: networks of sampled graphs, and how well the graphs tell how good."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd
from support.launch import Run
from support.sparse_structure import begin_study, check_numbers, kept_rows, study_rows

from nn_graphs.errors import check_known
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.objectives import Scores
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from nn_graphs.plotting import save_figure
from nn_graphs.ranges import PositiveInt, Seed, in_ranges
from nn_graphs.relational_results.table import noise_ceiling
from nn_graphs.results import append_rows
from nn_graphs.sparse_structure import (
    PREDICTORS,
    SampledStructure,
    StructureJob,
    StructureTraining,
    plot_predicted_accuracies,
    predict_accuracy,
    property_table,
    sample_structures,
    train_structures,
)
from nn_graphs.structure import LayeredGraph

logger = logging.getLogger(__name__)
NETWORKS = "networks.csv"
NAME = "accuracy_from_structure"


@dataclass(frozen=True)
class NetworkRow:
    """One trained network; accuracies in percent."""

    structure: int
    name: str
    seed: int
    train_accuracy: float
    test_accuracy: float


@in_ranges
@dataclass(frozen=True)
class AccuracyFromStructure:
    """The part `study` of the config.

    Attributes:
        num_structures, families, num_nodes, orders, sample_seed: see `sample_structures`.
        seeds: of the networks of each structure.
        predictors: of `PREDICTORS`.
        num_folds: of structures; all networks of one are in the same.
        chunk_size: networks of a stack.
        recipe, plan: of the training.

    Raises:
        NNGraphsError: a family, order or predictor is unknown, or a number out of its range.
    """

    num_structures: PositiveInt
    families: Sequence[str]
    num_nodes: Sequence[PositiveInt]
    orders: Sequence[str]
    seeds: Sequence[Seed]
    predictors: Sequence[str]
    num_folds: PositiveInt
    chunk_size: PositiveInt
    sample_seed: Seed
    recipe: Recipe
    plan: Plan

    def __post_init__(self):
        asked = "predict accuracies from structure with these settings"
        for name in self.predictors:
            check_known(name, PREDICTORS, asked=f"predict accuracies by {name!r}")
        fits = {
            "num_nodes": (list(self.num_nodes), len(self.num_nodes) == 2),
            "seeds": (list(self.seeds), 0 < len(set(self.seeds)) == len(self.seeds)),
            "num_folds": (self.num_folds, 2 <= self.num_folds <= self.num_structures // 2),
        }
        check_numbers(
            asked,
            fits,
            "Give the fewest and the most nodes, different seeds, two folds or more and two "
            "structures a fold.",
        )
        self.sampled(1)

    def sampled(self, number: int | None = None) -> list[SampledStructure]:
        """The first of the structures, or all."""
        return sample_structures(
            number or self.num_structures,
            families=list(self.families),
            num_nodes=(self.num_nodes[0], self.num_nodes[1]),
            orders=list(self.orders),
            seed=self.sample_seed,
        )

    def perform(self, run: Run, data: LabelledData) -> None:
        """Trains networks that have no row in the run's folder, then predicts their accuracies."""
        begin_study(run, NETWORKS)
        sampled = self.sampled()
        graphs = [one.make() for one in sampled]
        training = StructureTraining.of_data(data, self.recipe, self.plan)
        start = time.perf_counter()
        self._train(run, data, training, sampled, graphs)
        minutes = (time.perf_counter() - start) / 60
        table = kept_rows(run, NETWORKS).sort_values(["structure", "seed"])
        self._report(run, table, minutes, sampled, graphs)

    def _train(
        self,
        run: Run,
        data: LabelledData,
        training: StructureTraining,
        sampled: Sequence[SampledStructure],
        graphs: Sequence[LayeredGraph],
    ) -> None:
        rows = kept_rows(run, NETWORKS)
        done = set(zip(rows["structure"], rows["seed"], strict=True)) if len(rows) else set()
        jobs = [
            StructureJob(number, graph, seed)
            for seed in self.seeds
            for number, graph in enumerate(graphs)
        ]

        def record(group: list[StructureJob], scores: Scores) -> None:
            accuracies = zip(
                group, scores.train_accuracy.tolist(), scores.test_accuracy.tolist(), strict=True
            )
            new = [
                NetworkRow(job.number, sampled[job.number].name, job.seed, *_percent(*both))
                for job, *both in accuracies
                if job.key not in done
            ]
            append_rows(run.folder / NETWORKS, new)

        train_structures(
            training,
            jobs,
            data,
            done=done,
            folder=run.folder / "states",
            on_done=record,
            chunk_size=self.chunk_size,
            num_workers=run.config.num_workers,
        )

    def _report(
        self,
        run: Run,
        table: pd.DataFrame,
        minutes: float,
        sampled: Sequence[SampledStructure],
        graphs: Sequence[LayeredGraph],
    ) -> None:
        accuracies = table.groupby("structure")["test_accuracy"].mean().to_numpy()
        families = [one.family for one in sampled]
        metrics = {"test/accuracy": accuracies.mean(), "test/deviation": accuracies.std()}
        metrics |= {"ceiling/r2": _ceiling(table)} if len(self.seeds) > 1 else {}
        rows = study_rows(run, NAME, "networks", metrics, minutes=minutes)
        properties = property_table(graphs)
        predicted, r2 = {}, {}
        for name in self.predictors:
            start = time.perf_counter()
            found = predict_accuracy(name, graphs, properties, accuracies, num_folds=self.num_folds)
            minutes = (time.perf_counter() - start) / 60
            predicted[name], r2[name] = found.predicted, found.scores.r2
            scores = {f"val/{score}": value for score, value in asdict(found.scores).items()}
            scores["fit/r2"] = found.r2_fitted
            rows += study_rows(run, NAME, name, scores, minutes=minutes)
            logger.info("%s: R2 %.3f, fitted %.3f", name, found.scores.r2, found.r2_fitted)
        run.record_once(rows)
        title = f"{len(graphs)} structures, {run.config.dataset.name}"
        figure = plot_predicted_accuracies(predicted, accuracies, families, r2=r2, title=title)
        save_figure(figure, run.folder / "predicted.png")
        by_family = pd.Series(accuracies).groupby(families).agg(["mean", "std", "count"])
        logger.info("Test accuracies in percent:\n%s", by_family.to_string(float_format="%.2f"))
        logger.info("Ceiling of R2: %.3f", metrics.get("ceiling/r2", float("nan")))
        logger.info("Figure: %s", run.folder / "predicted.png")


def _ceiling(table: pd.DataFrame) -> float:
    """The R2 that a perfect predictor would reach, for seeds differ; see `noise_ceiling`."""
    names = {"structure": "graph_id", "seed": "train_seed"}
    runs = table.rename(columns=names).assign(task=NAME, epoch=0)
    return noise_ceiling(runs, metric="test_accuracy").share


def _percent(*shares: float) -> list[float]:
    return [round(100 * share, 4) for share in shares]
