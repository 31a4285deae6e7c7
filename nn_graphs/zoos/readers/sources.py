"""Which files a zoo consists of, and what is known of each network before it is read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nn_graphs.zoos.readers.checkpoints import Checkpoint, parse_checkpoint
from nn_graphs.zoos.readers.given_architectures import Architecture
from nn_graphs.zoos.readers.read_report import ReadReport, Reason, Skip
from nn_graphs.zoos.readers.source_files import AnyPath, relative_to
from nn_graphs.zoos.zoo import Zoo


@dataclass(frozen=True, eq=False)
class Listing:
    """The files of a zoo.

    Attributes:
        paths: one file per network.
        table: one row per file, with the columns that the zoo's table gets.
        skips: files that cannot be read, known without opening them.
        read_columns: what files say of themselves, by column; must agree with `table` where both
            say it. It raises `Skipped` where a file lacks it.
        architectures: files that say what the networks are.
    """

    paths: Sequence[AnyPath]
    table: pd.DataFrame
    skips: tuple[Skip, ...] = ()
    read_columns: Callable[[Checkpoint], Mapping[str, Any]] | None = None
    architectures: Sequence[AnyPath] = ()


class ZooSource(ABC):
    """A published layout of files, found in a folder of this machine.

    Attributes:
        format: the layout's name.
        folder: where the files are.
        dataset: that the networks were trained on, or that INRs show.
        image_size: height and width of these images, where the networks are INRs.
        architecture: of the networks, where the publisher has one.
    """

    format: str
    folder: str | Path
    dataset: str | None
    image_size: tuple[int, int] | None
    architecture: Architecture | None

    @abstractmethod
    def options(self) -> dict:
        """What else the zoo depends on, as JSON data; not the place of the folder."""

    @abstractmethod
    def list_files(self) -> Listing:
        """The files that belong to the zoo."""


class FileSource(ZooSource):
    """A layout with one file per network.

    Attributes:
        transposed: whether weights of linear layers are `[in, out]`; None: nobody has said so.
    """

    transposed: bool | None = False

    def parse(
        self, content: bytes, suffix: str, row: Mapping[str, Any] | None = None
    ) -> Checkpoint:
        """What the bytes of a file hold.

        Args:
            content: of the file.
            suffix: of its name.
            row: of the listing's table, which may say which of several networks is meant.

        Raises:
            Skipped: it cannot be used.
        """
        return parse_checkpoint(content, is_safetensors=suffix == ".safetensors")


class RowSource(ZooSource):
    """A layout with all networks in one array, a row for each."""

    @abstractmethod
    def read(self, *, scratch: str | Path | None) -> tuple[Zoo, ReadReport]:
        """The networks, and what was left out."""


def list_named_files(
    root: AnyPath, named: pd.DataFrame, on_disk: Iterable[str], *, skips: Sequence[Skip] = ()
) -> Listing:
    """The files that a list names, checked against those that are there.

    Args:
        root: what the paths are relative to.
        named: one row per network, `path` (with slashes) and the columns of the zoo's table.
        on_disk: paths, relative to `root`, of the files that are there.
        skips: files that were left out before.
    """
    there = set(on_disk)
    paths = named["path"]
    is_again = named.duplicated([name for name in ("path", "prefix") if name in named])
    is_there = paths.isin(there)
    left_out = [
        *skips,
        *(Skip(root / path, Reason.TWICE, "it is listed twice.") for path in paths[is_again]),
        *(
            Skip(root / path, Reason.MISSING, "it is listed, but there is no such file.")
            for path in paths[~is_there & ~is_again]
        ),
        *(
            Skip(root / path, Reason.UNLISTED, "it is there, but not listed.")
            for path in sorted(
                there - set(paths) - {relative_to(skip.path, root) for skip in skips}
            )
        ),
    ]
    kept = named[is_there & ~is_again].reset_index(drop=True)
    return Listing([root / path for path in kept["path"]], kept, tuple(left_out))
