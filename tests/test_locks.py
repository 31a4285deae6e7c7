"""Of processes that want to write the same output, one does at a time."""

import dataclasses
import subprocess
import sys

import pytest

from nn_graphs.locks import only_writer
from nn_graphs.zoos import INRRecipe, open_or_make_zoo
from tests.conftest import TINY_RECIPE
from tests.processes import HOLDER


def test_the_second_says_who_holds_it_and_waits(tmp_path, other_writer, caplog):
    path, source = tmp_path / "zoo.h5", tmp_path / "source"
    source.write_text("theirs")
    holder = other_writer(path, {source: path})
    assert not path.exists()
    with only_writer(path):
        assert path.read_text() == "theirs"
    assert f"{path} is being written by process {holder.pid} on " in caplog.text


def test_a_lock_ends_with_its_process(tmp_path, other_writer, caplog):
    holder = other_writer(tmp_path / "zoo.h5", {})
    holder.kill()
    holder.wait()
    with only_writer(tmp_path / "zoo.h5"):
        pass
    assert not caplog.records


def test_within_a_process_it_may_be_held_again(tmp_path):
    with only_writer(tmp_path / "zoo.h5"), only_writer(tmp_path / "zoo.h5"):
        pass
    with only_writer(tmp_path / "zoo.h5"):
        pass


def test_it_is_given_back_when_the_block_raises(tmp_path):
    with pytest.raises(KeyboardInterrupt), only_writer(tmp_path / "zoo.h5"):
        raise KeyboardInterrupt
    tried = subprocess.run(
        [sys.executable, "-c", HOLDER, str(tmp_path / "zoo.h5")],
        input="go\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert tried.stdout == "held\n"
    assert not tried.stderr


class MadeElsewhere(INRRecipe):
    def make(self, path, *, data_root=None, device="cpu"):
        raise AssertionError("it is made already")


def test_a_zoo_that_another_process_makes_is_opened(tmp_path, tiny_zoo_path, other_writer):
    path = tmp_path / "zoo.h5"
    other_writer(path, {tiny_zoo_path: path})
    zoo = open_or_make_zoo(MadeElsewhere(**dataclasses.asdict(TINY_RECIPE)), path)
    assert len(zoo) == 64
