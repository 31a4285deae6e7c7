"""Several processes make the zoo that one makes, and end with the one that began them."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from nn_graphs import workers
from nn_graphs.zoos.makers.inr_zoos import INRRecipe, make_inr_zoo
from nn_graphs.zoos.makers.shards import Shards, default_num_workers

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = INRRecipe(hidden_widths=(6,), num_steps=12, num_train=40, num_val=5, num_test=5)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_processes_make_the_zoo_of_one(tmp_path, monkeypatch, method):
    monkeypatch.setattr(workers, "start_method", lambda: method)
    one, two = (
        make_inr_zoo(
            RECIPE, tmp_path / f"{number}.h5", chunk_size=1, num_workers=number, is_compiled=False
        )
        for number in (1, 2)
    )
    assert torch.equal(one.params[0], two.params[0])
    pd.testing.assert_frame_equal(one.table, two.table, check_exact=True)
    assert not (tmp_path / "2.h5.shards").exists()


def test_what_goes_wrong_in_a_process_is_raised_here(tmp_path):
    broken = INRRecipe(hidden_widths=(6,), num_steps=12, num_train=40, num_val=5, num_test=5)
    object.__setattr__(broken, "learning_rate", "fast")
    with pytest.raises((TypeError, ValueError)):
        make_inr_zoo(broken, tmp_path / "zoo.h5", chunk_size=1, num_workers=2, is_compiled=False)


ENDLESS = """
import sys
from nn_graphs import workers
from nn_graphs.zoos.makers.inr_zoos import INRRecipe, make_inr_zoo
if __name__ == "__main__":
    make_inr_zoo(RECIPE, sys.argv[1], chunk_size=1, num_workers=2, is_compiled=False)
"""


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="this system has no /proc")
def test_processes_end_with_the_one_that_began_them(tmp_path):
    recipe = INRRecipe(hidden_widths=(6,), num_steps=10**9, num_train=40, num_val=5, num_test=5)
    script = tmp_path / "script.py"
    script.write_text(ENDLESS.replace("RECIPE,", f"{recipe!r},"))
    path = tmp_path / "zoo.h5"
    parent = subprocess.Popen([sys.executable, script, path], stderr=subprocess.DEVNULL)
    children: list[int] = []
    deadline = time.monotonic() + 240  # the machine may be busy
    number = 2 if workers.start_method() == "fork" else 3  # there is a resource tracker then
    while len(children) < number and time.monotonic() < deadline:
        children = children_of(parent.pid)
        time.sleep(0.2)
    time.sleep(1)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(map(is_running, children)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert children
    assert not any(map(is_running, children))


def children_of(parent: int) -> list[int]:
    folders = [name for name in os.listdir("/proc") if name.isdigit()]
    return [int(name) for name in folders if state_of(int(name))[1:] == (parent,)]


def is_running(process: int) -> bool:
    state = state_of(process)
    return bool(state) and state[0] != "Z"


def state_of(process: int) -> tuple:
    """State letter and parent of a process, empty where there is none."""
    try:
        with open(f"/proc/{process}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return ()
    return fields[0], int(fields[1])


def test_one_process_for_few_shards_and_for_accelerators(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)

    def number(num_shards: int, device: str) -> int:
        shards = Shards.open(
            tmp_path / f"{num_shards}.h5", {}, num_networks=num_shards, shard_size=1
        )
        return default_num_workers(shards, torch.device(device))

    assert [number(count, "cpu") for count in (1, 3, 4, 6, 100)] == [1, 1, 2, 3, 4]
    assert number(100, "cuda") == 1


COMPILED_BEFORE = """
import sys
import torch
from nn_graphs import workers
from nn_graphs.zoos.makers.inr_zoos import INRRecipe, make_inr_zoo
if __name__ == "__main__":
    assert workers.start_method() == ("fork" if sys.platform == "linux" else "spawn")
    torch.compile(torch.sin)(torch.ones(5))
    assert workers.start_method() == "spawn"
    make_inr_zoo(RECIPE, sys.argv[1], chunk_size=4, num_workers=2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
def test_no_forks_where_threads_would_be_lost(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.delitem(sys.modules, workers.COMPILER, raising=False)
    assert workers.start_method() == "fork"
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert workers.start_method() == "spawn"
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setitem(sys.modules, workers.COMPILER, torch)
    assert workers.start_method() == "spawn"


@pytest.mark.slow
@pytest.mark.skipif(torch.accelerator.is_available(), reason="with a GPU there are no forks")
def test_processes_begin_where_something_was_compiled_before(tmp_path):
    """Forked ones would wait for the compiler's threads forever, unless all is in its cache."""
    script = tmp_path / "script.py"
    script.write_text(COMPILED_BEFORE.replace("RECIPE,", f"{RECIPE!r},"))
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, script, tmp_path / "zoo.h5"]
    subprocess.run(command, env=environment, check=True, timeout=280, stderr=subprocess.PIPE)
