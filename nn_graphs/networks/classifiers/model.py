"""What a stack of networks is to the training engine: a function of parameters and buffers."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.networks.classifiers.draws import joined, uniforms


@dataclass(frozen=True)
class Mode:
    """How a forward pass is run.

    Attributes:
        is_training: whether norms use, and update, statistics of the batch.
        dropout: probability per network that a value is dropped; None where no network drops any.
        key: per network and step, of the draws; one where they are the same for all.
    """

    is_training: bool = False
    dropout: Float[Tensor, "S"] | None = None
    key: Int32[Tensor, "S_or_1"] | None = None

    def drop(self, values: Float[Tensor, "S B *shape"], place: int) -> Float[Tensor, "S B *shape"]:
        """Dropout (Srivastava et al., JMLR 2014) while training; `place` numbers its layers."""
        if self.dropout is None:
            return values
        rate = self.dropout.reshape(-1, *[1] * (values.dim() - 1))
        draws = uniforms(joined(self.key, place), tuple(values.shape[1:]))
        return torch.where(draws.to(values.dtype) >= rate, values / (1 - rate), 0)


EVALUATION = Mode()


@runtime_checkable
class StackedModel(Protocol):
    """A stack of networks of one shape; no network may touch another's values.

    Picklable, if it is to be trained in several processes.
    """

    def __call__(
        self,
        params: Float[Tensor, "S num_params"],
        buffers: Float[Tensor, "S num_buffers"],
        inputs: Float[Tensor, "S_or_1 B *shape"],
        mode: Mode,
    ) -> tuple[Float[Tensor, "S B num_outputs"], Float[Tensor, "S num_buffers"]]:
        """Logits, or a number each, and the buffers as they are afterwards.

        Inputs whose first axis is 1 are shared by all networks.
        """
        ...


def linear(
    inputs: Float[Tensor, "S_or_1 in B"], weight: Float[Tensor, "S out in"]
) -> Float[Tensor, "S out B"]:
    """Each network's linear map, without bias; what a channel holds lies together."""
    if len(inputs) > 1 or len(weight) == 1:
        return weight @ inputs
    outputs = weight.flatten(0, 1) @ inputs[0]  # one product where all see the same
    return outputs.unflatten(0, weight.shape[:2])


def batch_norm(
    values: Float[Tensor, "S channels B"],
    weight: Float[Tensor, "S channels"],
    bias: Float[Tensor, "S channels"],
    mean: Float[Tensor, "S channels"],
    variance: Float[Tensor, "S channels"],
    *,
    is_training: bool,
) -> tuple[Float[Tensor, "S channels B"], Float[Tensor, "S channels"], Float[Tensor, "S channels"]]:
    """Batch norm (Ioffe & Szegedy, ICML 2015): the channels of all networks are those of one.

    Returns:
        The values, and running mean and variance as they are afterwards.
    """
    mean, variance = (one.clone(memory_format=torch.contiguous_format) for one in (mean, variance))
    normalised = F.batch_norm(
        values.flatten(0, 1).unsqueeze(0),
        mean.flatten(),
        variance.flatten(),
        weight.flatten(),
        bias.flatten(),
        training=is_training,
    )
    return normalised.reshape(values.shape), mean, variance
