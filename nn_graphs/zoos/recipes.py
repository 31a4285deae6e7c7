"""What made a zoo, kept as JSON data in its file and in the folder of one in the making."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.zoo import Zoo


def as_json_data(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe as it comes back from a file: tuples are lists."""
    return json.loads(json.dumps(dict(recipe)))


def differences(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> str:
    """In words, which entries of two recipes (as JSON data) differ; empty where none does.

    An entry that is missing counts as None, so that a zoo stays when its recipe gets an option.
    """
    return ", ".join(
        f"{name} was {theirs.get(name)!r}, now {mine.get(name)!r}"
        for name in sorted({*theirs, *mine})
        if theirs.get(name) != mine.get(name)
    )


def open_zoo_made_by(recipe: Mapping[str, Any], path: Path) -> Zoo:
    """The zoo at `path`.

    Raises:
        NNGraphsError: it cannot be opened, or another recipe made it.
    """
    zoo = Zoo.open(path)
    changes = differences(zoo.metadata.get("recipe", {}), as_json_data(recipe))
    if changes:
        raise NNGraphsError(
            f"use {path} for this recipe",
            found=f"its zoo was made by another ({changes}).",
            do="Give another path, or delete the file.",
        )
    return zoo
