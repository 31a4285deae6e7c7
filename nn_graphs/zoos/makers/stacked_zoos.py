"""Make zoos of networks that are trained on one data set: stacks of runs, resumable.

What is trained is up to a recipe (`small_cnns`, `wild_cnns`, `trajectories`); here is what they
share. The table of a zoo has a row per checkpoint: `run`, its epoch (in a column that the recipe
names), `split` (of the run), the scores of the network and `has_diverged`, `label` (the quality on
test inputs: accuracy or R2), and a column per hyper-parameter. Training scores are on the inputs
that the network is trained on, without dropout.

Stacking gains most where networks are small: there, a network alone costs mostly the overhead of
its operations. Networks of large images keep a core busy alone; what is then left is one process a
core.
"""

import dataclasses
import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.datasets import LabelledDataset
from nn_graphs.memory import keep_freed_memory
from nn_graphs.networks.classifiers.data import LabelledData, Orders
from nn_graphs.networks.classifiers.objectives import objective_of
from nn_graphs.networks.classifiers.spec_model import SpecModel
from nn_graphs.networks.classifiers.stack_chunks import Chunk, train_chunks
from nn_graphs.networks.classifiers.train_stack import Checkpoint, Plan, Recipe
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.ranges import PositiveInt
from nn_graphs.zoos.makers.shards import Shards
from nn_graphs.zoos.makers.stacked_runs import Runs, check_images_fit
from nn_graphs.zoos.zoo import Zoo

logger = logging.getLogger(__name__)


class StackRecipe(ABC):
    """A `ZooRecipe` of networks that are trained on one data set: a frozen dataclass.

    Attributes:
        num_epochs, batch_size: of all runs.
        diverged: networks with NaN or infinite weights or test loss are left out of the zoo
            ("drop") or stay in it ("keep"); they are counted in the log either way.
        compiles: whether compiling the step pays: few architectures, many networks each.
        maker: a name for this kind of zoo, in its metadata.
        epoch_column: of the table, with the number of epochs after which a network was kept.
    """

    num_epochs: PositiveInt
    batch_size: PositiveInt
    diverged: Literal["drop", "keep"]
    compiles: ClassVar[bool]
    maker: ClassVar[str]
    epoch_column: ClassVar[str]

    @abstractmethod
    def load(self, data_root: str | Path | None = None) -> LabelledDataset:
        """The data set, from the files under a folder."""

    @abstractmethod
    def labelled(
        self, dataset: LabelledDataset, device: torch.device | str = "cpu"
    ) -> LabelledData:
        """What networks see of it."""

    @property
    @abstractmethod
    def epochs_kept(self) -> tuple[int, ...]:
        """After which epochs a network goes into the zoo, 0 being its initial values."""

    @abstractmethod
    def make_runs(self, dataset: LabelledDataset) -> Runs:
        """All runs, with their hyper-parameters."""

    @abstractmethod
    def training(self, run: pd.Series) -> Recipe:
        """How the run of a row is trained."""

    @abstractmethod
    def initial_params(
        self, spec: NetworkSpec, runs: pd.DataFrame
    ) -> Float[Tensor, "S num_params"]:
        """Initial values of some runs of one architecture."""

    def make(
        self,
        path: str | Path,
        *,
        data_root: str | Path | None = None,
        device: str | torch.device = "cpu",
    ) -> Zoo:
        """See `ZooRecipe.make`, and `make_stacked_zoo` for more options."""
        return make_stacked_zoo(self, path, data_root=data_root, device=device)


def make_stacked_zoo(
    recipe: StackRecipe,
    path: str | Path,
    *,
    data_root: str | Path | None = None,
    device: str | torch.device = "cpu",
    chunk_size: PositiveInt | None = None,
    num_workers: int | None = None,
    is_compiled: bool | None = None,
) -> Zoo:
    """Trains the zoo of a recipe and saves it at `path`.

    Finished stacks, and states of unfinished ones, are kept beside `path`; called again after an
    interruption, it goes on from there, bit for bit. Where networks are trained in this process, it
    keeps freed memory from then on (see `nn_graphs.memory`).

    Args:
        recipe: what to train.
        path: the zoo file to write.
        data_root: where data sets are; see `nn_graphs.datasets.data_root`.
        device: where to train.
        chunk_size: networks trained together; None: as many as fit the processor's cache.
        num_workers: processes; None: one a core, for a zoo large enough.
        is_compiled: compile the training step where a compiler exists; None: where it pays.

    Raises:
        NNGraphsError: parts of another zoo lie at `path`, the data set cannot be read, images are
            too small for the networks, or a network sees less than a batch; before the work begins.
    """
    path = Path(path)
    dataset = recipe.load(data_root)
    data, runs = recipe.labelled(dataset, device), recipe.make_runs(dataset)
    places = tuple(data.inputs.shape[2:])  # pixels of images, none of vectors
    for spec in runs.specs:
        check_images_fit(spec, places)
    chunks = runs.chunks(
        num_pixels=math.prod(places), batch_size=recipe.batch_size, chunk_size=chunk_size
    )
    shares = runs.table["train_fraction"].unique().tolist()
    Orders(data.num_train, fractions=shares, seeds=[0] * len(shares), batch_size=recipe.batch_size)
    begun_with = {**dataclasses.asdict(recipe), "chunk_size": chunk_size}
    shards = Shards.open(path, begun_with, num_networks=len(chunks), shard_size=1)
    is_compiled = recipe.compiles if is_compiled is None else is_compiled
    sizes = runs.filled_sizes(chunks) if is_compiled else [len(chunk) for chunk in chunks]
    train_chunks(
        _ChunkMaker(recipe, runs, chunks, device, sizes),
        {number: sizes[number] for number, _ in shards.missing()},
        data,
        Plan(
            recipe.num_epochs,
            recipe.batch_size,
            recipe.epochs_kept,
            is_compiled=is_compiled,
        ),
        folder=shards.folder,
        on_done=lambda number, kept: shards.write(
            number, _columns(kept, len(chunks[number]), recipe.epoch_column)
        ),
        num_workers=num_workers,
    )
    metadata = {"maker": recipe.maker}
    if dataset.inputs.ndim == 4:
        metadata["image_size"] = list(dataset.inputs.shape[2:])
    quality = objective_of(data.labels).scores._fields[2]
    columns = shards.read()
    columns["label"] = columns[quality]
    zoo = _assemble(recipe, runs, chunks, columns, metadata)
    return shards.replace_by(zoo, recipe, path)


@dataclass(frozen=True, eq=False)
class _ChunkMaker:
    """Makes the stack of a chunk, in the process where it is trained.

    Chunks are filled up to their `sizes` by runs that are in them already; what is trained twice is
    thrown away.
    """

    recipe: StackRecipe
    runs: Runs
    chunks: list[Int[np.ndarray, "_"]]
    device: str | torch.device
    sizes: list[int]

    def __call__(self, number: int) -> Chunk:
        keep_freed_memory()
        table = self.runs.table.loc[np.resize(self.chunks[number], self.sizes[number])]
        spec = self.runs.specs[int(table["spec"].iloc[0])]
        params = self.recipe.initial_params(spec, table).to(self.device)
        recipes = tuple(self.recipe.training(run) for _, run in table.iterrows())
        return Chunk(SpecModel(spec), params, params.new_zeros(len(params), 0), recipes)


def _columns(
    checkpoints: list[Checkpoint], num_runs: int, epoch_column: str
) -> dict[str, np.ndarray]:
    """Arrays of a stack's first runs: for each of them, all its checkpoints; parameters flat."""
    params = torch.stack([one.params[:num_runs] for one in checkpoints], 1)
    epochs = torch.tensor([one.epoch for one in checkpoints]).expand(len(params), -1)
    scores = {
        name: torch.stack([getattr(one.scores, name)[:num_runs] for one in checkpoints], 1)
        .flatten()
        .double()
        for name in checkpoints[0].scores._fields
    }
    *_, test_loss = scores.values()
    is_finite = params.isfinite().all(2).flatten() & test_loss.isfinite()
    columns = {"params": params.flatten(), epoch_column: epochs.flatten()}
    columns["has_diverged"] = ~is_finite
    return {name: values.numpy() for name, values in {**columns, **scores}.items()}


def _assemble(
    recipe: StackRecipe,
    runs: Runs,
    chunks: list[Int[np.ndarray, "_"]],
    columns: dict[str, np.ndarray],
    metadata: dict,
) -> Zoo:
    """The zoo of all networks; they lie chunk by chunk, hence architecture by architecture."""
    params = torch.from_numpy(columns.pop("params"))
    order = np.concatenate(chunks)
    numbers = np.repeat(order, len(columns["label"]) // len(order))
    table = runs.table.loc[numbers].reset_index(drop=True).assign(run=numbers, **columns)
    table["row"] = table.groupby("spec").cumcount()
    counts = np.bincount(table["spec"], minlength=len(runs.specs))
    sizes = [count * spec.num_params for count, spec in zip(counts, runs.specs, strict=True)]
    parts = tuple(
        part.view(-1, spec.num_params)
        for part, spec in zip(params.split(sizes), runs.specs, strict=True)
    )
    _report(table, recipe.diverged)
    if recipe.diverged == "drop":
        parts, table = _without_diverged(parts, table)
    table = table.sort_values(["run", recipe.epoch_column], ignore_index=True)
    return Zoo(runs.specs, parts, table, metadata)


def _without_diverged(
    params: tuple[Tensor, ...], table: pd.DataFrame
) -> tuple[tuple[Tensor, ...], pd.DataFrame]:
    kept = table[~table["has_diverged"]].reset_index(drop=True)
    params = tuple(
        values[torch.tensor(kept["row"][kept["spec"] == number].tolist(), dtype=torch.long)]
        for number, values in enumerate(params)
    )
    return params, kept.assign(row=kept.groupby("spec").cumcount())


def _report(table: pd.DataFrame, diverged: str) -> None:
    lost = table[table["has_diverged"]]
    if len(lost):
        logger.warning(
            "%d of %d networks, of %d of %d runs, have diverged and are %s.",
            len(lost),
            len(table),
            lost["run"].nunique(),
            table["run"].nunique(),
            "left out" if diverged == "drop" else "kept",
        )
