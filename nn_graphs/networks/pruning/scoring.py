"""What saliencies that look at losses share: a copy to look at, batches, gradients.

The module itself is never touched: running statistics, gradients and modes stay.
"""

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning.attached_masks import PruningMask, original_weights
from nn_graphs.networks.pruning.torch_masks import forget_graphs, take_over

Inputs = Tensor | tuple[Tensor, ...]
Batches = Sequence[tuple[Inputs, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]
Weights = dict[str, nn.Parameter]


def scoring_copy(module: nn.Module, names: Sequence[str]) -> tuple[nn.Module, Weights]:
    """A copy whose named weights, and no others, get gradients, those under masks too.

    Weights under masks are 0.
    """
    forget_graphs(module)
    new = copy.deepcopy(module)
    take_over(new)
    for parameter in new.parameters():
        parameter.requires_grad_(False)
    weights = original_weights(new, names)
    for weight in weights.values():
        weight.requires_grad_(True)
    for layer in new.modules():
        if isinstance(layer, PruningMask):
            layer.passes_all_gradients = True
    return new, weights


def effective(weights: Weights, masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """The values of weights as the module has them: 0 under masks."""
    return {name: torch.where(masks[name], weights[name].detach(), 0.0) for name in weights}


def shared_losses(
    module: nn.Module, batches: Batches, loss: Loss, *, temperature: float = 1.0
) -> Iterator[Tensor]:
    """The losses of all batches, each times its share of the points: they add up to the mean.

    Raises:
        NNGraphsError: there are no batches.
    """
    total = sum(len(targets) for _, targets in batches)
    if not total:
        raise NNGraphsError(
            "find saliencies by a loss",
            found="there are no batches.",
            do="Give a list of pairs (inputs, targets).",
        )
    for inputs, targets in batches:
        arguments = inputs if isinstance(inputs, tuple) else (inputs,)
        share = len(targets) / total
        yield share * loss(module(*arguments) / temperature, targets)


def gradients(loss: Tensor, weights: Weights, *, create_graph: bool = False) -> list[Tensor]:
    """The gradients of weights, zeros where the loss does not depend on one."""
    if not loss.requires_grad:
        return [torch.zeros_like(weight) for weight in weights.values()]
    found = torch.autograd.grad(
        loss, list(weights.values()), create_graph=create_graph, allow_unused=True
    )
    return [
        torch.zeros_like(weight) if gradient is None else gradient
        for weight, gradient in zip(weights.values(), found, strict=True)
    ]
