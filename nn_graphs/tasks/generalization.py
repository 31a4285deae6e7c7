"""Generalization: how well a network does on unseen data, told from its weights alone.

Unterthiner et al., 2020; Kofinas et al., ICLR 2024, sec. 5.2. Models are chosen by Kendall's tau-b
on val. Equal labels (accuracies on 10,000 test images repeat) keep tau-b below 1, so its ceiling
and its share of it stand beside it.
"""

from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from nn_graphs.errors import NNGraphsError
from nn_graphs.metrics import (
    kendall_tau,
    kendall_tau_ceiling,
    mean_absolute_error,
    r_squared,
    spearman_rho,
)
from nn_graphs.plotting import plot_predictions
from nn_graphs.tasks.task import Task, check_columns
from nn_graphs.zoos.zoo import Zoo

NEARLY = 1e-6


class Generalization(Task):
    """Predicts the column `label` of a zoo, an accuracy from 0 to 1.

    Attributes:
        loss_name: of the prediction, which is the sigmoid of a model's output: `bce`, the
            cross-entropy of the two accuracies (published for NG-T on both zoos and for NG-GNN on
            the Wild Park), or `mse`, the squared error (for NG-GNN on the Small CNN Zoo).
    """

    name = "generalization"
    metric = "tau"
    out_dim = 1

    def __init__(
        self,
        zoo: Zoo,
        *,
        loss_name: Literal["bce", "mse"] = "bce",
        activation: str | None = None,
    ):
        """
        Args:
            zoo: with the columns `label`, `split` and `run`.
            loss_name: see above.
            activation: use only networks with this value in the column `activation`; tables of
                results differ in which part of the Small CNN Zoo they are about.

        Raises:
            NNGraphsError: a column is missing, a label is no accuracy, a run lies in two splits, or
                no network has this activation.
        """
        check_columns(
            zoo,
            ["label", "run", *(["activation"] if activation else [])],
            asked="predict the accuracies of the networks of the zoo",
            do="`label` is a network's accuracy, `run` the number of the training it comes from.",
        )
        if activation is not None:
            zoo = _with_activation(zoo, activation)
        labels = pd.to_numeric(zoo.table["label"], errors="coerce").to_numpy(dtype=np.float32)
        is_bad = ~((labels >= 0) & (labels <= 1))
        if is_bad.any():
            raise NNGraphsError(
                "predict the accuracies of the networks of the zoo",
                found=f"{is_bad.sum()} labels are no numbers from 0 to 1, the first is "
                f"{zoo.table['label'].iloc[is_bad.argmax()]!r} of network {is_bad.argmax()}.",
                do="Give shares, not percent, and drop networks without one (Zoo.select).",
            )
        self.loss_name = loss_name
        self._labels = torch.from_numpy(labels)
        super().__init__(zoo)

    def labels(self) -> Float[Tensor, "N"]:
        return self._labels

    def predictions(self, outputs: Float[Tensor, "B 1"]) -> Float[Tensor, "B"]:
        """The accuracies that a model's outputs mean."""
        return outputs.squeeze(-1).sigmoid()

    def outputs_for(self, predictions: Float[Tensor, "B"]) -> Float[Tensor, "B 1"]:
        """The inverse; predicted accuracies outside of 0 to 1 are taken for nearly 0 or 1."""
        return predictions.clamp(NEARLY, 1 - NEARLY).logit().unsqueeze(-1)

    def loss(self, outputs: Float[Tensor, "B 1"], labels: Float[Tensor, "B"]) -> Tensor:
        if self.loss_name == "bce":
            return F.binary_cross_entropy_with_logits(outputs.squeeze(-1), labels)
        return F.mse_loss(self.predictions(outputs), labels)

    def metrics(
        self, outputs: Float[Tensor, "N 1"], labels: Float[Tensor, "N"]
    ) -> dict[str, float]:
        outputs, labels = outputs.cpu(), labels.cpu()
        predictions = self.predictions(outputs)
        tau, ceiling = kendall_tau(predictions, labels), kendall_tau_ceiling(labels)
        return {
            "tau": tau,
            "tau_ceiling": ceiling,
            "tau_of_ceiling": tau / ceiling if ceiling else 0.0,
            "spearman": spearman_rho(predictions, labels),
            "r2": r_squared(predictions, labels),
            "l1": mean_absolute_error(predictions, labels),
            "loss": self.loss(outputs, labels).item(),
        }

    def figures(
        self, outputs: Float[Tensor, "N 1"], labels: Float[Tensor, "N"], *, title: str = ""
    ) -> dict[str, Figure]:
        """`predictions`: predicted against true accuracies."""
        found = self.metrics(outputs, labels)
        scatter = plot_predictions(
            self.predictions(outputs).numpy(),
            labels.numpy(),
            quantity="accuracy",
            title=f"{title}: tau {found['tau']:.3f} of at most {found['tau_ceiling']:.3f}",
        )
        return {"predictions": scatter}


def _with_activation(zoo: Zoo, activation: str) -> Zoo:
    """The networks with one activation, and only their architectures."""
    names = zoo.table["activation"].to_numpy()
    numbers = np.flatnonzero(names == activation)
    if not len(numbers):
        raise NNGraphsError(
            f"choose the networks with the activation {activation!r}",
            found=f"those of the zoo are {', '.join(sorted(set(map(str, names))))}.",
            do="Choose one of these, or none for all.",
        )
    return zoo.select(numbers).without_unused_specs()
