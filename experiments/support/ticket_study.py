"""Lottery tickets: accuracy against density, and the graph that each way of pruning leaves."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise, product
from typing import get_args

import torch
from support.launch import Run
from support.sparse_structure import begin_study, check_numbers, kept_rows, study_rows
from torch import nn

from nn_graphs.errors import check_known
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from nn_graphs.networks.pruning.density_curves import Method, SparseResult, density_curve
from nn_graphs.plotting import save_figure
from nn_graphs.progress import Progress, progress_bar
from nn_graphs.results import append_rows
from nn_graphs.sparse_structure import layers_of_masks, plot_density_curves, surviving_measures
from nn_graphs.threads import num_cores, one_thread
from nn_graphs.workers import work_off

logger = logging.getLogger(__name__)
CURVES = "curves.csv"
NAME = "lottery_tickets"
DRAWN = {
    "test_accuracy": "test accuracy (%)",
    "live_neurons": "hidden neurons on a path",
    "useful_edges": "weights on a path",
    "top_neurons": "weights of the top tenth of neurons",
}

Part = tuple[str, int]  # method and seed


@dataclass(frozen=True)
class TicketRow:
    """One trained network; accuracies in percent, measures as in `surviving_measures`."""

    method: str
    seed: int
    density: float
    num_left: int
    test_accuracy: float
    train_accuracy: float
    useful_edges: float
    live_neurons: float
    live_inputs: float
    joined_pairs: float
    log10_paths: float
    degree_variation: float
    top_neurons: float


NO_METRICS = ("method", "seed", "density")


@dataclass(frozen=True)
class LotteryTickets:
    """The part `study` of the config.

    Attributes:
        hidden_widths: of the multilayer perceptron.
        methods: of pruning, see `density_curve`.
        densities: falling shares of the weights.
        seeds: of initial values, masks and order of the data.
        recipe, plan: of every training; the seed is replaced.

    Raises:
        NNGraphsError: a method is unknown, or a number out of its range.
    """

    hidden_widths: Sequence[int]
    methods: Sequence[str]
    densities: Sequence[float]
    seeds: Sequence[int]
    recipe: Recipe
    plan: Plan

    def __post_init__(self):
        for method in self.methods:
            check_known(method, get_args(Method), asked=f"prune by the method {method!r}")
        shares, widths = list(self.densities), list(self.hidden_widths)
        is_falling = all(more > less for more, less in pairwise([*shares, 0.0]))
        fits = {
            "hidden_widths": (widths, len(widths) > 0 and min(widths) > 0),
            "densities": (shares, len(shares) > 0 and is_falling and shares[0] <= 1),
            "seeds": (list(self.seeds), 0 < len(set(self.seeds)) == len(self.seeds)),
        }
        do = "Give one hidden layer at least, falling shares of 1 or less, and different seeds."
        check_numbers("find lottery tickets with these settings", fits, do)

    def perform(self, run: Run, data: LabelledData) -> None:
        """Trains curves, one a method and seed, that have no rows in the run's folder."""
        begin_study(run, CURVES)
        rows = kept_rows(run, CURVES)
        done = set(zip(rows["method"], rows["seed"], strict=True)) if len(rows) else set()
        parts = [part for part in product(self.methods, self.seeds) if part not in done]

        def record(part: Part, found: tuple[list[TicketRow], float]) -> None:
            self._record(run, data, part, *found)

        workers = run.config.num_workers or max(1, min(num_cores(), len(parts)))
        total = len(parts) * len(self.densities)
        with progress_bar(total, unit="network", description="training") as bar:
            work = partial(_curve, self, data)
            work_off(work, parts, bar, num_workers=workers, on_done=record)
        self._report(run)

    def make_mlp(self, data: LabelledData, seed: int) -> nn.Sequential:
        """The untrained network of a seed."""
        widths = [data.inputs[0].numel(), *self.hidden_widths, int(data.labels.max()) + 1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = [nn.Linear(fan_in, width) for fan_in, width in pairwise(widths)]
        hidden = [module for layer in layers[:-1] for module in (layer, nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *hidden, layers[-1])

    def _record(
        self, run: Run, data: LabelledData, part: Part, found: list[TicketRow], minutes: float
    ) -> None:
        method, seed = part
        params = sum(value.numel() for value in self.make_mlp(data, seed).parameters())
        metrics = {
            f"{100 * row.density:g}%/{name}": value
            for row in found
            for name, value in asdict(row).items()
            if name not in NO_METRICS
        }
        rows = study_rows(run, NAME, method, metrics, seed=seed, params=params, minutes=minutes)
        append_rows(run.config.results, rows)
        append_rows(run.folder / CURVES, found)

    def _report(self, run: Run) -> None:
        table = kept_rows(run, CURVES)
        order = {method: place for place, method in enumerate(self.methods)}
        table = table.sort_values("method", key=lambda names: names.map(order), kind="stable")
        title = f"{'-'.join(map(str, self.hidden_widths))}, {run.config.dataset.name}"
        save_figure(plot_density_curves(table, DRAWN, title=title), run.folder / "densities.png")
        for column in ("test_accuracy", "live_neurons"):
            means = table.pivot_table(index="method", columns="density", values=column, sort=False)
            shown = means.rename(columns=lambda share: f"{100 * share:g}%")
            logger.info("%s:\n%s", column, shown.to_string(float_format="%.2f"))
        logger.info("Figure: %s", run.folder / "densities.png")


def _curve(
    study: LotteryTickets, data: LabelledData, part: Part, progress: Progress
) -> tuple[list[TicketRow], float]:
    """All densities of a method and seed, and the minutes that they took."""
    method, seed = part
    start, found = time.perf_counter(), []
    with one_thread():
        for result in density_curve(
            partial(study.make_mlp, data, seed),
            data,
            replace(study.recipe, seed=seed),
            study.plan,
            method=method,
            densities=list(study.densities),
        ):
            found.append(_row(part, result))
            progress.advance(1, {"accuracy": f"{found[-1].test_accuracy:.1f}"})
    return found, (time.perf_counter() - start) / 60


def _row(part: Part, result: SparseResult) -> TicketRow:
    graph = layers_of_masks([mask.cpu().numpy() for mask in result.masks.values()])
    measures = {name: round(value, 6) for name, value in surviving_measures(graph).items()}
    accuracies = [round(100 * share, 4) for share in (result.test_accuracy, result.train_accuracy)]
    return TicketRow(*part, result.density, result.num_left, *accuracies, **measures)
