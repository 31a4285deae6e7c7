"""An experiment's `python main.py ...` in the process of the tests."""

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none")


@contextmanager
def commands_of(folder: Path, place: Path) -> Iterator:
    """Gives `run(*overrides, run="run")`, which runs the `main.py` of an experiment's folder.

    Rows go to `place / "results.csv"`, everything else to `place / run`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)

        def run_main(*overrides: str, run: str = "run") -> None:
            arguments = (
                f"hydra.run.dir={place / run}",
                f"results={place / 'results.csv'}",
                *QUIET,
                *overrides,
            )
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", ["main.py", *arguments])
                patch.setattr(sys, "path", [*sys.path])
                runpy.run_path(str(folder / "main.py"), run_name="__main__")

        try:
            yield run_main
        finally:
            GlobalHydra.instance().clear()
