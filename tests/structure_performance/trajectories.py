"""Zoos like those of training trajectories, made in no time, whose performance is known."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import ConvSpec, NetworkSpec
from nn_graphs.zoos.zoo import Zoo

FLAT = NetworkSpec.mlp((2, 5, 1), activation=Activation("relu"))
DEEP = NetworkSpec.mlp((2, 4, 3, 1), activation=Activation("relu"))
CNN = NetworkSpec.cnn(
    (1, 3, 2), convs=ConvSpec.square(3), activations=Activation("relu"), num_outputs=2
)


def trajectory_zoo(
    *, num_runs: int = 8, num_epochs: int = 12, specs: tuple[NetworkSpec, ...] = (FLAT,)
) -> Zoo:
    """Runs begin anywhere and drift; accuracy grows with the epoch, at a speed of the run's own.

    Networks stand in a random order. Run r is of the architecture `specs[r % len(specs)]`.
    """
    random = np.random.default_rng(0)
    run, epoch = (axis.ravel() for axis in np.mgrid[:num_runs, :num_epochs])
    order = random.permutation(len(run))
    run, epoch = run[order], epoch[order]
    speed = np.linspace(0.2, 1.0, num_runs)[run]
    accuracy = 1 - np.exp(-speed * epoch / 4)
    kinds = run % len(specs)
    rows, params = np.zeros(len(run), dtype=int), []
    for kind, spec in enumerate(specs):
        numbers = np.flatnonzero(kinds == kind)
        rows[numbers] = np.arange(len(numbers))
        starts = normal(num_runs, spec.num_params, seed=kind)
        drifts = normal(num_runs, spec.num_params, seed=10 + kind)
        steps = torch.from_numpy(0.05 * epoch[numbers]).float().unsqueeze(1)
        params.append(starts[run[numbers]] + steps * drifts[run[numbers]])
    table = pd.DataFrame(
        {
            "run": run,
            "epoch": epoch,
            "structure": np.array(["regular", "deeper", "wider"])[kinds],
            "train_accuracy": accuracy,
            "test_accuracy": 0.9 * accuracy,
            "train_loss": 1 - accuracy,
            "spec": kinds,
            "row": rows,
        }
    )
    return Zoo(specs, tuple(params), table)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unchecked(function: Callable) -> Callable:
    """A function without the check of types that there is under test alone."""
    return getattr(function, "__wrapped__", function)
