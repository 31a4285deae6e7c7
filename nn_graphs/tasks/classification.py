"""Classification of networks: cross-entropy, accuracy and balanced accuracy, both in percent."""

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from nn_graphs.errors import NNGraphsError
from nn_graphs.metrics import accuracy, balanced_accuracy
from nn_graphs.plotting import plot_confusion
from nn_graphs.tasks.task import Task, check_columns
from nn_graphs.zoos.readers.layer_order import natural_key
from nn_graphs.zoos.zoo import Zoo

Classes = tuple[tuple[str, ...], Int[np.ndarray, "N"]]


class ColumnClassification(Task):
    """Predicts a column of a zoo's table, for instance the algorithm that trained a network.

    Attributes:
        column: with the classes, numbers or names.
        class_names: the distinct values of the column, sorted: numbers by size, names by the
            alphabet, numbers in them by size ("cat", "net 2", "net 10"); labels are their places.
    """

    name = "column_classification"
    metric = "accuracy"
    unit = "%"
    digits = 1

    def __init__(self, zoo: Zoo, *, column: str):
        """
        Raises:
            NNGraphsError: there is no such column, or networks have no class in it.
        """
        asked = f"classify the networks of the zoo by {column}"
        check_columns(
            zoo,
            [column],
            asked=asked,
            do=f"Choose one of these, or add a column `{column}` with each network's class.",
        )
        self.column = column
        is_missing = (zoo.table[column].isna() | (zoo.table[column] == "")).to_numpy()
        if is_missing.any():
            raise NNGraphsError(
                asked,
                found=f"{is_missing.sum()} networks have none, the first is {is_missing.argmax()}.",
                do="Give them one, or drop them (Zoo.select).",
            )
        self.class_names, numbers = self._classes(zoo.table[column].to_numpy())
        self._numbers = torch.from_numpy(numbers.astype(np.int64))
        super().__init__(zoo)
        self.out_dim = len(self.class_names)

    def labels(self) -> Int[Tensor, "N"]:
        return self._numbers

    def loss(self, outputs: Float[Tensor, "B classes"], labels: Int[Tensor, "B"]) -> Tensor:
        return F.cross_entropy(outputs, labels)

    def metrics(
        self, outputs: Float[Tensor, "N classes"], labels: Int[Tensor, "N"]
    ) -> dict[str, float]:
        return {
            "accuracy": accuracy(outputs, labels),
            "balanced_accuracy": balanced_accuracy(outputs, labels),
            "loss": F.cross_entropy(outputs, labels).item(),
        }

    def figures(
        self, outputs: Float[Tensor, "N classes"], labels: Int[Tensor, "N"], *, title: str = ""
    ) -> dict[str, Figure]:
        """`confusion`: which classes are taken for which."""
        return {"confusion": self._confusion(outputs, labels, self.class_names, title)}

    def _confusion(
        self, outputs: Tensor, labels: Tensor, class_names: tuple[str, ...], title: str
    ) -> Figure:
        return plot_confusion(
            outputs.argmax(dim=1).numpy(),
            labels.numpy(),
            class_names=class_names,
            title=f"{title}: {accuracy(outputs, labels):.1f}% on test",
        )

    def _classes(self, values: np.ndarray) -> Classes:
        """Names of the classes, and the number of each network's."""
        return named_classes(values)


def named_classes(values: np.ndarray) -> Classes:
    """The distinct values as names, in the order of `ColumnClassification.class_names`."""
    if values.dtype.kind in "biuf":
        names, numbers = np.unique(values, return_inverse=True)
        return tuple(map(str, names)), numbers
    called = list(map(str, values))
    names = sorted(set(called), key=natural_key)
    place = {name: number for number, name in enumerate(names)}
    return tuple(names), np.array([place[name] for name in called])
