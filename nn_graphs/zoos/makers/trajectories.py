"""Zoos of trajectories: of every training run a network per epoch, as StructureReps embeds them.

The published runs are of 200 to 250 epochs, on data sets from two moons to images; architectures
and settings are not published, so that those here are our choice. The table of a zoo has a row per
network: `run`, `epoch`, `split` (of the run), `structure` (the name of its architecture) with
`hidden` (its widths) and `num_params`, `optimizer`, `learning_rate`, `weight_decay`,
`train_fraction`, `has_diverged`, `label` (accuracy or R2 on test inputs) and scores: for classes
`train_accuracy`, `train_loss`, `test_accuracy`, `test_loss`, for numbers `train_r2`, `train_mse`,
`test_r2`, `test_mse`, where a squared error of 1 is that of the mean of the training numbers.

Runs of one architecture are trained as one stack. They see one order of the data, as the published
zoos of CNNs do; initial values and learning rates are each run's own. Training is Adam's with a
constant learning rate; a last incomplete batch of an epoch is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.datasets import LabelledDataset
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.train_stack import Recipe
from nn_graphs.networks.initializers import torch_initial_params
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.ranges import Count, NonNegative, PositiveFloat, PositiveInt, Seed, Share, in_ranges
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.labelled_tables import LabelledTable
from nn_graphs.zoos.makers.stacked_runs import Runs, initial_keys, log_uniform
from nn_graphs.zoos.makers.stacked_zoos import StackRecipe
from nn_graphs.zoos.makers.structures import MLPStructures, Structures
from nn_graphs.zoos.splits import split_by_run


@in_ranges
@dataclass(frozen=True)
class TrajectoryRecipe(StackRecipe):
    """What such a zoo is made of; equal recipes make equal zoos.

    Attributes:
        data: images or a table that networks are trained on.
        structures: their architectures; runs are divided among them as evenly as can be.
        num_runs: trainings.
        num_epochs: of each.
        checkpoint_epochs: after which a network goes into the zoo, 0 being its initial values,
            besides the last; None: after each.
        batch_size: inputs a step.
        optimizer: of all runs, see `Optimizer`.
        learning_rate: ends of a log-uniform distribution.
        weight_decay: of the optimizer.
        val_share, test_share: of the runs.
        diverged: networks with NaN or infinite weights or loss, from that epoch of their run on,
            are left out or kept.
        seed: of all choices, initial values and orders of the data.
    """

    data: LabelledImages | LabelledTable = field(default_factory=LabelledTable)
    structures: Structures = field(default_factory=MLPStructures)
    num_runs: PositiveInt = 32
    num_epochs: PositiveInt = 200
    checkpoint_epochs: Sequence[Count] | None = None
    batch_size: PositiveInt = 32
    optimizer: str = "adam"
    learning_rate: Sequence[PositiveFloat] = (5e-4, 2e-2)
    weight_decay: NonNegative = 0.0
    val_share: Share = 0.1
    test_share: Share = 0.2
    diverged: Literal["drop", "keep"] = "drop"
    seed: Seed = 0

    maker = "trajectories"
    epoch_column = "epoch"
    compiles = False  # the compiler takes about as long as it saves in 10,000 steps

    @property
    def epochs_kept(self) -> tuple[int, ...]:
        if self.checkpoint_epochs is None:
            return tuple(range(1, self.num_epochs + 1))
        return tuple(self.checkpoint_epochs)

    def load(self, data_root: str | Path | None = None) -> LabelledDataset:
        """The images or the table."""
        return self.data.load(data_root)

    def labelled(
        self, dataset: LabelledDataset, device: torch.device | str = "cpu"
    ) -> LabelledData:
        """What networks see of them; where they read vectors, all values of an input in a row."""
        data = self.data.labelled(dataset, device)
        return data.flattened() if self.structures.reads_vectors else data

    def make_runs(self, dataset: LabelledDataset) -> Runs:
        """One row per run; see `Runs`.

        Raises:
            NNGraphsError: there are fewer runs than architectures, or too few to be split.
        """
        named = self.structures.specs(dataset)
        if not 0 < len(named) <= self.num_runs:
            raise NNGraphsError(
                f"record {self.num_runs} trajectories on {dataset.name}",
                found=f"they are to be of {len(named)} structures.",
                do="Give one structure at least, and one run for each.",
            )
        specs = tuple(dict.fromkeys(named.values()))
        draw = np.random.default_rng(self.seed)
        names = list(named)
        table = pd.DataFrame({"structure": [names[n % len(names)] for n in range(self.num_runs)]})
        table["spec"] = [specs.index(named[name]) for name in table["structure"]]
        table["hidden"] = [_hidden(specs[number]) for number in table["spec"]]
        table["num_params"] = [specs[number].num_params for number in table["spec"]]
        table = table.assign(
            optimizer=self.optimizer,
            learning_rate=log_uniform(draw, self.learning_rate, self.num_runs),
            weight_decay=self.weight_decay,
            train_fraction=1.0,
        )
        shares = {"val_share": self.val_share, "test_share": self.test_share}
        table["split"] = split_by_run(table.index.to_series(), **shares, seed=self.seed)
        return Runs(specs, table)

    def training(self, run: pd.Series) -> Recipe:
        optimizer = Optimizer(
            run["optimizer"], run["learning_rate"], weight_decay=run["weight_decay"]
        )
        return Recipe(optimizer, seed=self.seed)

    def initial_params(
        self, spec: NetworkSpec, runs: pd.DataFrame
    ) -> Float[Tensor, "S num_params"]:
        """As torch's layers begin."""
        return torch_initial_params(spec, initial_keys(self.seed, runs))


def _hidden(spec: NetworkSpec) -> str:
    return " ".join(map(str, spec.layer_layout[1:-1]))
