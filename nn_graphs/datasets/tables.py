"""Labelled rows of numbers, and reading them from files of text."""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Int64, Num

from nn_graphs.errors import NNGraphsError

TEST_SHARE, SPLIT_SEED = 0.2, 0


@dataclass(frozen=True, eq=False)
class TableDataset:
    """All rows of a data set: those for training first, then those for tests.

    Attributes:
        name: as in `load_table(name)`.
        features: as published, not scaled; see `LabelledData.from_dataset` for what networks see.
        labels: class of every row, an index into `class_names`; of a regression the number that is
            to be predicted.
        num_train: rows `[0, num_train)` are for training, all others for tests.
        feature_names: what the columns are.
        class_names: what the labels mean; empty for a regression.

    Raises:
        NNGraphsError: there are no rows for training or none for tests, labels of another number,
            values that are not finite, or labels that are no class.
    """

    name: str
    features: Float32[np.ndarray, "num_rows num_features"]
    labels: Int64[np.ndarray, " num_labels"] | Float64[np.ndarray, " num_labels"]
    num_train: int
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...] = ()

    def __post_init__(self):
        fault = self._fault()
        if fault is not None:
            raise NNGraphsError(
                f"use {self.name} as a table of labelled rows",
                found=f"{fault}.",
                do="Give one finite row of features and one label for each, some for training and "
                "some for tests.",
            )

    @classmethod
    def shuffled(
        cls,
        name: str,
        features: Num[np.ndarray, "num_rows num_features"],
        labels: Num[np.ndarray, " num_labels"],
        *,
        feature_names: tuple[str, ...],
        class_names: tuple[str, ...] = (),
    ) -> "TableDataset":
        """Rows in an order that is drawn once and for all; the last fifth is for tests.

        Args:
            name, feature_names, class_names: see above.
            features, labels: in the order of the publisher.
        """
        table = cls(
            name,
            features.astype(np.float32),
            labels.astype(np.int64 if class_names else np.float64),
            len(features) - round(TEST_SHARE * len(features)),
            feature_names,
            class_names,
        )
        order = np.random.default_rng(SPLIT_SEED).permutation(len(features))
        return replace(table, features=table.features[order], labels=table.labels[order])

    @property
    def inputs(self) -> Float32[np.ndarray, "num_rows num_features"]:
        """The features."""
        return self.features

    def _fault(self) -> str | None:
        """What is wrong with it."""
        num_rows, num_features = self.features.shape
        if not 0 < self.num_train < num_rows:
            return f"{self.num_train} of its {num_rows} rows are for training"
        if len(self.labels) != num_rows or len(self.feature_names) != num_features:
            return (
                f"its features are {num_rows} x {num_features}, and there are "
                f"{len(self.labels)} labels and {len(self.feature_names)} names of features"
            )
        is_bad = ~(np.isfinite(self.features).all(1) & np.isfinite(self.labels))
        if is_bad.any():
            return f"row {is_bad.argmax()} holds a value that is not finite"
        classes = len(self.class_names)
        is_strange = (self.labels < 0) | (self.labels >= classes)
        if classes and is_strange.any():
            row = is_strange.argmax()
            return f"the label of row {row} is {self.labels[row]}, of {classes} classes"
        return None


def read_rows(path: Path, *, num_columns: int) -> Float64[np.ndarray, "num_rows num_columns"]:
    """The numbers of a text file, packed by gzip or not, separated by commas, without a header.

    Raises:
        NNGraphsError: it is empty or damaged, a row is longer or shorter, or something is no
            number.
    """
    try:
        rows = pd.read_csv(path, header=None, dtype=np.float64, na_values=[]).to_numpy()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise damaged(path, f"it holds no rows of {num_columns} numbers: {error}.") from error
    if rows.shape[1] != num_columns or np.isnan(rows).any():
        lengths = (~np.isnan(rows)).sum(1)
        first = int((lengths != num_columns).argmax())
        raise damaged(
            path,
            f"row {first + 1} has {lengths[first]} numbers, not {num_columns}.",
        )
    return rows


def read_arrays(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays of an npz file by their names, all with one row a row of the table.

    Raises:
        NNGraphsError: the file is damaged, one of them is missing, or they differ in length.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in keys}
    # Damage shows in zipfile, zlib or numpy, as nearly any exception there is.
    except Exception as error:
        found = f"it is no archive of the arrays {' '.join(keys)}: {error}."
        raise damaged(path, found) from error
    lengths = {key: len(array) if array.ndim else 0 for key, array in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise damaged(path, f"its arrays have these numbers of rows: {lengths}.")
    return arrays


def damaged(path: Path, found: str) -> NNGraphsError:
    """The error for a file of task data that cannot be used."""
    return NNGraphsError(
        f"read {path}",
        found=found,
        do="Delete it, then download it again with data/download.py.",
    )
