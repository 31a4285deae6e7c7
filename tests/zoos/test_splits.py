"""Split files: no split is lost because of what it is called."""

import json

import pytest

from nn_graphs.zoos.splits import known_split, read_splits


def write(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Valid"])
def test_names_of_the_validation_split(tmp_path, name):
    content = {"train": ["a/1.pth"], name: ["a/2.pth"], "test": ["a/3.pth"], "note": "by hand"}
    table = read_splits(write(tmp_path / "splits.json", content), num_parts=1)
    assert dict(zip(table["path"], table["split"], strict=True)) == {
        "1.pth": "train",
        "2.pth": "val",
        "3.pth": "test",
    }


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"train": ["a"], "dev": ["b"]}, "what is 'dev'?"),
        ({"val": ["a"], "valid": ["b"]}, "val is there twice, as val and valid"),
        (["a"], "it is a list"),
    ],
)
def test_unclear_names(tmp_path, raises_saying, content, found):
    path = write(tmp_path / "splits.json", content)
    with raises_saying(asked=str(path), found=found, do="JSON"):
        read_splits(path, num_parts=1)


def test_other_names_stay():
    assert [known_split(name) for name in (" Train", "testing", "dev")] == ["train", "test", "dev"]
