"""Parts of a long computation, done by several processes of one core each.

A step of small networks is over in milliseconds: two cores that share it mostly wait for each
other, two processes with a part each don't.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.queues import SimpleQueue
from typing import Any

import torch

from nn_graphs.progress import Progress
from nn_graphs.threads import num_cores

POLL_SECONDS = 0.2
COMPILER = "torch._inductor.async_compile"
PARTS_A_WORKER = 2  # fewer are not worth the seconds in which a process starts and compiles

Work = Callable[[Any, Progress], Any]
"""`(part, progress) -> result`; must be picklable, and so must parts and results."""


def work_off(
    work: Work,
    parts: Sequence[Any],
    bar: Progress,
    *,
    num_workers: int,
    on_done: Callable[[Any, Any], None] = lambda part, result: None,
) -> None:
    """Does the parts, in this process or in `num_workers` others.

    Args:
        work: what is done with a part.
        parts: what there is to do.
        bar: shows what workers report.
        num_workers: processes; with 1, this one.
        on_done: called here with each part and its result, as soon as it is there.
    """
    if num_workers == 1:
        for part in parts:
            on_done(part, work(part, bar))
        return
    context = multiprocessing.get_context(start_method())
    reports: SimpleQueue = context.SimpleQueue()
    pool = ProcessPoolExecutor(num_workers, context, initializer=_begin, initargs=(work, reports))
    try:
        _watch({pool.submit(_do, part): part for part in parts}, reports, bar, on_done)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()


def start_method() -> str:
    """Forked processes need not import everything again, which takes longer than small zoos do.

    Threads do not survive a fork: with an accelerator there are those of autograd, and where
    something was compiled already, those of the compiler, for which a forked process would wait
    forever.
    """
    has_threads = torch.accelerator.is_available() or COMPILER in sys.modules
    return "fork" if sys.platform == "linux" and not has_threads else "spawn"


def default_num_workers(
    num_parts: int, device: torch.device, *, parts_a_worker: int = PARTS_A_WORKER
) -> int:
    """One process a core, on a CPU and where each gets parts enough."""
    if device.type != "cpu" or multiprocessing.parent_process() is not None:
        return 1
    return max(1, min(num_cores(), num_parts // parts_a_worker))


def _watch(
    parts: Mapping[Future, Any],
    reports: "SimpleQueue",
    bar: Progress,
    on_done: Callable[[Any, Any], None],
) -> None:
    """Shows the workers' reports until all parts are done; raises what a worker raised."""
    waiting = list(parts)
    while waiting:
        while not reports.empty():
            bar.advance(*reports.get())
        for future in [future for future in waiting if future.done()]:
            on_done(parts[future], future.result())
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


def _begin(work: Work, reports: "SimpleQueue") -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker.update(work=work, progress=_Reports(reports))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _do(part: Any) -> Any:
    return _worker["work"](part, _worker["progress"])
