"""The table that the networks of a zoo are trained on: which, and how much of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nn_graphs.datasets import TableDataset, load_table
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.ranges import PositiveFloat, PositiveInt, in_ranges


@in_ranges
@dataclass(frozen=True)
class LabelledTable:
    """A choice of rows; features, and the numbers of a regression, have mean 0 and deviation 1.

    Attributes:
        dataset: name, see `nn_graphs.datasets`.
        num_train, num_test: the first so many of each; None: all.
        max_deviations: features further from their mean are brought to so many deviations; None:
            they stay. A few districts of California housing are up to a hundred deviations away,
            and decide R2 where they are among the test rows.
    """

    dataset: str = "moons"
    num_train: PositiveInt | None = None
    num_test: PositiveInt | None = None
    max_deviations: PositiveFloat | None = None

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
        data = LabelledData.from_dataset(table, device=device, **counts)
        if self.max_deviations is None:
            return data
        width = self.max_deviations * data.std
        return replace(data, inputs=data.inputs.clamp(data.mean - width, data.mean + width))
