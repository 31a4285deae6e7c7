"""What the experiment on learning to optimize does: learn, tune baselines, test, record, draw."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from support.benchmarks import device_name
from support.launch import Run
from support.paths import EXPERIMENTS
from torch import Tensor

from nn_graphs.learned_optimizers.inner_curves import InnerCurves, train_networks
from nn_graphs.learned_optimizers.inner_scores import adam_steps, curve_metrics
from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.learned_optimizers.inner_training import InnerTraining
from nn_graphs.learned_optimizers.learned_update import Update
from nn_graphs.learned_optimizers.meta_training import MetaOutcome, meta_train
from nn_graphs.learned_optimizers.optimizer_figures import (
    generalization_matrix,
    plot_generalization,
    plot_inner_curves,
    plot_meta_history,
)
from nn_graphs.learned_optimizers.tuned_baselines import TuningBudget, tune
from nn_graphs.learned_optimizers.update_files import save_update
from nn_graphs.networks.classifiers.draws import joined
from nn_graphs.plotting import save_figure
from nn_graphs.progress import progress_bar
from nn_graphs.ranges import PositiveInt, in_ranges
from nn_graphs.results import (
    ResultRow,
    commit,
    latest_results,
    now,
    read_results,
    versions,
)

logger = logging.getLogger(__name__)
META, OPTIMIZER = "meta_training", "optimizer.safetensors"
ADAM = "adam"  # whose best loss others are to reach
TUNING, TESTING = 10, 11  # what keys are for
NO_OPTIONS = {"optimizer", "device"}  # or what has a column of its own
OF_LEARNING = ("method", "meta", "order")  # what baselines don't depend on


@in_ranges
@dataclass(frozen=True)
class EvaluationSettings:
    """How optimizers are tested.

    Attributes:
        num_steps: of every network.
        num_seeds: networks of each task.
        val_every: steps between validations, of which curves are drawn.
    """

    num_steps: PositiveInt = 1000
    num_seeds: PositiveInt = 3
    val_every: PositiveInt = 20


def learn_to_optimize(run: Run) -> None:
    """Learns the config's update, and tests it beside tuned baselines."""
    config = run.config
    settings: EvaluationSettings = run.build(config.evaluation)
    update = run.build(config.optimizer.make)
    train, val = (_tasks(run, config.inner_tasks[name]) for name in ("train", "val"))
    tests = [_tasks(run, [one])[0] for one in config.inner_tasks.test.values()]
    if config.restart:
        shutil.rmtree(run.folder / META, ignore_errors=True)
    outcome = meta_train(
        update, train, val, run.build(config.method), run.build(config.meta), run.folder / META,
        order=config.order,
    )  # fmt: skip
    _save(run, update, outcome)
    if run.is_recorded:
        return
    optimizers = {config.optimizer.name: (update, outcome.weights.unsqueeze(0))}
    optimizers |= _tuned(run, val, settings)
    curves = _tested(run, tests, optimizers, settings)
    run.record_once(_rows(run, outcome, update.num_weights, curves))
    _report(run, outcome, curves)


def _tasks(run: Run, families: Any) -> list[InnerTask]:
    """Those of all families of a list in the config."""
    root, device = run.data_root, run.config.device
    return [task for family in families for task in run.build(family).tasks(root, device=device)]


def _save(run: Run, update: Update, outcome: MetaOutcome) -> None:
    origin = {
        "command": run.command,
        "commit": commit(EXPERIMENTS),
        "learned on": run.config.inner_tasks.name,
        "outer steps": outcome.best_step,
        "minutes of one core": round(outcome.cpu_minutes, 1),
    }
    path = save_update(update, outcome.weights, run.folder / OPTIMIZER, origin=origin)
    logger.info("The learned optimizer: %s", path)


def _tuned(
    run: Run, tasks: list[InnerTask], settings: EvaluationSettings
) -> dict[str, tuple[Update, Tensor]]:
    """Every baseline with its best setting, by its name."""
    budget: TuningBudget = run.build(run.config.budget)
    keys = _keys(run, TUNING, budget.num_seeds)
    found = {}
    names = list(run.config.baselines)
    with progress_bar(len(names), unit="baselines", description="tuning") as bar:
        for name in names:
            best = tune(name, tasks, budget, num_steps=settings.num_steps, keys=keys)
            logger.info("%s: %s (loss %.4f of guessing)", name, best.setting, best.val_loss)
            found[name] = best.update, best.weights
            bar.advance(1)
    return found


def _tested(
    run: Run,
    tests: Sequence[InnerTask],
    optimizers: Mapping[str, tuple[Update, Tensor]],
    settings: EvaluationSettings,
) -> dict[str, dict[str, InnerCurves]]:
    """Curves of every task and optimizer; all see the same networks and batches."""
    keys = _keys(run, TESTING, settings.num_seeds)
    curves: dict[str, dict[str, InnerCurves]] = {}
    count = len(tests) * len(optimizers)
    with progress_bar(count, unit="trainings", description="testing") as bar:
        for task in tests:
            curves[task.name] = {}
            for model, (update, weights) in optimizers.items():
                curves[task.name][model] = train_networks(
                    InnerTraining(task, update),
                    weights.to(task.data.mean),
                    keys.to(task.data.device),
                    num_steps=settings.num_steps,
                    val_every=settings.val_every,
                )
                bar.advance(1, {"task": task.name, "optimizer": model})
    return curves


def _keys(run: Run, purpose: int, count: int) -> Tensor:
    seed = torch.full((count,), run.config.seed, dtype=torch.int32)
    return joined(seed, purpose, torch.arange(count, dtype=torch.int32))


def _rows(
    run: Run,
    outcome: MetaOutcome,
    num_weights: int,
    curves: Mapping[str, Mapping[str, InnerCurves]],
) -> list[ResultRow]:
    """A row per metric and network that was trained."""
    origin = {
        "task": run.config.task, "device": device_name(run.config.device), "versions": versions(),
        "commit": commit(EXPERIMENTS), "command": run.command, "date": now(),
    }  # fmt: skip
    own = run.config.optimizer.name
    rows = []
    for zoo, of_task in curves.items():
        target = adam_steps(of_task[ADAM]) if ADAM in of_task else None
        for model, found in of_task.items():
            for seed, metrics in enumerate(curve_metrics(found, target)):
                rows += [
                    ResultRow(
                        model=model, zoo=zoo,
                        options=_options(run, is_own=model == own), seed=seed, metric=metric,
                        value=round(value, 6), params=num_weights if model == own else 0,
                        minutes=round(outcome.minutes, 2) if model == own else 0.0, **origin,
                    )
                    for metric, value in metrics.items()
                ]  # fmt: skip
    return rows


def _options(run: Run, *, is_own: bool) -> str:
    """Options that matter to a model, but for those that have a column of their own."""
    names = [(one, one.lstrip("+").partition("=")[0]) for one in run.options.split()]
    kept = [one for one, name in names if name not in NO_OPTIONS]
    if run.config.seed:
        kept.append(f"seed={run.config.seed}")
    if not is_own:
        kept = [one for one in kept if not one.lstrip("+").startswith(OF_LEARNING)]
    return " ".join(sorted(kept))


def _report(
    run: Run, outcome: MetaOutcome, curves: Mapping[str, Mapping[str, InnerCurves]]
) -> None:
    """Figures in the folder of the run, and of all runs beside it."""
    name, folder = run.config.optimizer.name, Path(run.folder)
    figures = {
        "curves": plot_inner_curves(curves, highlighted=name),
        "meta_training": plot_meta_history(outcome.history, title=name),
    }
    for key, figure in figures.items():
        save_figure(figure, folder / f"{key}.png")
    matrix = generalization_matrix(latest_results(read_results(run.config.results)))
    save_figure(plot_generalization(matrix), folder.parent / "generalization.png")
    logger.info("Accuracy (R2 of autoencoders) on test, by what was learned on and tested on:")
    logger.info("\n%s", matrix.to_string(float_format="%.3f", na_rep="-"))
    logger.info("Figures: %s", folder)
