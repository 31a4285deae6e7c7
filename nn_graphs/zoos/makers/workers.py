"""Shards of a zoo fitted by several processes."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch

from nn_graphs import workers
from nn_graphs.progress import Progress
from nn_graphs.zoos.makers.shards import Shards

FitShard = Callable[[int, int, Progress], Mapping[str, np.ndarray]]
"""`(start, stop, progress) -> arrays` of the networks of a shard; must be picklable."""


def fit_shards(fit_shard: FitShard, shards: Shards, bar: Progress, *, num_workers: int) -> None:
    """Fits what is missing of `shards`, in this process or in `num_workers` others."""
    work = partial(_fit, fit_shard, shards)
    workers.work_off(work, shards.missing(), bar, num_workers=num_workers)


def default_num_workers(shards: Shards, device: torch.device) -> int:
    """One process a core, on a CPU and where each gets shards enough."""
    return workers.default_num_workers(len(shards.missing()), device)


def _fit(fit_shard: FitShard, shards: Shards, place: tuple[int, int], progress: Progress) -> None:
    shards.write(place[0], fit_shard(*place, progress))
