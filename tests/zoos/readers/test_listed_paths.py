"""Lists that were written elsewhere mean the files that they meant there, or are in doubt."""

import pytest

from nn_graphs.zoos.readers.listed_paths import as_on_disk

FILES = ["a/net0.pth", "a/net1.pth", "b/net0.safetensors", "notes.txt"]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a/net0.pth", "a/net1.pth"], ["a/net0.pth", "a/net1.pth"]),
        (["/home/user/zoo/a/net0.pth", "/home/user/zoo/b/net0.safetensors"], [FILES[0], FILES[2]]),
        (["C:/zoo/a/net0.pth", "C:/zoo/a/net1.pth"], FILES[:2]),
        (["zoo/a/net0.pth", "zoo/a/net7.pth"], ["a/net0.pth", "a/net7.pth"]),
        (["a/net0", "b/net0"], [FILES[0], FILES[2]]),
        (["/data/zoo/a/net0", "/data/zoo/b/net0"], [FILES[0], FILES[2]]),
        (["zoo/a/net0.pth", "a/net1.pth"], ["zoo/a/net0.pth", "a/net1.pth"]),  # one is there
        (["x/a/net0.pth", "y/a/net1.pth"], ["x/a/net0.pth", "y/a/net1.pth"]),  # begin otherwise
        (["nothing.pth"], ["nothing.pth"]),
        ([], []),
    ],
)
def test_paths_are_those_of_files(paths, expected):
    assert as_on_disk(paths, FILES) == expected


def test_doubts_show_both(raises_saying):
    with raises_saying(asked="zoo/a/net0.pth", found="a/net0.pth and net0.pth", do="relative"):
        as_on_disk(["zoo/a/net0.pth"], [*FILES, "net0.pth"])
    with raises_saying(asked="a/net0", found="a/net0.pt and a/net0.pth", do="ending"):
        as_on_disk(["a/net0"], [*FILES, "a/net0.pt"])


def test_what_was_changed_is_told(caplog):
    as_on_disk(["/elsewhere/a/net0.pth"], FILES)
    assert "/elsewhere/a/net0.pth is read as a/net0.pth" in caplog.text
    caplog.clear()
    as_on_disk(["a/net0.pth"], FILES)
    assert not caplog.text
