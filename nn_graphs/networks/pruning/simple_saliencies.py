"""Saliencies that need no data: magnitude, magnitude against a layer's spread, chance.

A saliency is any function of a module and names of its weights that gives numbers for each; large
ones stay. `networks/pruning` has more of them, and a function of your own will do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nn_graphs.networks.pruning.attached_masks import original_weights, pruning_masks

Saliency = Callable[[nn.Module, Sequence[str]], Mapping[str, Tensor]]


def magnitude(module: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """`|w|` (Han et al., NeurIPS 2015)."""
    weights = original_weights(module, names)
    return {name: weight.detach().abs() for name, weight in weights.items()}


def spread_magnitude(module: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """`|w|` over the standard deviation of the layer's weights that are left.

    So layers whose weights are small as a whole are not emptied first ("class-distributed" pruning
    of See et al., CoNLL 2016). A layer whose weights are all the same has the deviation 1.
    """
    weights, masks = original_weights(module, names), pruning_masks(module, names)
    found = {}
    for name, weight in weights.items():
        left = weight.detach()[masks[name]]
        deviation = left.double().std(correction=0).item() if len(left) else 0.0
        found[name] = weight.detach().abs() / (deviation or 1.0)
    return found


@dataclass(frozen=True)
class RandomSaliency:
    """Uniform numbers from a seed: the same for the same names and shapes."""

    seed: int = 0

    def __call__(self, module: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        weights = original_weights(module, names)
        return {
            name: torch.rand(weight.shape, generator=generator, dtype=torch.float64)
            for name, weight in weights.items()
        }
