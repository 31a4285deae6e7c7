"""Gradients of stacks of networks, inside and outside of compiled steps."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

StackLoss = Callable[..., tuple[Float[Tensor, ""], Any]]
"""`(params, *others) -> (the sum of all networks' losses, anything else that is wanted)`."""


def with_gradient(loss_fn: StackLoss) -> Callable[..., tuple[Tensor, Any]]:
    """A function that gives the gradient by the parameters, and what else the loss gives.

    The compiler only follows `torch.func`; run eagerly, its dispatch costs small networks half as
    much again as the work itself, which plain autograd does not.
    """
    traced = torch.func.grad(loss_fn, has_aux=True)

    def gradient_of(params: Tensor, *others: Any) -> tuple[Tensor, Any]:
        if torch.compiler.is_compiling():
            return traced(params, *others)
        leaf = params.detach().requires_grad_()
        with torch.enable_grad():
            loss, rest = loss_fn(leaf, *others)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient, _detached(rest)

    return gradient_of


def _detached(values: Any) -> Any:
    return torch.utils._pytree.tree_map_only(Tensor, Tensor.detach, values)
