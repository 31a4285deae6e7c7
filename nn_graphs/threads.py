"""Work in parts that don't see each other, side by side, each part on one core.

torch splits single operations among threads. For the many small operations of a training step that
is a barrier every few microseconds: beside other programs, one thread is always put aside, and the
others spin until it is back. Threads that have a part each wait for each other once, at the end.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def num_cores() -> int:
    """Cores that this thread may use: what torch was told, by default all of the machine."""
    return torch.get_num_threads()


@contextmanager
def one_thread() -> Iterator[None]:
    """Operations of this thread run on one core, whatever they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(
    work: Callable[[Part], Result], parts: Sequence[Part], *, num_workers: int | None = None
) -> Iterator[Result]:
    """`map(work, parts)` by several threads, each on one core; results in the order of the parts.

    A part is computed in the same way whatever the number of workers, in the caller's modes:
    gradients on or off, inference, autocast.

    Args:
        work: what is done with a part; called in any thread.
        parts: what there is to do.
        num_workers: threads; None: `num_cores()`; with 1, or one part, the calling thread.

    Raises:
        Whatever `work` raises; parts that were not begun are left.
    """
    num_workers = min(num_workers or num_cores(), len(parts))
    if num_workers <= 1:
        for part in parts:
            yield _on_one_core(work, part)
        return
    work = _in_modes_of_caller(work)
    futures = [_workers(num_workers, os.getpid()).submit(work, part) for part in parts]
    try:
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def _on_one_core(work: Callable[[Part], Result], part: Part) -> Result:
    with one_thread():
        return work(part)


def _in_modes_of_caller(work: Callable[[Part], Result]) -> Callable[[Part], Result]:
    """What torch keeps for each thread by itself goes along into another one."""
    has_gradients, is_inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    is_mixed, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def work_there(part: Part) -> Result:
        with (
            torch.inference_mode(is_inference),
            torch.set_grad_enabled(has_gradients),
            torch.autocast("cpu", dtype, enabled=is_mixed),
        ):
            return _on_one_core(work, part)

    return work_there


@lru_cache(maxsize=8)
def _workers(num_workers: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process (a forked one does not have those of its parent)."""
    return ThreadPoolExecutor(num_workers, f"core_of_{process}")
