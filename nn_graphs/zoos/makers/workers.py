"""Shards fitted by several processes of one core each.

A step of small networks is over in milliseconds: two cores that share it mostly wait for each
other, two processes with a shard each don't.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.queues import SimpleQueue
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from nn_graphs.zoos.makers.shards import Shards

POLL_SECONDS = 0.2
SHARDS_A_WORKER = 2  # fewer are not worth the seconds in which a process starts and compiles


@runtime_checkable
class Progress(Protocol):
    """What reports of finished networks go to, e.g. a `ProgressBar`."""

    def advance(self, steps: int, figures: Mapping[str, str] | None = None) -> None: ...


FitShard = Callable[[int, int, Progress], Mapping[str, np.ndarray]]
"""`(start, stop, progress) -> arrays` of the networks of a shard; must be picklable."""


def fit_shards(fit_shard: FitShard, shards: Shards, bar: Progress, *, num_workers: int) -> None:
    """Fits what is missing of `shards`, in this process or in `num_workers` others."""
    if num_workers == 1:
        for start, stop in shards.missing():
            shards.write(start, fit_shard(start, stop, bar))
        return
    context = multiprocessing.get_context("spawn")
    reports: SimpleQueue = context.SimpleQueue()
    pool = ProcessPoolExecutor(
        num_workers, context, initializer=_begin, initargs=(fit_shard, shards, reports)
    )
    try:
        _watch([pool.submit(_fit, *place) for place in shards.missing()], reports, bar)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()


def default_num_workers(shards: Shards, device: torch.device) -> int:
    """One process a core, on a CPU and where each gets shards enough."""
    if device.type != "cpu" or multiprocessing.parent_process() is not None:
        return 1
    return max(1, min(torch.get_num_threads(), len(shards.missing()) // SHARDS_A_WORKER))


def _watch(futures: Sequence[Future], reports: "SimpleQueue", bar: Progress) -> None:
    """Shows the workers' reports until all shards are there; raises what a worker raised."""
    waiting = list(futures)
    while waiting:
        while not reports.empty():
            bar.advance(*reports.get())
        for future in [future for future in waiting if future.done()]:
            future.result()
            waiting.remove(future)
        time.sleep(POLL_SECONDS)
    while not reports.empty():
        bar.advance(*reports.get())


class _Reports:
    """A worker's progress, sent to the process that shows it."""

    def __init__(self, queue: "SimpleQueue"):
        self._queue = queue

    def advance(self, steps: int, figures: Mapping[str, str] | None = None) -> None:
        self._queue.put((steps, figures))


_worker: dict[str, Any] = {}  # what a worker was begun with


def _begin(fit_shard: FitShard, shards: Shards, reports: "SimpleQueue") -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker.update(fit_shard=fit_shard, shards=shards, progress=_Reports(reports))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _fit(start: int, stop: int) -> None:
    arrays = _worker["fit_shard"](start, stop, _worker["progress"])
    _worker["shards"].write(start, arrays)
