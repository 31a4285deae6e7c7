"""The one progress bar: every long loop of the library reports through it."""

import os
import sys
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from tqdm.auto import tqdm


@runtime_checkable
class Progress(Protocol):
    """What reports of finished networks go to, e.g. a `ProgressBar`."""

    def advance(self, steps: int, figures: Mapping[str, str] | None = None) -> None: ...


def progress_bar(total: int, *, unit: str, description: str, done: int = 0) -> "ProgressBar":
    """A bar from `done` to `total` on standard error.

    Silent where `NN_GRAPHS_PROGRESS=0`; where standard error is neither a terminal nor a notebook
    (a log file, a batch job) it writes a line every 30 seconds instead of a moving bar.
    """
    return ProgressBar(total, unit=unit, description=description, done=done)


class ProgressBar:
    """A tqdm bar with named figures beside it; use as a context manager."""

    def __init__(self, total: int, *, unit: str, description: str, done: int):
        moves = sys.stderr.isatty() or _is_notebook()
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=f" {unit}",
            desc=description,
            disable=os.environ.get("NN_GRAPHS_PROGRESS") == "0",
            file=None if moves else _Lines(),
            mininterval=0.2 if moves else 30.0,
            dynamic_ncols=moves,
        )

    def advance(self, steps: int, figures: Mapping[str, str] | None = None) -> None:
        """Move on by `steps` and show `figures` (name -> formatted value) beside the bar.

        Figures that come without a step are shown at once; none of them, `{}`, takes those away.
        """
        if figures is not None:
            self._bar.set_postfix(figures, refresh=bool(figures) and not steps)
        self._bar.update(steps)

    def close(self) -> None:
        """Leaves the bar as it is and ends its line."""
        self._bar.close()

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def _is_notebook() -> bool:
    """Whether this process is a notebook's kernel, rather than one that has merely imported it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if hasattr(ipython, "get_ipython") else None
    return hasattr(shell, "kernel")


class _Lines:
    """Standard error, with every state of a bar on a line of its own."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(f"{text.strip()}\n")

    def flush(self) -> None:
        sys.stderr.flush()
