"""Result rows of scripts that are run by hand, without hydra."""

import shlex
import sys
from pathlib import Path

from support.benchmarks import device_name
from support.paths import EXPERIMENTS

from nn_graphs.results import ResultRow, commit, now, versions


def script_row(
    task: str, model: str, zoo: str, metric: str, value: float, minutes: float, *, options: str = ""
) -> ResultRow:
    """A row with the command that this process was started by; nothing is trained by gradients."""
    return ResultRow(
        task=task,
        model=model,
        zoo=zoo,
        options=options,
        seed=0,
        metric=metric,
        value=round(value, 4),
        params=0,
        minutes=round(minutes, 2),
        device=device_name("cpu"),
        versions=versions(),
        commit=commit(EXPERIMENTS),
        command=shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
        date=now(),
    )
