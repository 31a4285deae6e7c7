"""Locks: of processes that want to write the same output, one does at a time."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)
PATIENCE = 1.0  # seconds before it is said that one waits


@contextmanager
def only_writer(path: str | Path) -> Iterator[None]:
    """Holds `path` while the block runs; where another process holds it, says so and waits.

    Who waited should look again whether there is work left: the other has probably done it. A lock
    ends with its process, however that ends; its file, hidden beside `path`, may stay then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"), is_singleton=True)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        logger.warning("%s is being written by %s: waiting for it.", path, _holder(lock))
        lock.acquire(poll_interval=0.2)
    try:
        if lock.lock_counter == 1:
            Path(lock.lock_file).write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        if lock.lock_counter == 1:
            # Held, it may be deleted: whoever gets a lock on a deleted file asks for a new one.
            with suppress(OSError):  # where open files cannot be deleted
                os.unlink(lock.lock_file)
        lock.release()


def _holder(lock: FileLock) -> str:
    try:
        return Path(lock.lock_file).read_text(errors="replace") or "another process"
    except OSError:  # it has just ended
        return "another process"
