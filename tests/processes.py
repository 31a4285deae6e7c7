"""What has to be run apart from the tests."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOLDER = """
import shutil, sys
from nn_graphs.locks import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
    for source, target in zip(sys.argv[2::2], sys.argv[3::2]):
        shutil.copy(source, target)
"""


def assert_runs_in_own_process(function: Callable[[], None]) -> None:
    """Calls a function of a test's module in a new process, where shapes are not checked.

    Functions whose shapes are checked cannot be compiled.
    """
    name = function.__name__
    found = subprocess.run(
        [sys.executable, "-c", f"from {function.__module__} import {name}; {name}()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
