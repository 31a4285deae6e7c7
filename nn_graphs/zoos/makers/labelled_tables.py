"""The table that the networks of a zoo are trained on: which, and how much of it."""

from dataclasses import dataclass
from pathlib import Path

import torch

from nn_graphs.datasets import TableDataset, load_table
from nn_graphs.networks.classifiers.data import LabelledData


@dataclass(frozen=True)
class LabelledTable:
    """A choice of rows; features, and the numbers of a regression, have mean 0 and deviation 1.

    Attributes:
        dataset: name, see `nn_graphs.datasets`.
        num_train, num_test: the first so many of each; None: all.
    """

    dataset: str = "moons"
    num_train: int | None = None
    num_test: int | None = None

    def load(self, data_root: str | Path | None = None) -> TableDataset:
        """The table, from the files under a folder.

        Raises:
            NNGraphsError: there is no such table.
        """
        return load_table(self.dataset, None if data_root is None else Path(data_root))

    def labelled(self, table: TableDataset, device: torch.device | str = "cpu") -> LabelledData:
        """What is trained on.

        Raises:
            NNGraphsError: there are fewer rows than were asked for, or all numbers are the same.
        """
        counts = {"num_train": self.num_train, "num_test": self.num_test}
        return LabelledData.from_dataset(table, device=device, **counts)
