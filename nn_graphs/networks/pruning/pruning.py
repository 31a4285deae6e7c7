"""Prunes weights of any module, in one go or in rounds, and says what is left."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning.amounts import Amount, Density
from nn_graphs.networks.pruning.attached_masks import (
    attach_masks,
    check_names,
    prunable_names,
    pruning_masks,
)
from nn_graphs.networks.pruning.mask_choice import Scope, chosen_masks
from nn_graphs.networks.pruning.simple_saliencies import Saliency, magnitude
from nn_graphs.networks.pruning.torch_masks import take_over


@dataclass(frozen=True)
class PruningReport:
    """What is left of weights.

    Attributes:
        num_left, num_all: by names.
    """

    num_left: dict[str, int]
    num_all: dict[str, int]

    @property
    def density(self) -> float:
        """The share of all the weights that is left."""
        return sum(self.num_left.values()) / sum(self.num_all.values())

    @property
    def empty(self) -> list[str]:
        """Names of weights none of which is left."""
        return [name for name, number in self.num_left.items() if not number]

    def __str__(self) -> str:
        left, everything = sum(self.num_left.values()), sum(self.num_all.values())
        empty = f", nothing in {', '.join(self.empty)}" if self.empty else ""
        return f"{left:,} of {everything:,} weights left ({self.density:.2%}){empty}"


def prune(
    module: nn.Module,
    amount: Amount,
    *,
    saliency: Saliency = magnitude,
    names: Sequence[str] | None = None,
    scope: Scope = "global",
) -> PruningReport:
    """Masks the least salient weights of a module, in place.

    Args:
        module: any; masks of `torch.nn.utils.prune` on it are taken over.
        amount: `Share`, `Count`, `Density`, `Bucket` or `Threshold`; counts are exact.
        saliency: numbers for each weight; the largest stay. One that can `compensate` (the
            layer-wise surgeon) moves the weights that are left.
        names: of parameters, as in `named_parameters()`; None: all of two axes or more.
        scope: all of them together ("global"), or each by itself ("layer").

    Returns:
        How many weights are left. Where none is left of a weight a warning says so.

    Raises:
        NNGraphsError: there is no such weight, or more shall go than there are; saliencies are NaN
            or do not fit, or the saliency is no function.
    """
    asked = f"prune a {type(module).__name__}"
    if not callable(saliency):
        raise NNGraphsError(
            asked,
            found=f"its saliency is {saliency!r}, which cannot be called.",
            do="Give one of nn_graphs.networks.pruning, e.g. magnitude, or a function of yours.",
        )
    take_over(module)
    names = prunable_names(module) if names is None else list(names)
    check_names(module, names, asked=asked)
    before = pruning_masks(module, names)
    after = chosen_masks(saliency(module, names), before, amount, scope)
    if (compensate := getattr(saliency, "compensate", None)) is not None:
        compensate(module, before, after)
    attach_masks(module, after)
    report = report_on(after)
    emptied = [name for name in report.empty if before[name].any()]
    if emptied:
        warnings.warn(f"Pruning left nothing of {', '.join(emptied)}.", stacklevel=2)
    return report


def prune_in_rounds(
    module: nn.Module,
    density: float,
    *,
    saliency: Saliency,
    num_rounds: int,
    names: Sequence[str] | None = None,
    scope: Scope = "global",
) -> PruningReport:
    """Prunes to a density in rounds, with saliencies anew in each.

    The density falls by the same factor in each round, from that at the start.

    Raises:
        NNGraphsError: as in `prune`; or there are no rounds.
    """
    if num_rounds < 1 or not 0 <= density <= 1:
        raise NNGraphsError(
            f"prune to a density of {density} in {num_rounds} rounds",
            found="the density must lie between 0 and 1, and there must be a round.",
            do="Give at least one round.",
        )
    names = prunable_names(module) if names is None else list(names)
    take_over(module)
    check_names(module, names, asked=f"prune a {type(module).__name__}")
    report = report_on(pruning_masks(module, names))
    start = report.density
    for number in range(1, num_rounds + 1):
        is_last = number == num_rounds or not start
        aim = density if is_last else start * (density / start) ** (number / num_rounds)
        report = prune(module, Density(aim), saliency=saliency, names=names, scope=scope)
    return report


def report_on(masks: Mapping[str, Tensor]) -> PruningReport:
    """How many weights masks leave."""
    left = {name: int(mask.sum()) for name, mask in masks.items()}
    return PruningReport(left, {name: mask.numel() for name, mask in masks.items()})
