"""Files are whole or not there, whoever is killed and however full the disk is."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

from nn_graphs.whole_files import NODE, whole_file

LONG = 1 << 20  # bytes: more than any buffer


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupted(path):
    path.write_text("half")
    raise KeyboardInterrupt


def test_it_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with whole_file(path) as partial:
        partial.write_text("all")
        assert not path.exists()
    assert path.read_text() == "all"
    assert names(path.parent) == ["file.txt"]


def test_a_block_that_raises_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as partial:
        interrupted(partial)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_what_the_killed_left_behind_is_deleted(tmp_path):
    path = tmp_path / "file.txt"
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    left = tmp_path / f"{path.name}.{NODE}-{killed.pid}.partial"
    others = [
        tmp_path / f"{path.name}.elsewhere-{killed.pid}.partial",  # of another machine
        tmp_path / f"{path.name}.{NODE}-{os.getppid()}.partial",  # of one that runs
        tmp_path / f"other.txt.{NODE}-{killed.pid}.partial",  # of another file
    ]
    for partial in (left, *others):
        partial.write_text("half")
    with whole_file(path) as partial:
        partial.write_text("all")
    assert names(tmp_path) == sorted([path.name, *(other.name for other in others)])


def write_text(path):
    path.write_text("a" * LONG)


def write_arrays(path):
    with path.open("wb") as file:
        np.savez(file, np.zeros(LONG))


def write_tensors(path):
    with path.open("wb") as file:
        torch.save({"params": torch.zeros(LONG)}, file)


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file["params"] = np.zeros(LONG)


@pytest.mark.parametrize("write", [write_text, write_arrays, write_tensors, write_hdf5])
def test_a_full_disk_is_told_in_one_way(tmp_path, raises_saying, full_disk, write):
    path = tmp_path / "file"
    path.write_text("old")
    full_disk(path)
    with (
        raises_saying(asked=f"write {path}", found="full", do="Make room"),
        whole_file(path) as partial,
    ):
        write(partial)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "file"):
        (tmp_path / "missing").read_text()
    with pytest.raises(RuntimeError, match="no disk"), whole_file(tmp_path / "file"):
        raise RuntimeError("no disk")
