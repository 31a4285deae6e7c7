"""Own runs: networks of relational graphs are trained and written down, one row per run.

Multilayer perceptrons are trained as stacks (`networks/relational/family.py`), all other
architectures one by one. What has a row already is not trained again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.objectives import Scores
from nn_graphs.networks.classifiers.single import train_module
from nn_graphs.networks.classifiers.stack_chunks import Chunk, train_groups
from nn_graphs.networks.classifiers.streams import StreamedData
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from nn_graphs.networks.relational.architectures import Architecture
from nn_graphs.networks.relational.family import groups_by_width, stack_family
from nn_graphs.networks.relational.matching import match_widths
from nn_graphs.networks.relational.network import RelationalNetwork
from nn_graphs.progress import progress_bar
from nn_graphs.relational_results.graphs import TrainedGraph
from nn_graphs.results import append_rows, now


@dataclass(frozen=True)
class RunRow:
    """One trained network; the columns that `relational_results.table` asks for, and more.

    Attributes:
        task: what was trained on what, e.g. "mlp_digits".
        options: of the training, so that rows of different settings are told apart.
        graph_id, graph, clustering, path_length: the relational graph.
        widths: output channels of the stages.
        num_params, num_flops: of the network, without what is masked or padded.
        train_seed: of initial values and order of the data.
        epoch: the last one.
        top1_error, train_error: in percent.
        test_loss, train_loss: mean cross-entropies.
        device, versions, commit, command, date: how to make the row again.
    """

    task: str
    options: str
    graph_id: int
    graph: str
    clustering: float
    path_length: float
    widths: str
    num_params: int
    num_flops: int
    train_seed: int
    epoch: int
    top1_error: float
    train_error: float
    test_loss: float
    train_loss: float
    device: str
    versions: str
    commit: str
    command: str
    date: str


@dataclass(frozen=True, eq=False)
class Training:
    """What all runs of an experiment share.

    Attributes:
        architecture: of the networks.
        recipe: of the training; its seed is replaced by that of the run.
        plan: epochs and batches.
        device: to compute on.
    """

    architecture: Architecture
    recipe: Recipe
    plan: Plan
    device: str = "cpu"

    def make_network(self, job: "Job") -> RelationalNetwork:
        """The network of a job, on the CPU."""
        generator = torch.Generator().manual_seed(job.seed)
        graph = job.graph.make()
        return RelationalNetwork(
            self.architecture, graph, widths=job.widths or None, generator=generator
        )

    def make_chunk(self, groups: Sequence[Sequence["Job"]], number: int) -> Chunk:
        """Jobs as a stack."""
        jobs = groups[number]
        stack = stack_family([self.make_network(job) for job in jobs])
        return Chunk(
            stack.model,
            stack.params.to(self.device),
            stack.buffers.to(self.device),
            tuple(self.recipe_of(job) for job in jobs),
            stack.trainable.to(self.device),
        )

    def recipe_of(self, job: "Job") -> Recipe:
        """The recipe with the seed of the job."""
        recipe = self.recipe
        return Recipe(
            recipe.optimizer, recipe.schedule, recipe.dropout, recipe.train_fraction, job.seed
        )


@dataclass(frozen=True, eq=False)
class Job:
    """One network to train: a graph, a training seed, and the widths of equal FLOPs."""

    graph: TrainedGraph
    seed: int
    widths: tuple[int, ...]


def make_jobs(
    architecture: Architecture, graphs: Iterable[TrainedGraph], seeds: Sequence[int]
) -> list[Job]:
    """All graphs with all seeds."""
    jobs = []
    for one in graphs:
        graph = one.make()
        widths = architecture.baseline_widths
        if graph is not None:
            widths = match_widths(architecture, graph)
        jobs += [Job(one, seed, tuple(widths)) for seed in seeds]
    return jobs


def train_jobs(
    training: Training,
    jobs: Sequence[Job],
    data: LabelledData | StreamedData,
    *,
    results: str | Path,
    folder: str | Path,
    describe: Callable[[], dict[str, str]],
    task: str,
    options: str,
    chunk_size: int = 41,
    num_workers: int | None = None,
) -> None:
    """Trains what has no row yet and appends rows as networks are done.

    Args:
        training: for all.
        jobs: networks.
        data: on the training's device.
        results: the CSV file.
        folder: of interrupted stacks and networks, which go on.
        describe: device, versions, commit and command of rows.
        task, options: of the rows.
        chunk_size: networks of a stack.
        num_workers: processes; None: one a core where there are stacks enough.

    Raises:
        NNGraphsError: networks that are trained as stacks were given images on the disk, or images
            have another shape or more classes than the networks are made for.
    """
    if isinstance(data, LabelledData):
        training.architecture.check_inputs(data.inputs.shape[1:], int(data.labels.max()) + 1)
    done, results = finished(results, task, options), Path(results)

    def record(jobs: Sequence[Job], scores: Scores) -> None:
        rows = [
            _row(training, job, [float(values[place]) for values in scores], task, options)
            for place, job in enumerate(jobs)
            if _key(job) not in done
        ]
        append_rows(results, [RunRow(**row, **describe(), date=now()) for row in rows])

    if training.architecture.is_conv:
        left = [job for job in jobs if _key(job) not in done]
        _train_one_by_one(training, left, data, record, Path(folder))
        return
    if isinstance(data, StreamedData):
        raise NNGraphsError(
            f"train {len(jobs)} multilayer perceptrons",
            found="their images stay on the disk; a stack takes them from memory.",
            do="Choose image_folders with a smaller side, or convolutional networks.",
        )
    places = groups_by_width([job.widths[0] for job in jobs], chunk_size)
    train_groups(
        training.make_chunk,
        [[jobs[place] for place in group] for group in places],
        data,
        training.plan,
        is_done=lambda job: _key(job) in done,
        on_done=record,
        folder=folder,
        num_workers=num_workers,
    )


def finished(results: str | Path, task: str, options: str) -> set[tuple[int, int]]:
    """Graph and seed of the runs that have a row."""
    if not Path(results).exists():
        return set()
    runs = read_runs(results, task=task, options=options)
    return set(zip(runs["graph_id"].tolist(), runs["train_seed"].tolist(), strict=True))


def read_runs(results: str | Path, *, task: str, options: str) -> pd.DataFrame:
    """The rows of a task with the same options, as the analysis takes them."""
    table = pd.read_csv(results, keep_default_na=False, na_values={"test_loss": ["nan"]})
    return table[(table["task"] == task) & (table["options"] == options)].reset_index(drop=True)


def _train_one_by_one(
    training: Training,
    jobs: Sequence[Job],
    data: LabelledData | StreamedData,
    record: Callable[[Sequence[Job], Scores], None],
    folder: Path,
) -> None:
    total = len(jobs) * training.plan.num_epochs
    folder.mkdir(parents=True, exist_ok=True)
    with progress_bar(total, unit="epoch", description="training") as bar:
        for job in jobs:
            network = training.make_network(job).to(training.device)
            state_file = folder / f"graph_{job.graph.graph_id}_seed_{job.seed}.pt"
            scores = train_module(
                network,
                data,
                training.recipe_of(job),
                training.plan,
                progress=bar,
                state_file=state_file,
            )
            record([job], scores)
            state_file.unlink(missing_ok=True)


def _row(
    training: Training, job: Job, scores: Sequence[float], task: str, options: str
) -> dict[str, object]:
    architecture, graph = training.architecture, job.graph.make()
    shape = architecture.baseline if graph is None else architecture.shape(job.widths)
    train_accuracy, train_loss, test_accuracy, test_loss = scores
    return {
        "task": task,
        "options": options,
        "graph_id": job.graph.graph_id,
        "graph": job.graph.name,
        "clustering": job.graph.clustering,
        "path_length": job.graph.path_length,
        "widths": " ".join(map(str, job.widths)),
        "num_params": shape.num_params(graph),
        "num_flops": shape.num_flops(graph),
        "train_seed": job.seed,
        "epoch": training.plan.num_epochs,
        "top1_error": float(np.round(100 * (1 - test_accuracy), 4)),
        "train_error": float(np.round(100 * (1 - train_accuracy), 4)),
        "test_loss": float(np.round(test_loss, 6)),
        "train_loss": float(np.round(train_loss, 6)),
    }


def _key(job: Job) -> tuple[int, int]:
    return job.graph.graph_id, job.seed
