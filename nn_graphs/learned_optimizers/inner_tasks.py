"""Inner tasks: what a learned optimizer trains, as stacks of networks of one architecture.

Losses and gradients are those of the whole stack at once. Who sees which batch depends on keys
alone, so that two runs of one key differ in nothing but their optimizer. The last training inputs
are left out for validation; test inputs are scored by `test_scores` alone.

Task augmentation (Metz et al., 2022; Moudgil et al., 2025): a network is told by parameters that
are smaller by a factor s than those it computes with, loss'(w) = loss(s w), w0' = w0 / s.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.draws import joined, uniforms
from nn_graphs.networks.classifiers.objectives import objective_of
from nn_graphs.networks.gradients import with_gradient
from nn_graphs.networks.initializers import torch_initial_params
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.networks.stacked import stacked_forward

INITIAL, BATCH, SCALE = 0, 1, 2  # what a key is for
BLOCK = 1024  # inputs that are scored at once


@dataclass(frozen=True, eq=False)
class InnerTask:
    """Training of networks of one architecture on one data set.

    Attributes:
        name: in tables and figures.
        spec: the architecture.
        data: flat inputs (`LabelledData.flattened`) for MLPs, images for CNNs.
        batch_size: inputs per step, drawn with replacement, each network's own.
        num_val: the last so many training inputs are for validation.
        scale_range: of the factors s, drawn log-uniformly for each network; (1, 1): none.
        is_autoencoder: outputs are compared with the flat inputs, by their squared error.

    Raises:
        NNGraphsError: no input is left for training, or for validation, or a factor is not
            positive.
    """

    name: str
    spec: NetworkSpec
    data: LabelledData
    batch_size: int = 64
    num_val: int = 256
    scale_range: tuple[float, float] = (1.0, 1.0)
    is_autoencoder: bool = False

    def __post_init__(self):
        asked = f"make the inner task {self.name!r}"
        if self.batch_size < 1 or not 0 < self.num_val < self.data.num_train:
            raise NNGraphsError(
                asked,
                found=f"batches are of {self.batch_size} and {self.num_val} of "
                f"{self.data.num_train} training inputs are for validation.",
                do="Give at least 1 of each, and leave some for training.",
            )
        low, high = self.scale_range
        if not 0 < low <= high < math.inf:
            raise NNGraphsError(
                asked,
                found=f"the factors of its parameters are from {low} to {high}.",
                do="Give two positive numbers, the smaller one first.",
            )

    @property
    def guessing_loss(self) -> float:
        """About that of networks that know nothing: log(classes), or 1 of normalised numbers."""
        is_numbers = self.is_autoencoder or self.data.is_regression
        return 1.0 if is_numbers else math.log(self.spec.layers[-1].width)

    @property
    def num_seen(self) -> int:
        """How many inputs are trained on."""
        return self.data.num_train - self.num_val

    def scales(self, keys: Int32[Tensor, "S"]) -> Float[Tensor, "S 1"]:
        """The factor of each network's parameters."""
        low, high = map(math.log, self.scale_range)
        draws = uniforms(joined(keys, SCALE), (1,)).to(self.data.mean)
        return (low + (high - low) * draws).exp()

    def initial_params(self, keys: Int32[Tensor, "S"]) -> Float[Tensor, "S num_params"]:
        """As torch's layers begin, divided by the factors."""
        params = torch_initial_params(self.spec, joined(keys, INITIAL)).to(self.data.mean)
        return params / self.scales(keys)

    def losses(
        self,
        params: Float[Tensor, "S num_params"],
        keys: Int32[Tensor, "S"],
        steps: Int32[Tensor, "S"],
    ) -> Float[Tensor, "S"]:
        """Mean loss of every network on its batch of a step, which may be each one's own."""
        draws = uniforms(joined(keys, BATCH, steps), (self.batch_size,))
        places = (draws * self.num_seen).long().clamp(max=self.num_seen - 1)
        return self._losses_at(params, keys, places)

    def losses_and_gradients(
        self,
        params: Float[Tensor, "S num_params"],
        keys: Int32[Tensor, "S"],
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S"], Float[Tensor, "S num_params"]]:
        """The same with its gradients, by one backward pass for the whole stack."""

        def summed(params: Tensor) -> tuple[Tensor, Tensor]:
            losses = self.losses(params, keys, steps)
            return losses.sum(), losses

        gradients, losses = with_gradient(summed)(params)
        return losses, gradients

    def val_losses(
        self, params: Float[Tensor, "S num_params"], keys: Int32[Tensor, "S"]
    ) -> Float[Tensor, "S"]:
        """Mean loss of every network on all inputs for validation."""
        return self._scores(params, keys, self.num_seen, self.data.num_train)[0]

    def test_scores(
        self, params: Float[Tensor, "S num_params"], keys: Int32[Tensor, "S"]
    ) -> tuple[Float[Tensor, "S"], Float[Tensor, "S"]]:
        """Mean loss and quality (accuracy; R2 of numbers and autoencoders) on all test inputs."""
        return self._scores(params, keys, self.data.num_train, self.data.num_all)

    def _scores(
        self, params: Tensor, keys: Tensor, first: int, stop: int
    ) -> tuple[Float[Tensor, "S"], Float[Tensor, "S"]]:
        """Loss and quality on inputs that all networks are shown alike."""
        places = torch.arange(first, stop, device=self.data.device)
        losses = qualities = 0.0
        with torch.no_grad():
            variance = self._variance(places)
            for part in places.split(BLOCK):
                outputs = self._outputs_at(params, keys, part)
                share = len(part) / len(places)
                found = self._losses_of(outputs, part)
                losses = losses + share * found.mean(1)
                qualities = qualities + share * self._qualities_of(outputs, part, found, variance)
        return losses, qualities

    def _losses_at(self, params: Tensor, keys: Tensor, places: Tensor) -> Float[Tensor, "S"]:
        return self._losses_of(self._outputs_at(params, keys, places), places).mean(1)

    def _outputs_at(
        self, params: Tensor, keys: Tensor, places: Int[Tensor, "B"] | Int[Tensor, "S B"]
    ) -> Float[Tensor, "S B outputs"]:
        inputs = self.data.take(places)
        return stacked_forward(self.spec, params * self.scales(keys), inputs)

    def _losses_of(self, outputs: Tensor, places: Tensor) -> Float[Tensor, "S B"]:
        if self.is_autoencoder:
            inputs = self.data.take(places).flatten(places.ndim)
            return (outputs - inputs).square().mean(2)
        labels = self.data.labels[places.expand(len(outputs), -1)]
        return objective_of(labels).losses(outputs, labels)

    def _qualities_of(
        self, outputs: Tensor, places: Tensor, losses: Tensor, variance: Tensor
    ) -> Float[Tensor, "S"]:
        if self.is_autoencoder:
            return 1 - losses.mean(1) / variance
        labels = self.data.labels[places.expand(len(outputs), -1)]
        return objective_of(labels).qualities(outputs, labels, variance.reshape(1)).mean(1)

    def _variance(self, places: Tensor) -> Float[Tensor, ""]:
        """Of what is predicted, where it is numbers."""
        values = self.data.take(places).flatten(1) if self.is_autoencoder else self.data.labels
        values = values if self.is_autoencoder else values[places].to(self.data.mean)
        return values.var(0, correction=0).mean()
