"""Zoos like the Small CNN Zoo: one small architecture, every run with hyper-parameters of its own.

Unterthiner et al., 2020 (arXiv 2002.11448). Values and ranges are those of the published files:
learning rate log-uniform from 0.0005 to 0.05, l2reg log-uniform from 1e-8 to 0.01, dropout uniform
up to 0.7, init_std log-uniform from 0.001 to 0.5 (of the initializers that have no deviation of
their own), Adam, SGD or RMSprop with the settings of Keras, five initializers, zero biases, relu or
tanh, 10, 25, 50 or 100 % of the training images; 86 epochs of batches of 512, kept after 0, 1, 2,
3, 20, 40, 60, 80 and 86. As there, all runs share one order of the data, one draw of dropout, and,
of one train_fraction, one subset.

It differs in two things. `l2reg` times the sum of squared weights is Keras' penalty, hence twice
as much weight decay; here biases, which start at zero, decay too. And losses in the table are
cross-entropies without that penalty.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.datasets import ImageDataset
from nn_graphs.networks.classifiers.train_stack import Recipe
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.initializers import KERAS_INITIALIZERS, keras_initial_params
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.ranges import Count, PositiveFloat, PositiveInt, Seed, Share, in_ranges
from nn_graphs.zoos.makers.cnn_zoos import CNNRecipe
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.stacked_runs import Runs, initial_keys, log_uniform
from nn_graphs.zoos.splits import split_by_run

KERAS_EPS = 1e-7
KERAS_RHO = 0.9  # decay of RMSprop's second moment


@in_ranges
@dataclass(frozen=True)
class SmallCNNRecipe(CNNRecipe):
    """What such a zoo is made of; equal recipes make equal zoos. Defaults are as published, but
    for the number of runs (30,000 there) and the images.

    Attributes:
        images: gray, or their channels are read as they are.
        num_runs: networks that are trained.
        num_epochs: of each.
        checkpoint_epochs: after which a network goes into the zoo, besides the last.
        batch_size: images a step.
        padding: of the convolutions, for images of less than 15 x 15 pixels.
        learning_rate, l2reg, init_std: ends of log-uniform distributions.
        dropout: ends of a uniform one.
        train_fractions, optimizers, initializers, activations: drawn from, evenly.
        val_share, test_share: of the runs.
        diverged: networks with NaN or infinite weights or loss are left out or kept.
        seed: of all choices, initial values, orders and dropout.
    """

    images: LabelledImages = field(default_factory=LabelledImages)
    num_runs: PositiveInt = 1000
    num_epochs: PositiveInt = 86
    checkpoint_epochs: Sequence[Count] = (0, 1, 2, 3, 20, 40, 60, 80, 86)
    batch_size: PositiveInt = 512
    padding: Count = 0
    learning_rate: Sequence[PositiveFloat] = (5e-4, 5e-2)
    l2reg: Sequence[float] = (1e-8, 1e-2)
    dropout: Sequence[float] = (0.0, 0.7)
    init_std: Sequence[float] = (1e-3, 0.5)
    train_fractions: Sequence[Share] = (0.1, 0.25, 0.5, 1.0)
    optimizers: Sequence[str] = ("adam", "sgd", "rmsprop")
    initializers: Sequence[str] = KERAS_INITIALIZERS
    activations: Sequence[str] = ("relu", "tanh")
    val_share: Share = 0.1
    test_share: Share = 0.5
    diverged: Literal["drop", "keep"] = "drop"
    seed: Seed = 0

    compiles = True

    @property
    def epochs_kept(self) -> tuple[int, ...]:
        return tuple(self.checkpoint_epochs)

    def make_runs(self, images: ImageDataset) -> Runs:
        """One row per run; see `Runs`."""
        channels = images.images.shape[-1]
        draw = np.random.default_rng(self.seed)
        columns = {
            "activation": draw.choice(list(self.activations), self.num_runs).astype(object),
            "optimizer": draw.choice(list(self.optimizers), self.num_runs).astype(object),
            "w_init": draw.choice(list(self.initializers), self.num_runs).astype(object),
            "b_init": "zeros",
            "train_fraction": draw.choice(list(self.train_fractions), self.num_runs),
            "learning_rate": log_uniform(draw, self.learning_rate, self.num_runs),
            "l2reg": log_uniform(draw, self.l2reg, self.num_runs),
            "dropout": draw.uniform(*self.dropout, self.num_runs),
            "init_std": log_uniform(draw, self.init_std, self.num_runs),
        }
        table = pd.DataFrame(columns)
        shares = {"val_share": self.val_share, "test_share": self.test_share}
        table["split"] = split_by_run(table.index.to_series(), **shares, seed=self.seed)
        table["spec"] = table["activation"].map(list(self.activations).index)
        specs = [
            small_cnn_zoo_spec(activation, in_channels=channels, padding=self.padding)
            for activation in self.activations
        ]
        return Runs(tuple(specs), table)

    def training(self, run: pd.Series) -> Recipe:
        optimizer = Optimizer(
            run["optimizer"],
            run["learning_rate"],
            alpha=KERAS_RHO,
            eps=KERAS_EPS,
            weight_decay=2 * run["l2reg"],
        )
        return Recipe(
            optimizer,
            dropout=run["dropout"],
            train_fraction=run["train_fraction"],
            seed=self.seed,
        )

    def initial_params(
        self, spec: NetworkSpec, runs: pd.DataFrame
    ) -> Float[Tensor, "S num_params"]:
        keys = initial_keys(self.seed, runs)
        stds = torch.tensor(runs["init_std"].to_numpy())
        return keras_initial_params(spec, list(runs["w_init"]), stds, keys)
