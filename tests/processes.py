"""What has to be run apart from the tests: scripts, and functions that are compiled.

To import the libraries takes longer than most of it, so that one process imports them, and all else
are forks of it. It has nothing of nn_graphs, whose shapes are not checked there: functions whose
shapes are checked cannot be compiled.
"""

import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

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
LIBRARIES = [
    "lightning",
    "torch_geometric",
    "torch._dynamo",
    "hydra.utils",
    "scipy.stats",
    "sklearn.metrics",
    "sklearn.model_selection",
    "pandas",
    "matplotlib.pyplot",
    "networkx",
    "h5py",
    "pytest",
]


class Forked:
    """A call in a process of its own, whose output is kept; used like a `subprocess.Popen`."""

    def __init__(
        self, function: Callable, *arguments, folder: Path = ROOT, environment: Mapping = {}
    ):
        """
        Args:
            function, arguments: what is called; the function is one of a module.
            folder: in which it runs.
            environment: variables, beside those that there are.
        """
        descriptor, output = tempfile.mkstemp()
        os.close(descriptor)
        self._output = Path(output)
        everything = {**os.environ, "NN_GRAPHS_PROGRESS": "0", **environment}
        call = (function, arguments, folder, everything, self._output)
        self._process = _server().Process(target=_call, args=call)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """As it ended, minus the signal's number where that ended it; None: it is running."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> str:
        """What it wrote until it ended, to both streams."""
        try:
            self._process.join(timeout)
        finally:  # also where a test takes too long
            if self.returncode is None:
                self.kill()
                self._process.join()
        output = self._output.read_text()
        self._output.unlink()
        return output


def start_script(
    script: Path, *arguments: str, folder: Path | None = None, environment: Mapping = {}
) -> Forked:
    """`python SCRIPT ARGUMENTS`, in the script's own folder where no other is given."""
    place = script.parent if folder is None else folder
    return Forked(run_script, str(script), *arguments, folder=place, environment=environment)


def start_program(
    program: str, *arguments: object, folder: Path = ROOT, environment: Mapping = {}
) -> Forked:
    """`python -c PROGRAM ARGUMENTS`."""
    texts = map(str, arguments)
    return Forked(run_program, program, *texts, folder=folder, environment=environment)


def assert_runs_in_own_process(function: Callable[..., None], *arguments) -> None:
    """Calls a function of a test's module in a process where shapes are not checked."""
    process = Forked(function, *arguments)
    output = process.communicate()
    assert process.returncode == 0, output


def run_script(script: str, *arguments: str) -> None:
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    runpy.run_path(script, run_name="__main__")


def run_program(program: str, *arguments: str) -> None:
    sys.argv = ["-c", *arguments]
    sys.path.insert(0, "")
    exec(program, {"__name__": "__main__"})


def _server():
    """The process that has imported the libraries, with one thread: others are lost in forks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    with mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):
        multiprocessing.forkserver.ensure_running()
    return context


def _call(
    function: Callable,
    arguments: tuple,
    folder: Path,
    environment: Mapping[str, str],
    output: Path,
) -> None:
    """Calls a function as if its process were begun from a shell."""
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    multiprocessing.process._parent_process = None  # processes of a pool make no further ones
    if environment.get("TORCH_COMPILE_DISABLE"):  # read when torch was imported
        import torch

        torch._dynamo.config.disable = True
    function(*arguments)
