"""Which files a zoo consists of, and what is known of each network before it is read."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.readers.architectures import Architecture
from nn_graphs.zoos.readers.report import Reason, Skip


@dataclass(frozen=True, eq=False)
class Listing:
    """The files of a zoo.

    Attributes:
        paths: one file per network.
        table: one row per file, with the columns that the zoo's table gets.
        skips: files that cannot be read, known without opening them.
        label_key: the entry of every file that holds its label, where files hold one.
    """

    paths: Sequence[Path]
    table: pd.DataFrame
    skips: tuple[Skip, ...] = ()
    label_key: str | None = None


class ZooSource(ABC):
    """A published layout of files, found in a folder of this machine.

    Attributes:
        format: the layout's name.
        folder: where the files are.
        dataset: of the images that the networks were fitted to, where they are INRs of images.
        image_size: height and width of these images.
        architecture: of the networks, where the publisher has one.
    """

    format: str
    folder: str | Path
    dataset: str | None
    image_size: tuple[int, int] | None
    architecture: Architecture | None

    @abstractmethod
    def list_files(self) -> Listing:
        """The files that belong to the zoo."""

    @abstractmethod
    def options(self) -> dict:
        """What else the zoo depends on, as JSON data; not the place of the folder."""


def list_named_files(
    root: Path, named: pd.DataFrame, on_disk: Iterable[str], *, skips: Sequence[Skip] = ()
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
    is_again, is_there = paths.duplicated(), paths.isin(there)
    left_out = [
        *skips,
        *(Skip(root / path, Reason.TWICE, "it is listed twice.") for path in paths[is_again]),
        *(
            Skip(root / path, Reason.MISSING, "it is listed, but there is no such file.")
            for path in paths[~is_there & ~is_again]
        ),
        *(
            Skip(root / path, Reason.UNLISTED, "it is there, but not listed.")
            for path in sorted(there - set(paths) - {_relative(skip.path, root) for skip in skips})
        ),
    ]
    kept = named[is_there & ~is_again].reset_index(drop=True)
    return Listing([root / path for path in kept["path"]], kept, tuple(left_out))


def relative_paths(root: Path, pattern: str) -> list[str]:
    """Files of a pattern under `root`, as sorted paths with slashes; hidden ones are left out."""
    found = (path.relative_to(root) for path in root.glob(pattern))
    return sorted(
        path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)
    )


def find_root(folder: str | Path, *, asked: str, inside: str, archive: str, child: str) -> Path:
    """`folder` or its subfolder `child`, whichever holds what the pattern `inside` says.

    Raises:
        NNGraphsError: neither does.
    """
    candidates = (Path(folder), Path(folder) / child)
    for root in candidates:
        if next(root.glob(inside), None) is not None:
            return root
    is_there = Path(folder).is_dir()
    raise NNGraphsError(
        asked,
        found=f"it holds no {inside}." if is_there else "there is no such folder.",
        do=f"Unpack {archive} and give the folder {child}.",
    )


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
