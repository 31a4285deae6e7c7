"""Fixtures of the whole suite: a tiny zoo, one thread, and a check of what an error says."""

import logging
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import tests.type_checks  # noqa: F401

# isort: split
from nn_graphs.errors import NNGraphsError
from nn_graphs.whole_files import NODE
from nn_graphs.zoos.makers.inr_zoos import INRRecipe, make_inr_zoo
from nn_graphs.zoos.zoo import Zoo
from tests.processes import HOLDER, ROOT

TINY_RECIPE = INRRecipe(
    dataset="digits",
    preset="dws",
    hidden_widths=(8, 8),
    num_steps=40,
    learning_rate=5e-3,
    num_train=24,
    num_val=8,
    num_test=8,
    num_inits=2,
)


@pytest.fixture(scope="session", autouse=True)
def no_progress_bars():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NN_GRAPHS_PROGRESS", "0")
        yield


@pytest.fixture
def one_thread():
    """One torch thread: small tensors gain nothing from more, and sums keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_zoo_path(tmp_path_factory):
    """The file of `tiny_zoo`; to be read only."""
    path = tmp_path_factory.mktemp("tiny_zoo") / "tiny_zoo.h5"
    make_inr_zoo(TINY_RECIPE, path, is_compiled=False)
    return path


@pytest.fixture
def tiny_zoo(tiny_zoo_path) -> Zoo:
    """64 INRs `(2, 8, 8, 1)` of digits: 24 training images twice, 8 for validation, 8 for tests.

    Opened anew for each test, so that writing to `params` (copy-on-write) stays in that test.
    """
    return Zoo.open(tiny_zoo_path)


@pytest.fixture
def raises_saying():
    """`with raises_saying(asked=..., found=..., do=...):` expects an error that says all three."""

    @contextmanager
    def check(*, asked: str, found: str, do: str):
        with pytest.raises(NNGraphsError) as caught:
            yield
        error = caught.value
        assert asked in error.asked
        assert found in error.found
        assert do in error.do
        assert str(error) == f"Cannot {error.asked}: {error.found} {error.do}"

    return check


@pytest.fixture
def other_writer():
    """`other_writer(path, copies)`: another process holds `path`, and works while this one waits.

    Its work is to copy files, `copies` from source to target. Returns the process.
    """
    processes, logger = [], logging.getLogger("nn_graphs.locks")

    def start(path: Path, copies: dict[Path, Path]) -> subprocess.Popen:
        places = [str(place) for pair in copies.items() for place in pair]
        command = [sys.executable, "-c", HOLDER, str(path), *places]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    def let_go(record: logging.LogRecord) -> bool:
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        return True

    logger.addFilter(let_go)
    yield start
    logger.removeFilter(let_go)
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def full_disk():
    """`full_disk(path)`: the next time that `path` is written, the disk is full."""
    device = Path("/dev/full")
    if not device.exists():
        pytest.skip("needs /dev/full")

    def fill(path: Path) -> None:
        path.with_name(f"{path.name}.{NODE}-{os.getpid()}.partial").symlink_to(device)

    return fill
