"""Search for structures: evolution against chance, with equally many trained networks."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from support.launch import Run
from support.sparse_structure import begin_study, check_numbers, kept_rows, study_rows

from nn_graphs.errors import check_known
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from nn_graphs.plotting import save_figure
from nn_graphs.progress import Progress, progress_bar
from nn_graphs.results import append_rows
from nn_graphs.sparse_structure import (
    METHODS,
    Candidate,
    SearchSpace,
    StructureJob,
    StructureTraining,
    best_so_far,
    plot_searches,
    score_structures,
    search_structures,
)
from nn_graphs.sparse_structure.structure_search import check_search
from nn_graphs.structure import LayeredGraph
from nn_graphs.threads import num_cores
from nn_graphs.workers import work_off

logger = logging.getLogger(__name__)
SEARCHES = "searches.csv"
NAME = "structure_search"
CHOOSING_SEED, FINAL_SEED = 10_000, 20_000  # the first ones; seeds of searches are others

Part = tuple[str, int]  # method and seed


@dataclass(frozen=True)
class EvaluationRow:
    """One structure that a search has tried; its accuracy from 0 to 1, on images kept back."""

    method: str
    seed: int
    number: int
    val_accuracy: float
    num_weights: int
    num_layers: int


@dataclass(frozen=True, eq=False)
class Finding:
    """What a search has come to.

    Attributes:
        rows: of all that it tried.
        metrics: of the structure that it chose.
        num_weights: of that one.
        minutes: that it took.
    """

    rows: list[EvaluationRow]
    metrics: dict[str, float]
    num_weights: int
    minutes: float


@dataclass(frozen=True)
class StructureSearch:
    """The part `study` of the config.

    Attributes:
        methods: of `METHODS`.
        num_nodes, max_weights: of the search space, see `SearchSpace`.
        num_evaluations, population, tournament: see `search_structures`.
        num_val: training images kept back, by which structures are chosen.
        num_finalists: structures, the best ones, that are trained anew, for the luck of one
            training is part of what they were found by; the best mean on images kept back is
            chosen.
        num_final_seeds: networks of each of these; as many again, of the structure that is chosen,
            are scored on the test images, once.
        seeds: of the searches.
        recipe, plan: of every training; the seed is replaced.

    Raises:
        NNGraphsError: a method is unknown, or a number out of its range.
    """

    methods: Sequence[str]
    num_nodes: int
    max_weights: int
    num_evaluations: int
    population: int
    tournament: int
    num_val: int
    num_finalists: int
    num_final_seeds: int
    seeds: Sequence[int]
    recipe: Recipe
    plan: Plan

    def __post_init__(self):
        for method in self.methods:
            check_known(method, METHODS, asked=f"search structures by {method!r}")
        check_search(self.num_evaluations, self.population, self.tournament)
        fits = {
            "num_val": (self.num_val, self.num_val >= 1),
            "num_finalists": (self.num_finalists, self.num_finalists >= 1),
            "num_final_seeds": (self.num_final_seeds, self.num_final_seeds >= 1),
            "seeds": (list(self.seeds), 0 < len(set(self.seeds)) == len(self.seeds)),
        }
        do = "Give one image, finalist and final seed at least, and different seeds of searches."
        check_numbers("search structures with these settings", fits, do)

    def perform(self, run: Run, data: LabelledData) -> None:
        """Does the searches, one a method and seed, that have no rows in the run's folder."""
        begin_study(run, SEARCHES)
        space, (choosing, testing) = self.space(data), data.split_validation(self.num_val)
        rows = kept_rows(run, SEARCHES)
        done = set(zip(rows["method"], rows["seed"], strict=True)) if len(rows) else set()
        parts = [part for part in product(self.methods, self.seeds) if part not in done]

        def record(part: Part, found: Finding) -> None:
            method, seed = part
            append_rows(
                run.config.results,
                study_rows(
                    run,
                    NAME,
                    method,
                    found.metrics,
                    seed=seed,
                    params=found.num_weights,
                    minutes=found.minutes,
                ),
            )
            append_rows(run.folder / SEARCHES, found.rows)

        workers = run.config.num_workers or max(1, min(num_cores(), len(parts)))
        total = len(parts) * self.num_evaluations
        with progress_bar(total, unit="structure", description="search") as bar:
            work = partial(_search, self, space, choosing, testing)
            work_off(work, parts, bar, num_workers=workers, on_done=record)
        self._report(run)

    def space(self, data: LabelledData) -> SearchSpace:
        """Structures for the inputs and classes of a data set."""
        classes = int(data.labels.max()) + 1
        return SearchSpace(self.num_nodes, self.max_weights, data.inputs[0].numel(), classes)

    def _report(self, run: Run) -> None:
        table = kept_rows(run, SEARCHES)
        curves = {
            method: [
                np.maximum.accumulate(rows["val_accuracy"].to_numpy())
                for _, rows in table[table["method"] == method].groupby("seed")
            ]
            for method in self.methods
        }
        title = f"{self.num_nodes} nodes, {self.max_weights} weights, {run.config.dataset.name}"
        save_figure(plot_searches(curves, title=title), run.folder / "searches.png")
        best = table.groupby(["method", "seed"])["val_accuracy"].max().unstack()
        logger.info("Best accuracy on val:\n%s", best.to_string(float_format="%.4f"))
        logger.info("Figure: %s", run.folder / "searches.png")


def _search(
    study: StructureSearch,
    space: SearchSpace,
    choosing: LabelledData,
    testing: LabelledData,
    part: Part,
    progress: Progress,
) -> Finding:
    """One search, and the score of what it chose."""
    method, seed = part
    start = time.perf_counter()
    training = StructureTraining.of_data(choosing, study.recipe, study.plan)

    generations: list[list[Candidate]] = []

    def evaluate(structures: Sequence[LayeredGraph]) -> np.ndarray:
        first = 1 + sum(map(len, generations))  # no structure inherits initial values
        jobs = [StructureJob(n, one, seed, first + n) for n, one in enumerate(structures)]
        return score_structures(training, jobs, choosing, chunk_size=len(jobs))

    for generation in search_structures(
        method,
        space,
        evaluate,
        num_evaluations=study.num_evaluations,
        population=study.population,
        tournament=study.tournament,
        seed=seed,
    ):
        generations.append(generation)
        best = best_so_far(generations)[-1]
        progress.advance(len(generation), {"best": f"{100 * best:.1f}"})
    tried = [one for generation in generations for one in generation]
    chosen, val_accuracy = _chosen(study, training, choosing, tried)
    scores = 100 * _anew(study, training, testing, [chosen], FINAL_SEED)[0]
    rows = [_row(part, number, one, space) for number, one in enumerate(tried)]
    metrics = {
        "first/accuracy": 100 * np.mean([one.fitness for one in generations[0]]),
        "best/accuracy": 100 * best_so_far(generations)[-1],
        "val/accuracy": 100 * val_accuracy,
        "test/accuracy": scores.mean(),
        "test/deviation": scores.std(),
        "num_layers": chosen.num_layers,
    }
    weights = space.num_weights(chosen)
    minutes = (time.perf_counter() - start) / 60
    return Finding(rows, {k: float(v) for k, v in metrics.items()}, weights, minutes)


def _chosen(
    study: StructureSearch,
    training: StructureTraining,
    choosing: LabelledData,
    tried: Sequence[Candidate],
) -> tuple[LayeredGraph, float]:
    """The best of the finalists, and its mean accuracy: of many, the first one is lucky."""
    best = sorted(tried, key=lambda one: one.fitness, reverse=True)[: study.num_finalists]
    finalists = [one.structure for one in best]
    means = _anew(study, training, choosing, finalists, CHOOSING_SEED).mean(1)
    return finalists[int(means.argmax())], float(means.max())


def _anew(
    study: StructureSearch,
    training: StructureTraining,
    data: LabelledData,
    structures: Sequence[LayeredGraph],
    first_seed: int,
) -> np.ndarray:
    """Accuracies of new networks, `[structures, seeds]`."""
    seeds = range(first_seed, first_seed + study.num_final_seeds)
    jobs = [StructureJob(n, one, seed) for n, one in enumerate(structures) for seed in seeds]
    return score_structures(training, jobs, data).reshape(len(structures), len(seeds))


def _row(part: Part, number: int, one: Candidate, space: SearchSpace) -> EvaluationRow:
    method, seed = part
    weights = space.num_weights(one.structure)
    return EvaluationRow(
        method, seed, number, round(one.fitness, 6), weights, one.structure.num_layers
    )
