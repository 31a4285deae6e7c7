"""Which weights go: the least salient ones, all layers together or each by itself.

Counts are exact. Of weights with the same saliency those go first that come first, in the order of
the names and of the elements.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.networks.pruning.amounts import Amount

Scope = Literal["global", "layer"]


def chosen_masks(
    saliencies: Mapping[str, Float[Tensor, "..."]],
    masks: Mapping[str, Bool[Tensor, "..."]],
    amount: Amount,
    scope: Scope,
) -> dict[str, Tensor]:
    """Masks after pruning.

    Args:
        saliencies: of all weights; those of weights that are pruned already do not count.
        masks: which are left.
        amount: how many go: of all together, or of each layer.
        scope: "global" or "layer".

    Raises:
        NNGraphsError: the scope is unknown; saliencies are missing, of other shapes or NaN; or more
            shall go than there are.
    """
    check_known(scope, get_args(Scope), asked=f"prune with the scope {scope!r}")
    check_saliencies(saliencies, masks)
    names = list(masks)
    parts = [names] if scope == "global" else [[name] for name in names]
    chosen: dict[str, Tensor] = {}
    for part in parts:
        chosen |= _chosen(part, saliencies, masks, amount)
    return chosen


def _chosen(
    names: Sequence[str],
    saliencies: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    amount: Amount,
) -> dict[str, Tensor]:
    left = torch.cat([masks[name].flatten().cpu() for name in names])
    values = torch.cat([saliencies[name].detach().flatten().cpu().double() for name in names])[left]
    ascending, order = values.sort(stable=True)
    places = left.nonzero()[:, 0][order[: amount.num_pruned(ascending, len(left))]]
    left[places] = False
    parts = left.split([masks[name].numel() for name in names])
    return {
        name: part.view(masks[name].shape).to(masks[name].device)
        for name, part in zip(names, parts, strict=True)
    }


def check_saliencies(saliencies: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Raises where saliencies do not fit the weights, or are NaN."""
    for name, mask in masks.items():
        own = saliencies.get(name) if isinstance(saliencies, Mapping) else None
        if not isinstance(own, Tensor) or own.shape != mask.shape:
            what = list(own.shape) if isinstance(own, Tensor) else type(own).__name__
            fault = f"those of {name} are {what} instead of {list(mask.shape)}"
        elif num_bad := int((own.isnan() & mask.to(own.device)).sum()):
            fault = f"{num_bad} of {name} are NaN"
        else:
            continue
        raise NNGraphsError(
            "prune by saliencies",
            found=f"{fault}.",
            do="A saliency gives a tensor of finite numbers for every weight, by name.",
        )
