"""What a stack of classifiers is to the training engine: a function of parameters and buffers."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
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
    """A stack of classifiers of one shape; no network may touch another's values.

    Picklable, if it is to be trained in several processes.
    """

    def __call__(
        self,
        params: Float[Tensor, "S num_params"],
        buffers: Float[Tensor, "S num_buffers"],
        inputs: Float[Tensor, "S_or_1 B *shape"],
        mode: Mode,
    ) -> tuple[Float[Tensor, "S B num_classes"], Float[Tensor, "S num_buffers"]]:
        """Logits, and the buffers as they are afterwards.

        Inputs whose first axis is 1 are shared by all networks.
        """
        ...


def linear(
    inputs: Float[Tensor, "S_or_1 B in"], weight: Float[Tensor, "S out in"]
) -> Float[Tensor, "S B out"]:
    """Each network's linear map, without bias."""
    if len(inputs) > 1 or len(weight) == 1:
        return inputs @ weight.mT
    outputs = inputs[0] @ weight.flatten(0, 1).mT  # one product where all see the same
    return outputs.unflatten(1, weight.shape[:2]).transpose(0, 1)


def batch_norm(
    values: Float[Tensor, "S B channels *side"],
    weight: Float[Tensor, "S channels"],
    bias: Float[Tensor, "S channels"],
    mean: Float[Tensor, "S channels"],
    variance: Float[Tensor, "S channels"],
    *,
    is_training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, Float[Tensor, "S channels"], Float[Tensor, "S channels"]]:
    """Batch norm (Ioffe & Szegedy, ICML 2015) of a stack, as torch computes it.

    Returns:
        The values, and running mean and variance as they are afterwards.
    """
    shape = (len(weight), 1, -1, *[1] * (values.dim() - 3))
    if is_training:
        axes = (1, *range(3, values.dim()))
        batch_mean = values.mean(axes)
        centred = values - batch_mean.reshape(shape)
        used_variance = (centred * centred).mean(axes)
        count = values.numel() // (values.shape[0] * values.shape[2])
        mean = mean + momentum * (batch_mean - mean)
        variance = variance + momentum * (used_variance * count / (count - 1) - variance)
    else:
        centred, used_variance = values - mean.reshape(shape), variance
    scale = weight * (used_variance + eps).rsqrt()
    return torch.addcmul(bias.reshape(shape), centred, scale.reshape(shape)), mean, variance
