"""The zoo of a recipe, whatever its networks are: opened where it is there, else made."""

import dataclasses
from pathlib import Path

import torch

from nn_graphs.zoos.makers.cnn_zoos import CNNRecipe, make_cnn_zoo
from nn_graphs.zoos.makers.inr_zoos import INRRecipe, make_inr_zoo
from nn_graphs.zoos.recipes import open_zoo_made_by
from nn_graphs.zoos.zoo import Zoo


def open_or_make_zoo(
    recipe: INRRecipe | CNNRecipe,
    path: str | Path,
    *,
    data_root: Path | None = None,
    device: str | torch.device = "cpu",
) -> Zoo:
    """The zoo at `path`, which is made first where it is missing.

    Raises:
        NNGraphsError: the zoo that is there was made by another recipe; or as `make_inr_zoo` and
            `make_cnn_zoo`.
    """
    path = Path(path)
    if path.exists():
        return open_zoo_made_by(dataclasses.asdict(recipe), path)
    make = make_inr_zoo if isinstance(recipe, INRRecipe) else make_cnn_zoo
    return make(recipe, path, data_root=data_root, device=device)
