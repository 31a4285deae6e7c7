"""Regression: any numeric column of a zoo's table, told from the weights of its networks."""

from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.metrics import (
    kendall_tau,
    mean_absolute_error,
    pearson_r,
    r_squared,
    spearman_rho,
)
from nn_graphs.plotting import plot_predictions
from nn_graphs.tasks.task import Task, check_columns
from nn_graphs.zoos.zoo import SPLITS, Zoo

LossName = Literal["mse", "mae", "huber"]
MetricName = Literal["r2", "pearson", "spearman", "kendall"]
LOSSES = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


class Regression(Task):
    """Predicts a column of numbers, e.g. a test loss or the epoch of a checkpoint.

    A model's outputs are in deviations of the training networks' labels from their mean; metrics
    are of predictions in the unit of the column.

    Attributes:
        column: with the numbers.
        loss_name: of the outputs, in deviations: `mse` (squared), `mae` (absolute), or `huber`
            (squared up to one deviation, absolute beyond).
        metric: that models are chosen by on val.
    """

    name = "regression"
    out_dim = 1

    def __init__(
        self,
        zoo: Zoo,
        *,
        column: str,
        loss_name: LossName = "mse",
        metric: MetricName = "r2",
    ):
        """
        Raises:
            NNGraphsError: there is no such column, loss or metric; a network has no finite number
                in it; all numbers of a split are equal, so that nothing correlates with them.
        """
        asked = f"predict the column {column} of the zoo"
        check_known(loss_name, get_args(LossName), asked=asked)
        check_known(metric, get_args(MetricName), asked=asked)
        self.column, self.loss_name, self.metric = column, loss_name, metric
        self._labels = torch.from_numpy(_numbers(zoo, column, asked)).float()
        super().__init__(zoo)
        for split in SPLITS:
            self._check_spread(split, asked)
        train = self._labels[torch.from_numpy(self._indices["train"])].double()
        self._mean, self._deviation = train.mean().item(), train.std(correction=0).item()

    def labels(self) -> Float[Tensor, "N"]:
        return self._labels

    def predictions(self, outputs: Float[Tensor, "B 1"]) -> Float[Tensor, "B"]:
        """The numbers that a model's outputs mean."""
        return outputs.squeeze(-1) * self._deviation + self._mean

    def outputs_for(self, predictions: Float[Tensor, "B"]) -> Float[Tensor, "B 1"]:
        """The inverse."""
        return ((predictions - self._mean) / self._deviation).unsqueeze(-1)

    def loss(self, outputs: Float[Tensor, "B 1"], labels: Float[Tensor, "B"]) -> Tensor:
        return LOSSES[self.loss_name](outputs, self.outputs_for(labels))

    def metrics(
        self, outputs: Float[Tensor, "N 1"], labels: Float[Tensor, "N"]
    ) -> dict[str, float]:
        """Correlations are 0 where all predictions are equal."""
        outputs, labels = outputs.cpu(), labels.cpu()
        predictions = self.predictions(outputs)
        return {
            "r2": r_squared(predictions, labels),
            "pearson": pearson_r(predictions, labels),
            "spearman": spearman_rho(predictions, labels),
            "kendall": kendall_tau(predictions, labels),
            "mae": mean_absolute_error(predictions, labels),
            "mse": F.mse_loss(predictions, labels).item(),
            "loss": self.loss(outputs, labels).item(),
        }

    def figures(
        self, outputs: Float[Tensor, "N 1"], labels: Float[Tensor, "N"], *, title: str = ""
    ) -> dict[str, Figure]:
        """`predictions`: predicted against true numbers."""
        found = self.metrics(outputs, labels)
        scatter = plot_predictions(
            self.predictions(outputs).numpy(),
            labels.numpy(),
            quantity=self.column,
            title=f"{title}: {self.metric} {found[self.metric]:.3f}",
        )
        return {"predictions": scatter}

    def _check_spread(self, split: str, asked: str) -> None:
        labels = self._labels[torch.from_numpy(self._indices[split])]
        if (labels == labels[0]).all():
            raise NNGraphsError(
                asked,
                found=f"all {len(labels)} networks of the split {split} have {labels[0].item():g}, "
                "so that no prediction correlates with them.",
                do="Choose another column, or splits in which it varies.",
            )


def _numbers(zoo: Zoo, column: str, asked: str) -> Float[np.ndarray, "N"]:
    check_columns(
        zoo,
        [column],
        asked=asked,
        do=f"Choose one of these, or add a column `{column}` with each network's number.",
    )
    numbers = pd.to_numeric(zoo.table[column], errors="coerce").to_numpy(
        dtype=np.float64, copy=True
    )
    is_bad = ~(np.abs(numbers) <= np.finfo(np.float32).max)  # NaN is not
    if is_bad.any():
        raise NNGraphsError(
            asked,
            found=f"{is_bad.sum()} networks have no finite number in it, the first is "
            f"{zoo.table[column].iloc[is_bad.argmax()]!r} of network {is_bad.argmax()}.",
            do="Drop them (Zoo.select), or choose another column.",
        )
    return numbers
