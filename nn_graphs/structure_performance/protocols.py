"""Which networks a probe is fitted to, and which it is scored on: two protocols.

- `random`, as published by StructureReps: a random share of all networks is scored. Neighbouring
  epochs of one training run lie on both sides, so that a probe may know a network it is scored on
  from the epoch before.
- `run_disjoint`: all epochs of a run are on one side.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Int, Shaped
from sklearn.model_selection import train_test_split

from nn_graphs.errors import NNGraphsError, check_known

Protocol = Literal["random", "run_disjoint"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
VAL_SHARE = 0.2
MIN_TRAIN_RUNS = 2  # so that the strength of a probe can be chosen on another run
MIN_NETWORKS = 10  # of which one fifth is two, the fewest that a correlation is defined for

Runs = Shaped[np.ndarray, " N"]
"""The run of each network: numbers or names."""


@dataclass(frozen=True)
class Division:
    """Numbers of the networks on either side, ascending."""

    train: Int[np.ndarray, " T"]
    val: Int[np.ndarray, " V"]


def divide(runs: Runs, protocol: Protocol, *, seed: int, val_share: float = VAL_SHARE) -> Division:
    """Divides networks, or the runs that they are of, at random.

    Args:
        runs: of the networks.
        protocol: see above.
        seed: of the division.
        val_share: of the networks, or of the runs, that are scored.

    Raises:
        NNGraphsError: an unknown protocol, or too few networks or runs for it.
    """
    check_known(protocol, PROTOCOLS, asked=f"divide networks by {protocol!r}")
    if len(runs) < MIN_NETWORKS:
        raise NNGraphsError(
            f"divide {len(runs)} networks into those to fit to and those to score",
            found=f"a correlation needs {MIN_NETWORKS} of them.",
            do="Keep more epochs, or make more runs.",
        )
    if protocol == "random":
        train, val = train_test_split(np.arange(len(runs)), test_size=val_share, random_state=seed)
        return Division(np.sort(train), np.sort(val))
    is_val = np.isin(runs, _val_runs(runs, val_share, seed))
    return Division(np.flatnonzero(~is_val), np.flatnonzero(is_val))


def _val_runs(runs: Runs, val_share: float, seed: int) -> Shaped[np.ndarray, " V"]:
    names = np.array(sorted(pd.unique(runs)))
    num_val = max(1, round(val_share * len(names)))
    if len(names) - num_val < MIN_TRAIN_RUNS:
        raise NNGraphsError(
            f"divide the networks of {len(names)} runs such that each run is on one side",
            found=f"with {num_val} to score, {len(names) - num_val} are left to fit to; "
            f"{MIN_TRAIN_RUNS} are needed.",
            do="Make more runs, or choose the protocol 'random' and say so.",
        )
    return train_test_split(names, test_size=num_val, random_state=seed)[1]
