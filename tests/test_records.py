"""Records are JSON data, written whole, and told apart entry by entry."""

import json

import pytest

from nn_graphs.records import as_json_data, differences, write_record

RECORD = {"dataset": "digits", "widths": (8, 8), "options": {"shares": (0.1, 0.5)}}


def test_a_record_comes_back_as_json_data(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, RECORD)
    read = json.loads(path.read_text())
    assert read == as_json_data(RECORD)
    assert read["options"] == {"shares": [0.1, 0.5]}
    assert differences(read, as_json_data(RECORD)) == ""


def test_differences_name_what_was_and_is():
    assert differences({"a": 1, "b": [2]}, {"a": 1, "b": [3], "c": None}) == "b was [2], now [3]"
    assert differences({}, {"seed": 0}) == "seed was None, now 0"


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, RECORD)
    with pytest.raises(TypeError):
        write_record(path, {"widths": object()})
    assert json.loads(path.read_text()) == as_json_data(RECORD)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
