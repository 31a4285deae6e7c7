"""Finished parts of a zoo in the making: each written whole or not at all, merged at the end.

Several processes may each make some of them.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nn_graphs import workers
from nn_graphs.errors import NNGraphsError
from nn_graphs.progress import Progress
from nn_graphs.records import as_json_data, differences, write_record
from nn_graphs.whole_files import whole_file
from nn_graphs.zoos.recipes import ZooRecipe, save_made_zoo
from nn_graphs.zoos.storage import check_place
from nn_graphs.zoos.zoo import Zoo

FitShard = Callable[[int, int, Progress], Mapping[str, np.ndarray]]
"""`(start, stop, progress) -> arrays` of the networks of a shard; must be picklable."""


@dataclass(frozen=True)
class Shards:
    """The finished parts of a zoo of `num_networks`, `shard_size` a file, in a folder beside it."""

    folder: Path
    num_networks: int
    shard_size: int

    @classmethod
    def open(
        cls, path: str | Path, recipe: Mapping, *, num_networks: int, shard_size: int
    ) -> "Shards":
        """The shards beside the zoo file `path`, begun with this recipe or empty.

        Shards that are there keep the size that they were begun with.

        Raises:
            NNGraphsError: they were begun with another recipe, or there can be no file at `path`.
        """
        path = Path(path)
        check_place(path)
        folder = path.with_name(f"{path.name}.shards")
        folder.mkdir(parents=True, exist_ok=True)
        record = folder / "recipe.json"
        mine = {"recipe": dict(recipe), "shard_size": shard_size}
        if record.exists():
            theirs = json.loads(record.read_text())
            changes = differences(theirs["recipe"], as_json_data(recipe))
            if changes:
                raise NNGraphsError(
                    f"go on with the zoo {path}",
                    found=f"{folder} holds parts of a zoo of another recipe ({changes}).",
                    do=f"Repeat the options of the interrupted run, or delete {folder}.",
                )
            shard_size = theirs["shard_size"]
        else:
            write_record(record, mine)
        return cls(folder, num_networks, shard_size)

    @property
    def _starts(self) -> range:
        return range(0, self.num_networks, self.shard_size)

    def _file(self, start: int) -> Path:
        return self.folder / f"{start:08d}.npz"

    def missing(self) -> list[tuple[int, int]]:
        """Ranges of networks that are not fitted yet."""
        return [
            (start, min(start + self.shard_size, self.num_networks))
            for start in self._starts
            if not self._file(start).exists()
        ]

    @property
    def num_done(self) -> int:
        return self.num_networks - sum(stop - start for start, stop in self.missing())

    def write(self, start: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps the shard of the networks from number `start` on; first axis = networks."""
        with whole_file(self._file(start)) as partial_file, partial_file.open("wb") as file:
            np.savez(file, **arrays)

    def read(self) -> dict[str, np.ndarray]:
        """All shards together, array by array."""
        parts = [_read_shard(self._file(start)) for start in self._starts]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def replace_by(self, zoo: Zoo, recipe: ZooRecipe, path: str | Path) -> Zoo:
        """Saves the zoo of all parts, and deletes these; returns it, opened from its file."""
        saved = save_made_zoo(zoo, recipe, path)
        self.remove()
        return saved

    def remove(self) -> None:
        """Deletes the folder, once the zoo is saved."""
        shutil.rmtree(self.folder)


def _read_shard(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def fit_shards(fit_shard: FitShard, shards: Shards, bar: Progress, *, num_workers: int) -> None:
    """Fits what is missing of `shards`, in this process or in `num_workers` others."""
    work = partial(_fit, fit_shard, shards)
    workers.work_off(work, shards.missing(), bar, num_workers=num_workers)


def default_num_workers(shards: Shards, device: torch.device) -> int:
    """One process a core, on a CPU and where each gets shards enough."""
    return workers.default_num_workers(len(shards.missing()), device)


def _fit(fit_shard: FitShard, shards: Shards, place: tuple[int, int], progress: Progress) -> None:
    shards.write(place[0], fit_shard(*place, progress))
