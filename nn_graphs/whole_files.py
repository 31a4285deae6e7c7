"""Files that are whole or not there: written beside their place, and moved into it when done."""

import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nn_graphs.errors import NNGraphsError

NODE = re.sub(r"[^\w-]+", "_", socket.gethostname())
FULL = (errno.ENOSPC, errno.EDQUOT)
SMALLEST_FREE = 1 << 16  # bytes: a disk with less is full


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Gives the place to write to; what was written there appears at `path` when the block ends.

    A block that raises leaves `path` as it was. What killed processes of this machine left behind
    of the same file is deleted.

    Raises:
        NNGraphsError: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _delete_left_behind(path)
    partial = path.with_name(f"{path.name}.{NODE}-{os.getpid()}.partial")
    try:
        with disk_errors(path):
            yield partial
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Tells a full disk while `path` is written as one clear error, whoever noticed it.

    Raises:
        NNGraphsError: the disk is full.
    """
    try:
        yield
    # h5py, torch and safetensors tell it in errors and words of their own.
    except (OSError, RuntimeError) as error:
        if not _is_full(error, Path(path).parent):
            raise
        raise full_disk(path) from error


def full_disk(path: str | Path) -> NNGraphsError:
    """What to say when there is no room for `path`."""
    return NNGraphsError(
        f"write {path}",
        found="the disk (or your share of it) is full.",
        do="Make room, and repeat the command: finished work is kept.",
    )


def _is_full(error: BaseException, folder: Path) -> bool:
    cause: BaseException | None = error
    while cause is not None:  # torch closes its file, which fails too, before it tells why
        if getattr(cause, "errno", None) in FULL or os.strerror(errno.ENOSPC) in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return shutil.disk_usage(folder).free < SMALLEST_FREE


def _delete_left_behind(path: Path) -> None:
    """Deletes unfinished copies of processes that no longer run; other machines' are not known."""
    name = re.compile(rf"{re.escape(path.name)}\.{re.escape(NODE)}-(\d+)\.partial")
    for other in path.parent.iterdir():
        found = name.fullmatch(other.name)
        if found and not _is_running(int(found[1])):
            other.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # where asking by a signal would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
