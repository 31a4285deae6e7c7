"""Lottery tickets: train, prune, rewind, again.

Frankle & Carbin, ICLR 2019; rewinding to an early step instead of the start is from Frankle et al.,
ICML 2020.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nn_graphs.networks.pruning.amounts import Density
from nn_graphs.networks.pruning.attached_masks import (
    PruningMask,
    check_names,
    original_weights,
    prunable_names,
    pruning_masks,
    weight_places,
)
from nn_graphs.networks.pruning.mask_choice import Scope
from nn_graphs.networks.pruning.pruning import PruningReport, prune
from nn_graphs.networks.pruning.simple_saliencies import Saliency, magnitude
from nn_graphs.networks.pruning.torch_masks import take_over

Train = Callable[[nn.Module], object]
Values = dict[str, Tensor]


@dataclass(frozen=True)
class Ticket:
    """A round of pruning.

    Attributes:
        report: what is left.
        masks: by names.
        trained: what `train` returned before this round's pruning.
    """

    report: PruningReport
    masks: dict[str, Tensor]
    trained: object


def lottery_tickets(
    module: nn.Module,
    train: Train,
    densities: Sequence[float],
    *,
    warm_up: Train | None = None,
    saliency: Saliency = magnitude,
    names: Sequence[str] | None = None,
    scope: Scope = "global",
) -> Iterator[Ticket]:
    """Finds tickets of falling densities, one after the other.

    Each time it goes on, the module is trained, pruned, and rewound: all parameters and buffers,
    but for the masks, are what they were at the start, bit for bit. At the moment a ticket comes
    out, the module is that ticket, untrained.

    Args:
        module: changed in place.
        train: trains it in place, from scratch: with an optimizer of its own.
        densities: of all named weights, falling; the published ones are 0.8, 0.64, ...
        warm_up: trains it for the first steps; what the module is then is what is rewound to.
        saliency, names, scope: as in `prune`.

    Raises:
        NNGraphsError: as in `prune`.
    """
    take_over(module)
    names = prunable_names(module) if names is None else list(names)
    check_names(module, names, asked=f"find lottery tickets of a {type(module).__name__}")
    if warm_up is not None:
        warm_up(module)
    start = values_of(module)
    for density in densities:
        trained = train(module)
        report = prune(module, Density(density), saliency=saliency, names=names, scope=scope)
        rewind(module, start)
        masks = {name: mask.clone() for name, mask in pruning_masks(module, names).items()}
        yield Ticket(report, masks, trained)


def values_of(module: nn.Module) -> Values:
    """Copies of all parameters, by plain names, and of all buffers but masks."""
    parameters = original_weights(module, list(weight_places(module)))
    values = {**parameters, **_buffers(module)}
    return {name: value.detach().clone() for name, value in values.items()}


@torch.no_grad()
def rewind(module: nn.Module, values: Values) -> None:
    """Sets what `values_of` took to what it was, whatever was masked since."""
    parameters = original_weights(module, list(weight_places(module)))
    for name, value in {**parameters, **_buffers(module)}.items():
        value.copy_(values[name])


def _buffers(module: nn.Module) -> Values:
    masks = [f"{path}.mask" for path, m in module.named_modules() if isinstance(m, PruningMask)]
    return {name: buffer for name, buffer in module.named_buffers() if name not in masks}
