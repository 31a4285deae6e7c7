"""A zoo file that a recipe has made, opened again."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.zoo import Zoo


def open_made_zoo(path: Path, recipe: Any) -> Zoo:
    """The zoo at `path`.

    Args:
        path: of the zoo file.
        recipe: a dataclass, which the zoo must have been made by.

    Raises:
        NNGraphsError: it was made by another recipe.
    """
    zoo = Zoo.open(path)
    wanted = json.loads(json.dumps(dataclasses.asdict(recipe)))
    found = zoo.metadata.get("recipe")
    if found != wanted:
        raise NNGraphsError(
            f"use {path} for this recipe",
            found=f"it was made by {found}, not {wanted}.",
            do="Give another path, or delete the file.",
        )
    return zoo
