"""What networks are trained for, and how good they are at it: classes, or numbers."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Scores(NamedTuple):
    """Accuracies from 0 to 1 and mean cross-entropies; NaN losses tell of diverged networks."""

    train_accuracy: Float[Tensor, "N"]
    train_loss: Float[Tensor, "N"]
    test_accuracy: Float[Tensor, "N"]
    test_loss: Float[Tensor, "N"]


class RegressionScores(NamedTuple):
    """Coefficients of determination R2 and mean squared errors, by the numbers as they are trained.

    R2 is 1 where all is right, 0 for the mean of the numbers scored, and below for what is worse;
    NaN where these numbers are all the same.
    """

    train_r2: Float[Tensor, "N"]
    train_mse: Float[Tensor, "N"]
    test_r2: Float[Tensor, "N"]
    test_mse: Float[Tensor, "N"]


@runtime_checkable
class Objective(Protocol):
    """What labels ask of outputs.

    Attributes:
        scores: quality and loss on training, then on test inputs.
    """

    scores: type[Scores] | type[RegressionScores]

    def losses(self, outputs: Float[Tensor, "S B out"], labels: Tensor) -> Float[Tensor, "S B"]:
        """Of every network on every input; labels are `[S, B]` or `[1, B]`."""
        ...

    def qualities(
        self,
        outputs: Float[Tensor, "S B out"],
        labels: Tensor,
        variance: Float[Tensor, "S_or_all"],
    ) -> Float[Tensor, "S B"]:
        """What the quality of the scores is the mean of.

        Args:
            outputs, labels: as above.
            variance: of the labels of all inputs of which the mean will be taken.
        """
        ...


class Classification:
    """Logits against classes: accuracy and cross-entropy."""

    scores = Scores

    def losses(
        self, outputs: Float[Tensor, "S B classes"], labels: Int[Tensor, "S_or_1 B"]
    ) -> Float[Tensor, "S B"]:
        return F.cross_entropy(outputs.mT, labels.expand(outputs.shape[:2]), reduction="none")

    def qualities(
        self,
        outputs: Float[Tensor, "S B classes"],
        labels: Int[Tensor, "S_or_1 B"],
        variance: Float[Tensor, "S_or_all"],
    ) -> Float[Tensor, "S B"]:
        # `argmax`, which gives the same, takes ten times as long where classes don't lie together.
        return (outputs.max(2).indices == labels).to(outputs.dtype)


class Regression:
    """One output against a number: R2 and squared error."""

    scores = RegressionScores

    def losses(
        self, outputs: Float[Tensor, "S B 1"], labels: Float[Tensor, "S_or_1 B"]
    ) -> Float[Tensor, "S B"]:
        return (outputs.squeeze(2) - labels).square()

    def qualities(
        self,
        outputs: Float[Tensor, "S B 1"],
        labels: Float[Tensor, "S_or_1 B"],
        variance: Float[Tensor, "S_or_all"],
    ) -> Float[Tensor, "S B"]:
        return 1 - self.losses(outputs, labels) / variance.unsqueeze(1)


def objective_of(labels: Tensor) -> Objective:
    """What is asked of networks by labels: classes by whole numbers, numbers by others."""
    return Regression() if labels.is_floating_point() else Classification()


def variances(
    labels: Float[Tensor, " n"] | Int[Tensor, " n"], seen: Bool[Tensor, "N_or_1 n"]
) -> Float[Tensor, "N_or_1"]:
    """Variance, for each network, of the labels that it sees; NaN where they are all the same."""
    values, weights = labels.double(), seen.double()
    number = weights.sum(1)
    means = (weights @ values) / number
    squares = (values - means.unsqueeze(1)).square()
    found = (weights * squares).sum(1) / number
    return torch.where(found > 0, found, torch.nan)
