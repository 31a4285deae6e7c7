"""A folder of checkpoints with a CSV of labels: the layout for zoos of one's own.

The CSV has a column `path`, relative to the folder (see `listed_paths` for others); all others go
into the zoo's table as they are. Commas, semicolons or tabs stand between columns.
By convention: `label`, `split` (train, val or test), `run` (which training run), `view`, `step`,
`source_id` (what it was trained on), `activation` (of a chain's hidden layers), `module` (which of
several modules), `prefix` (which of several networks in one file, see `Folder.prefix`; then a file
has a row for each).
"""

import io
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nn_graphs.errors import NNGraphsError
from nn_graphs.ranges import Seed, Share, in_ranges
from nn_graphs.zoos.readers.checkpoints import (
    SUFFIXES,
    Checkpoint,
    RememberingLoad,
    load_arrays,
    load_weights,
    parse_checkpoint,
    parse_vector,
    with_weights_transposed,
)
from nn_graphs.zoos.readers.given_architectures import ListedArchitecture
from nn_graphs.zoos.readers.listed_paths import as_on_disk
from nn_graphs.zoos.readers.source_files import AnyPath, list_files, open_folder, read_bytes
from nn_graphs.zoos.readers.sources import FileSource, Listing, list_named_files
from nn_graphs.zoos.splits import known_split, split_by_run
from nn_graphs.zoos.zoo import SPLITS

RESERVED = ("spec", "row")  # of Zoo.table


@in_ranges
@dataclass(frozen=True)
class Folder(FileSource):
    """Checkpoints at any depth of a folder or a zip archive.

    Files `.safetensors`, `.npz` and `.npy` are read as such, all others that the CSV names as
    `torch.save` writes them, whatever their names end in.

    Attributes:
        folder: where they are.
        labels: the CSV file; None: `labels.csv` in the folder.
        dataset: name of the images, where the networks are INRs of images.
        path_column: of the CSV file.
        architecture_column: of the CSV file, with the path of every network's architecture, a JSON
            file as by `NetworkSpec.to_json`.
        run_columns: networks that agree in these columns are of one training run; none: as the
            column `run` says.
        val_share, test_share: of the runs, where the CSV has no column `split`; None: then there is
            no split.
        seed: of the split.
        prefix: of the network that is wanted, where files hold several: the name of its state dict,
            its number in a list, what its tensors' names begin with; "" means all as one. A column
            `prefix` of the CSV file goes before it.
        transposed: whether files store weights of linear layers as `[in, out]`; None: as torch
            does, with a warning where neither shapes nor names tell.
        is_flat: files hold one vector each, all parameters in the order of the architecture (that
            of `torch.nn.utils.parameters_to_vector` for its module), which has to be given.
    """

    folder: str | Path
    labels: str | Path | None = None
    dataset: str | None = None
    path_column: str = "path"
    architecture_column: str | None = None
    run_columns: Sequence[str] = ()
    val_share: Share | None = None
    test_share: Share | None = None
    seed: Seed = 0
    prefix: str | None = None
    transposed: bool | None = None
    is_flat: bool = False
    _loads: dict[str, RememberingLoad] = field(
        default_factory=lambda: {
            "arrays": RememberingLoad(load_arrays),
            "weights": RememberingLoad(load_weights),
        },
        init=False,
        repr=False,
        compare=False,
    )

    format = "folder"
    image_size = None

    def __post_init__(self):
        object.__setattr__(self, "run_columns", tuple(self.run_columns))
        if self.is_flat and (self.prefix or self.transposed):
            raise NNGraphsError(
                f"read flat vectors in {self.folder}",
                found="a prefix is given, or that weights are transposed.",
                do="Leave both out: a vector has no names and no matrices.",
            )

    @property
    def architecture(self) -> ListedArchitecture | None:
        """Each network's own, as `architecture_column` says; else one has to be given."""
        if self.architecture_column is None:
            return None
        return ListedArchitecture(self.architecture_column, self._root)

    def list_files(self) -> Listing:
        """The files that the CSV names.

        Raises:
            NNGraphsError: the folder or the CSV is not there, or the CSV lacks something.
        """
        root = self._root()
        named = self._with_splits(self._with_runs(self._read_labels(root)))
        there = list_files(root, "*")
        named = named.assign(path=as_on_disk(named["path"], there))
        listed = set(named["path"])
        on_disk = [name for name in there if name.lower().endswith(SUFFIXES) or name in listed]
        listing = list_named_files(root, named, on_disk)
        if self.architecture_column is None:
            return listing
        specs = sorted(set(listing.table[self.architecture_column]))
        there = tuple(path for path in (root / name for name in specs) if path.is_file())
        return replace(listing, architectures=there)

    def parse(
        self, content: bytes, suffix: str, row: Mapping[str, Any] | None = None
    ) -> Checkpoint:
        suffix = suffix.lower()
        load = self._loads["arrays" if suffix in (".npz", ".npy") else "weights"]
        own = str((row or {}).get("prefix", ""))
        is_safetensors = suffix == ".safetensors"
        if self.is_flat:
            return parse_vector(content, is_safetensors=is_safetensors, load=load)
        checkpoint = parse_checkpoint(
            content, is_safetensors=is_safetensors, prefix=own or self.prefix, load=load
        )
        return with_weights_transposed(checkpoint) if self.transposed else checkpoint

    def options(self) -> dict:
        labels = "labels.csv" if self.labels is None else Path(self.labels).name
        others = {
            "path_column": self.path_column,
            "run_columns": list(self.run_columns),
            "val_share": self.val_share,
            "test_share": self.test_share,
            "seed": self.seed,
            "prefix": self.prefix,
            "transposed": self.transposed or None,
            "is_flat": self.is_flat or None,
        }
        return {"folder": Path(self.folder).name, "labels": labels, **others}

    def _root(self) -> AnyPath:
        """The folder; of an archive that holds a single folder, that one."""
        root = open_folder(self.folder, asked=f"read the checkpoints in {self.folder}")
        inside: list[AnyPath] = [*root.iterdir()]
        is_packed = not isinstance(root, Path) and len(inside) == 1 and inside[0].is_dir()
        return inside[0] if is_packed else root

    def _read_labels(self, root: AnyPath) -> pd.DataFrame:
        path = root / "labels.csv" if self.labels is None else Path(self.labels)
        return _read_labels(path, root, path_column=self.path_column)

    def _with_runs(self, table: pd.DataFrame) -> pd.DataFrame:
        self._check_columns(table)
        if not self.run_columns:
            return table
        runs = table.groupby(list(self.run_columns), sort=True, dropna=False).ngroup()
        if "run" in table:
            table = table.rename(columns={"run": "run_name"})
        return table.assign(run=runs)

    def _with_splits(self, table: pd.DataFrame) -> pd.DataFrame:
        if (self.val_share is None) != (self.test_share is None):
            given, other = ("val", "test") if self.test_share is None else ("test", "val")
            raise NNGraphsError(
                f"split the networks of {self.folder}",
                found=f"{given}_share is given, {other}_share is not.",
                do="Give both, or a column split.",
            )
        if "split" in table or self.val_share is None or self.test_share is None:
            return table
        runs = table["run"] if "run" in table else pd.Series(range(len(table)))
        shares = {"val_share": self.val_share, "test_share": self.test_share}
        return table.assign(split=split_by_run(runs, **shares, seed=self.seed))

    def _check_columns(self, table: pd.DataFrame) -> None:
        others = () if self.architecture_column is None else (self.architecture_column,)
        missing = [name for name in (*self.run_columns, *others) if name not in table]
        if missing:
            raise NNGraphsError(
                f"read the labels of {self.folder}",
                found=f"they have no column {missing[0]}, but {', '.join(table)}.",
                do="Give run_columns and architecture_column that they have.",
            )


def _read_labels(path: AnyPath, root: AnyPath, *, path_column: str) -> pd.DataFrame:
    content = read_bytes(path)
    if isinstance(content, FileNotFoundError):
        raise _bad_labels(path, "there is no such file.")
    if isinstance(content, OSError):
        raise _bad_labels(path, f"it cannot be read ({content}).")
    types = {path_column: str, "prefix": str}
    try:
        separator = _separator(content, path_column)
        table = pd.read_csv(io.BytesIO(content), sep=separator, dtype=types, skipinitialspace=True)
        table = table.rename(columns=str.strip).rename(columns={path_column: "path"})
    except ValueError as error:
        raise _bad_labels(path, f"it is no CSV file ({str(error).strip()}).") from error
    if "path" not in table:
        columns = ", ".join(map(str, table))
        raise _bad_labels(path, f"it has no column {path_column}, but {columns}.")
    if not len(table):
        raise _bad_labels(path, "it has no rows.")
    if table["path"].isna().any():
        row = table["path"].isna().argmax() + 1
        raise _bad_labels(path, f"its row {row} has no {path_column}.")
    taken = [column for column in RESERVED if column in table]
    if taken:
        raise _bad_labels(path, f"the column {taken[0]} is one that the zoo makes itself.")
    if "split" in table:
        table["split"] = table["split"].map(known_split)
    splits = set(table.get("split", pd.Series(dtype=object)))
    if not splits <= set(SPLITS):
        others = ", ".join(map(str, splits - set(SPLITS)))
        raise _bad_labels(path, f"its splits are not all one of {', '.join(SPLITS)}: {others}.")
    table["path"] = [_inside(root, name) for name in table["path"]]
    strings = table.select_dtypes(exclude=["number", "bool"]).columns
    return table.assign(**{name: table[name].fillna("").astype(str) for name in strings})


def _separator(content: bytes, path_column: str) -> str:
    """What stands between columns: a comma, or what else makes `path_column` one of them."""
    header = content.splitlines()[0].decode("utf-8-sig", errors="replace") if content else ""
    for separator in (",", ";", "\t"):
        if path_column in [name.strip().strip('"') for name in header.split(separator)]:
            return separator
    return ","


def _inside(root: AnyPath, name: str) -> str:
    """A path relative to `root`, of an absolute one too, also through links and `..`.

    A backslash stands between folders, as Windows has it, unless a file is called so.
    """
    if "\\" in name and not (root / name).exists():
        name = name.replace("\\", "/")
    if isinstance(root, Path) and Path(name).is_absolute():
        for place, path in ((root.absolute(), Path(name)), (root.resolve(), Path(name).resolve())):
            if path.is_relative_to(place):
                return path.relative_to(place).as_posix()
    return posixpath.normpath(name)


def _bad_labels(path: AnyPath, found: str) -> NNGraphsError:
    return NNGraphsError(
        f"read the labels in {path}",
        found=found,
        do="Give a CSV file with one row per network and the columns path, label, split.",
    )
