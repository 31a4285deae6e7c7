"""Recipes of zoos: what a zoo is made of, and how its file remembers it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.locks import only_writer
from nn_graphs.records import as_json_data, differences
from nn_graphs.zoos.zoo import Zoo


@runtime_checkable
class ZooRecipe(Protocol):
    """What a zoo is made of, and how: any frozen dataclass with a method `make`.

    Its fields are all that the zoo depends on, as values that JSON can hold (or dataclasses of
    such); equal recipes make equal zoos. `save_made_zoo` writes them into the zoo's file, and
    `open_or_make_zoo` compares them: a file is opened only for the recipe that made it. A field
    that comes in later should default to None, which counts as missing.

        @dataclass(frozen=True)
        class NoiseRecipe:
            num_networks: int = 100
            seed: int = 0

            def make(self, path, *, data_root=None, device="cpu") -> Zoo:
                generator = torch.Generator().manual_seed(self.seed)
                spec = NetworkSpec.mlp((2, 8, 1), activation="relu")
                params = torch.randn(self.num_networks, spec.num_params, generator=generator)
                table = pd.DataFrame({"label": range(self.num_networks)})
                return save_made_zoo(Zoo.single(spec, params, table), self, path)

    In a config it is `zoo.recipe._target_: my_file.NoiseRecipe`.
    """

    def make(
        self,
        path: str | Path,
        *,
        data_root: str | Path | None = None,
        device: str | torch.device = "cpu",
    ) -> Zoo:
        """Makes the zoo and saves it at `path`, where no file is yet.

        Args:
            path: the zoo file to write.
            data_root: where data sets are; see `nn_graphs.datasets.data_root`.
            device: where to compute.

        Returns:
            The zoo, opened from its file.
        """
        ...


def open_or_make_zoo(
    recipe: ZooRecipe,
    path: str | Path,
    *,
    data_root: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> Zoo:
    """The zoo at `path`, which its recipe makes first where it is missing.

    Raises:
        NNGraphsError: the zoo that is there was made by another recipe; this is no recipe, or its
            `make` has not saved the zoo with it; or as `make` does.
    """
    _check_recipe(recipe)
    path = Path(path)
    if not path.exists():
        with only_writer(path):
            if not path.exists():  # another process may have made it meanwhile
                recipe.make(path, data_root=data_root, device=device)
                _check_saved(recipe, path)
    return open_zoo_made_by(dataclasses.asdict(recipe), path)


def save_made_zoo(zoo: Zoo, recipe: ZooRecipe, path: str | Path) -> Zoo:
    """The zoo, saved at `path` with the recipe that made it, and opened from there.

    The recipe is the entry `recipe` of its metadata, the name of its class the entry `kind`; others
    stay.
    """
    made_by = {"kind": type(recipe).__name__, "recipe": dataclasses.asdict(recipe)}
    metadata = {**zoo.metadata, **made_by}
    return Zoo.open(dataclasses.replace(zoo, metadata=metadata).save(path))


def open_zoo_made_by(recipe: Mapping[str, Any], path: str | Path) -> Zoo:
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


def _check_recipe(recipe: Any) -> None:
    is_class = isinstance(recipe, type)
    if is_class or not (dataclasses.is_dataclass(recipe) and isinstance(recipe, ZooRecipe)):
        found = f"the class {recipe.__name__}" if is_class else f"a {type(recipe).__name__}"
        raise NNGraphsError(
            "make a zoo",
            found=f"its recipe is {found}, no object of a dataclass with a method make.",
            do="Give INRRecipe(...), or one of your own; see nn_graphs.zoos.ZooRecipe.",
        )


def _check_saved(recipe: ZooRecipe, path: Path) -> None:
    kept = Zoo.open(path).metadata.get("recipe") if path.is_file() else None
    if kept is None:
        there = "holds no recipe" if path.is_file() else "was not written"
        raise NNGraphsError(
            f"keep the zoo that {type(recipe).__name__} has made",
            found=f"{path} {there}.",
            do="Let its make end with nn_graphs.zoos.save_made_zoo(zoo, self, path).",
        )
