"""Zoos that are made in no time: one with separable classes, one of two architectures."""

import numpy as np
import pandas as pd
import torch

from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.zoo import Zoo

SMALL = NetworkSpec.mlp((2, 3, 1), activation=Activation("sine", 30.0), offset=0.5)
DEEP = NetworkSpec.mlp((2, 4, 2, 1), activation=Activation("relu"))
SIZES = {"train": 48, "val": 16, "test": 16}


def separable_zoo(*, noise: float = 0.3) -> Zoo:
    """Networks of one architecture whose class moves all their parameters."""
    table = _table()
    centres = _normal(2, SMALL.num_params, seed=1)
    labels = torch.tensor(table["label"].tolist())
    params = centres[labels] + noise * _normal(len(table), SMALL.num_params, seed=2)
    return Zoo.single(SMALL, params, table)


def mixed_zoo() -> Zoo:
    """Networks of two architectures in no order; the class is the sign of the output's bias."""
    table = _table()
    kinds = np.random.default_rng(0).integers(0, 2, len(table))
    rows = np.where(kinds == 0, np.cumsum(kinds == 0), np.cumsum(kinds == 1)) - 1
    params = []
    for kind, spec in enumerate((SMALL, DEEP)):
        values = 0.3 * _normal((kinds == kind).sum(), spec.num_params, seed=kind)
        values[:, -1] = 2 * torch.tensor(table["label"][kinds == kind].tolist()) - 1
        params.append(values)
    return Zoo((SMALL, DEEP), tuple(params), table.assign(spec=kinds, row=rows))


def _table() -> pd.DataFrame:
    count = sum(SIZES.values())
    return pd.DataFrame(
        {
            "label": np.arange(count) % 2,
            "split": np.repeat(list(SIZES), list(SIZES.values())),
            "run": np.arange(count),
        }
    )


def _normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*map(int, shape), generator=torch.Generator().manual_seed(seed))
