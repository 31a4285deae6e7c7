"""A folder of checkpoints with a CSV of labels: the layout for zoos of one's own.

The CSV has a column `path`, relative to the folder; all others go into the zoo's table as they are.
By convention: `label`, `split` (train, val or test), `run` (which training run), `view`, `step`,
`source_id` (what it was trained on).
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.readers.checkpoints import SUFFIXES
from nn_graphs.zoos.readers.listing import FileSource, Listing, list_named_files, relative_paths
from nn_graphs.zoos.zoo import SPLITS

RESERVED = ("spec", "row")  # of Zoo.table


@dataclass(frozen=True)
class Folder(FileSource):
    """Checkpoints (`.pth`, `.pt`, `.safetensors`) of one architecture, at any depth of a folder.

    Attributes:
        folder: where they are.
        labels: the CSV file; None: `labels.csv` in the folder.
        dataset: name of the images, where the networks are INRs of images.
    """

    folder: str | Path
    labels: str | Path | None = None
    dataset: str | None = None

    format = "folder"
    image_size = None
    architecture = None

    def list_files(self) -> Listing:
        """The files that the CSV names.

        Raises:
            NNGraphsError: the folder or the CSV is not there, or the CSV lacks something.
        """
        root = Path(self.folder)
        if not root.is_dir():
            raise NNGraphsError(
                f"read the checkpoints in {root}",
                found="there is no such folder.",
                do="Check the path.",
            )
        path = root / "labels.csv" if self.labels is None else Path(self.labels)
        on_disk = [name for suffix in SUFFIXES for name in relative_paths(root, f"**/*{suffix}")]
        return list_named_files(root, _read_labels(path, root), on_disk)

    def options(self) -> dict:
        labels = "labels.csv" if self.labels is None else Path(self.labels).name
        return {"folder": Path(self.folder).name, "labels": labels}


def _read_labels(path: Path, root: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"path": str})
    except (OSError, ValueError) as error:
        raise _bad_labels(path, f"it is no CSV file ({error}).") from error
    if "path" not in table or not len(table) or table["path"].isna().any():
        raise _bad_labels(
            path,
            f"its {len(table)} rows have the columns {', '.join(map(str, table))}, or no path.",
        )
    taken = [column for column in RESERVED if column in table]
    if taken:
        raise _bad_labels(path, f"the column {taken[0]} is one that the zoo makes itself.")
    splits = set(table.get("split", pd.Series(dtype=object)))
    if not splits <= set(SPLITS):
        others = ", ".join(map(str, splits - set(SPLITS)))
        raise _bad_labels(path, f"its splits are not all one of {', '.join(SPLITS)}: {others}.")
    table["path"] = [_inside(root, name) for name in table["path"]]
    strings = table.select_dtypes(exclude=["number", "bool"]).columns
    return table.assign(**{name: table[name].fillna("").astype(str) for name in strings})


def _inside(root: Path, name: str) -> str:
    """A path relative to `root`, of an absolute one too."""
    path = Path(name)
    return (
        path.relative_to(root.absolute()) if path.is_relative_to(root.absolute()) else path
    ).as_posix()


def _bad_labels(path: Path, found: str) -> NNGraphsError:
    return NNGraphsError(
        f"read the labels in {path}",
        found=found,
        do="Give a CSV file with one row per network and the columns path, label, split.",
    )
