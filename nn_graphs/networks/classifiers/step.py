"""One training step of a stack, written into its state."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nn_graphs.networks.classifiers.model import Mode, StackedModel
from nn_graphs.networks.classifiers.objectives import Objective
from nn_graphs.networks.gradients import with_gradient
from nn_graphs.networks.optimizers import make_update


class NetworkState(NamedTuple):
    """The state of networks in training, one row each; steps write into it.

    `trainable` holds ones and zeros, or is None where all parameters are trained.
    """

    params: Float[Tensor, "S num_params"]
    buffers: Float[Tensor, "S num_buffers"]
    first_moment: Float[Tensor, "S num_params"]
    second_moment: Float[Tensor, "S num_params"]
    steps: Float[Tensor, "S 1"]
    losses: Float[Tensor, "S"]
    trainable: Float[Tensor, "S num_params"] | None

    @classmethod
    def begin(
        cls, params: Tensor, buffers: Tensor, trainable: Bool[Tensor, "S num_params"] | None
    ) -> "NetworkState":
        return cls(
            params=params.detach().clone(),
            buffers=buffers.detach().clone(),
            first_moment=torch.zeros_like(params),
            second_moment=torch.zeros_like(params),
            steps=params.new_zeros(len(params), 1),
            losses=params.new_zeros(len(params)),
            trainable=None if trainable is None else trainable.to(params.dtype),
        )


def make_step(
    model: StackedModel,
    objective: Objective,
    *,
    is_adaptive: bool,
    is_uneven: bool,
    has_mask: bool,
) -> Callable[..., None]:
    """The step of a stack; what no network of it needs is left out.

    Args:
        model: outputs of the stack.
        objective: that they are trained for.
        is_adaptive: whether a network's optimizer has second moments.
        is_uneven: whether networks may wait for others.
        has_mask: whether some parameters are not trained.
    """
    update = make_update(is_adaptive)

    def total_loss(params, buffers, inputs, labels, mode):
        outputs, buffers = model(params, buffers, inputs, mode)
        losses = objective.losses(outputs, labels).mean(1)
        return losses.sum(), (losses, buffers)

    gradient_fn = with_gradient(total_loss)

    def step(
        state: NetworkState, inputs, labels, rate, is_active, coefficients, dropout, dropout_key
    ) -> None:
        mode = Mode(True, dropout, dropout_key)
        gradient, (losses, buffers) = gradient_fn(state.params, state.buffers, inputs, labels, mode)
        count = state.steps + 1
        params, first, second = update(
            state.params,
            gradient,
            state.first_moment,
            state.second_moment,
            count,
            rate,
            coefficients,
        )
        if has_mask:
            params = torch.where(state.trainable > 0, params, state.params)
        if is_uneven:
            params = torch.where(is_active, params, state.params)
            first = torch.where(is_active, first, state.first_moment)
            second = torch.where(is_active, second, state.second_moment)
            buffers = torch.where(is_active, buffers, state.buffers)
            losses = torch.where(is_active[:, 0], losses, state.losses)
            count = torch.where(is_active, count, state.steps)
        state.params.copy_(params)
        state.first_moment.copy_(first)
        if is_adaptive:
            state.second_moment.copy_(second)
        state.buffers.copy_(buffers)
        state.steps.copy_(count)
        state.losses.copy_(losses)

    return step
