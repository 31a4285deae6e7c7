"""Zoos like the CNN Wild Park: every network has an architecture of its own.

Kofinas et al., ICLR 2024. Architectures are drawn as the published code draws them: 2 to 5
convolutions, 4, 8, 16 or 32 channels, kernels of 3, 5 or 7, and one of five activations for each;
each convolution but the first two may add the output of an earlier one, not the one it reads, or
none, all equally likely. Training is AdamW at a learning rate of 0.001 without weight decay, on
standardised images in batches of 512, kept every so many epochs. A last incomplete batch of an
epoch is left out here.

Networks of one architecture are trained as one stack: `num_seeds` of them, with different initial
values. With one seed an architecture, as published, a stack is a single network, and what is gained
over plain torch is that each core trains another one. A stack of several shares the overhead of its
operations, which counts where images are small; they are kept in one split.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from nn_graphs.datasets import ImageDataset
from nn_graphs.networks.classifiers.train_stack import Recipe
from nn_graphs.networks.cnn import wild_park_spec
from nn_graphs.networks.initializers import torch_initial_params
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.ranges import NonNegative, PositiveFloat, PositiveInt, Seed, Share, in_ranges
from nn_graphs.zoos.makers.cnn_zoos import CNNRecipe
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.stacked_runs import Runs, initial_keys
from nn_graphs.zoos.splits import split_by_run

NO_RESIDUAL = -1


@in_ranges
@dataclass(frozen=True)
class WildCNNRecipe(CNNRecipe):
    """What such a zoo is made of; equal recipes make equal zoos.

    Attributes:
        images: that networks are trained on.
        num_architectures: that are drawn; equal ones are trained as one.
        num_seeds: networks of each.
        num_layers, channels, kernel_sizes, activations: drawn from, evenly; kernels are odd.
        has_residuals: whether convolutions may add outputs of earlier ones.
        num_epochs: of each run.
        checkpoint_every: epochs from one network of the zoo to the next of the same run.
        batch_size: images a step.
        learning_rate, weight_decay: of AdamW.
        val_share, test_share: of the architectures.
        diverged: networks with NaN or infinite weights or loss are left out or kept.
        seed: of all choices, initial values and orders of the data.
    """

    images: LabelledImages = field(default_factory=lambda: LabelledImages(scale="standard"))
    num_architectures: PositiveInt = 1000
    num_seeds: PositiveInt = 1
    num_layers: Sequence[PositiveInt] = (2, 3, 4, 5)
    channels: Sequence[PositiveInt] = (4, 8, 16, 32)
    kernel_sizes: Sequence[PositiveInt] = (3, 5, 7)
    activations: Sequence[str] = ("relu", "gelu", "tanh", "sigmoid", "leaky_relu")
    has_residuals: bool = True
    num_epochs: PositiveInt = 200
    checkpoint_every: PositiveInt = 10
    batch_size: PositiveInt = 512
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegative = 0.0
    val_share: Share = 0.1
    test_share: Share = 0.2
    diverged: Literal["drop", "keep"] = "drop"
    seed: Seed = 0

    compiles = False  # every architecture would be compiled anew

    @property
    def epochs_kept(self) -> tuple[int, ...]:
        return tuple(range(self.checkpoint_every, self.num_epochs + 1, self.checkpoint_every))

    def make_runs(self, images: ImageDataset) -> Runs:
        """One row per run; see `Runs`."""
        draw = np.random.default_rng(self.seed)
        drawn = [self._draw(draw, images.images.shape[-1]) for _ in range(self.num_architectures)]
        num_classes = len(images.class_names)
        specs = [
            wild_park_spec(
                one["channels"],
                one["kernel_sizes"],
                activations=one["activations"],
                residuals=one["residuals"],
                num_outputs=num_classes,
            )
            for one in drawn
        ]
        distinct = {spec: number for number, spec in enumerate(dict.fromkeys(specs))}
        table = pd.DataFrame([{name: _text(part) for name, part in one.items()} for one in drawn])
        table["spec"] = [distinct[spec] for spec in specs]
        table = table.loc[table.index.repeat(self.num_seeds)].reset_index(drop=True)
        table = table.assign(
            optimizer="adamw",
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            train_fraction=1.0,
        )
        shares = {"val_share": self.val_share, "test_share": self.test_share}
        table["split"] = split_by_run(table["spec"], **shares, seed=self.seed)
        return Runs(tuple(distinct), table)

    def _draw(self, draw: np.random.Generator, in_channels: int) -> dict[str, tuple]:
        """One architecture, as `wild_park_spec` takes it."""
        depth = int(draw.choice(self.num_layers))

        def several(values: Sequence) -> tuple:
            return tuple(draw.choice(list(values), depth).tolist())

        sources = [
            int(draw.integers(NO_RESIDUAL, max(layer - 1, 0))) if self.has_residuals else -1
            for layer in range(depth)
        ]
        return {
            "channels": (in_channels, *several(self.channels)),
            "kernel_sizes": several(self.kernel_sizes),
            "activations": several(self.activations),
            "residuals": tuple(sources),
        }

    def training(self, run: pd.Series) -> Recipe:
        optimizer = Optimizer("adamw", run["learning_rate"], weight_decay=run["weight_decay"])
        return Recipe(optimizer, seed=self.seed)

    def initial_params(
        self, spec: NetworkSpec, runs: pd.DataFrame
    ) -> Float[Tensor, "S num_params"]:
        return torch_initial_params(spec, initial_keys(self.seed, runs))


def _text(values: Sequence) -> str:
    return " ".join(map(str, values))
