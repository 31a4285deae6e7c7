"""A zoo is opened for the recipe that made it, which its file keeps as JSON data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nn_graphs.errors import NNGraphsError
from nn_graphs.records import as_json_data, differences
from nn_graphs.zoos.zoo import Zoo


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
