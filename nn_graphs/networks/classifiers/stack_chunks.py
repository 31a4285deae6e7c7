"""Many classifiers in chunks that stay in the processor's cache, by one process a core."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.model import StackedModel
from nn_graphs.networks.classifiers.objectives import Scores
from nn_graphs.networks.classifiers.train_stack import Checkpoint, Plan, Recipe, train_classifiers
from nn_graphs.progress import Progress, progress_bar
from nn_graphs.workers import default_num_workers, work_off

Groups = Sequence[Sequence[Any]]  # of jobs, whatever these are


@dataclass(frozen=True, eq=False)
class Chunk:
    """Networks that are trained together.

    Attributes:
        model: their function.
        params, buffers: initial values, on the device to compute on.
        recipes: one per network.
        trainable: see `train_classifiers`.
    """

    model: StackedModel
    params: Float[Tensor, "S num_params"]
    buffers: Float[Tensor, "S num_buffers"]
    recipes: tuple[Recipe, ...]
    trainable: Bool[Tensor, "S num_params"] | None = None


def train_chunks(
    make_chunk: Callable[[int], Chunk],
    sizes: dict[int, int],
    data: LabelledData,
    plan: Plan,
    *,
    folder: str | Path,
    on_done: Callable[[int, list[Checkpoint]], None],
    num_workers: int | None = None,
) -> None:
    """Trains chunk after chunk, or several at a time.

    Args:
        make_chunk: makes a chunk of its number, where it is trained; picklable.
        sizes: numbers of the chunks to train, and how many networks each has.
        data: for all.
        plan: for all.
        folder: where states of interrupted chunks are kept (`chunk_<number>.pt`), from which they
            go on. Once `on_done` returns, a chunk is forgotten.
        on_done: called with each finished chunk's number and checkpoints.
        num_workers: processes; None: one a core where there are chunks enough.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    device = data.labels.device
    # Where nothing is compiled, a process pays with the first chunk.
    enough = {} if plan.is_compiled else {"parts_a_worker": 1}
    num_workers = num_workers or default_num_workers(len(sizes), device, **enough)
    total = sum(sizes.values()) * plan.num_epochs

    def finish(number: int, checkpoints: list[Checkpoint]) -> None:
        on_done(number, checkpoints)
        _state_file(folder, number).unlink(missing_ok=True)

    work = partial(_train, make_chunk, data, plan, folder)
    with progress_bar(total, unit="epoch", description="training") as bar:
        work_off(work, list(sizes), bar, num_workers=num_workers, on_done=finish)


def train_groups(
    make_chunk: Callable[[Groups, int], Chunk],
    groups: Groups,
    data: LabelledData,
    plan: Plan,
    *,
    is_done: Callable[[Any], bool],
    on_done: Callable[[Sequence[Any], Scores], None],
    folder: str | Path,
    num_workers: int | None = None,
) -> None:
    """Trains jobs in groups, a stack each, and tells the last scores of every stack.

    Args:
        make_chunk: makes the chunk of all groups and a number, where it is trained; picklable.
        groups: of jobs, the same ones each time, so that stacks are the same.
        data, plan, folder, num_workers: see `train_chunks`.
        is_done: of a job; a group is trained unless all of its jobs are.
        on_done: called with the jobs of a group and their scores.
    """
    sizes = {
        number: len(group) for number, group in enumerate(groups) if not all(map(is_done, group))
    }

    def finish(number: int, checkpoints: list[Checkpoint]) -> None:
        on_done(groups[number], checkpoints[-1].scores)

    train_chunks(
        partial(make_chunk, groups),
        sizes,
        data,
        plan,
        folder=folder,
        on_done=finish,
        num_workers=num_workers,
    )


def _train(
    make_chunk: Callable[[int], Chunk],
    data: LabelledData,
    plan: Plan,
    folder: Path,
    number: int,
    progress: Progress,
) -> list[Checkpoint]:
    chunk = make_chunk(number)
    return train_classifiers(
        chunk.model,
        chunk.params,
        chunk.buffers,
        data,
        chunk.recipes,
        plan,
        trainable=chunk.trainable,
        state_file=_state_file(folder, number),
        progress=progress,
    )


def _state_file(folder: Path, number: int) -> Path:
    return folder / f"chunk_{number}.pt"
