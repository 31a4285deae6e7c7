"""Records: JSON files that tell what made something, or which work a folder belongs to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nn_graphs.whole_files import whole_file


def as_json_data(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as it comes back from a file: tuples are lists."""
    return json.loads(json.dumps(dict(record)))


def differences(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> str:
    """In words, which entries of two records (as JSON data) differ; empty where none does.

    An entry that is missing counts as None, so that a record stays good when a new option that is
    off comes in.
    """
    return ", ".join(
        f"{name} was {theirs.get(name)!r}, now {mine.get(name)!r}"
        for name in sorted({*theirs, *mine})
        if theirs.get(name) != mine.get(name)
    )


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes the file, replacing one that is there, as a whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(dict(record), indent=2) + "\n", encoding="utf-8")
