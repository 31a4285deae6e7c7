"""How much is pruned: a share, a count, a density, a bucket of saliency, or all under a threshold.

An amount says how many weights go, given the saliencies of those that are left, in ascending order.
Numbers that are no whole ones are rounded, halves up.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError


@dataclass(frozen=True)
class Share:
    """A share of the weights that are left, from 0 to 1."""

    share: float

    def __post_init__(self):
        _check_share("prune a share of the weights", self.share)

    def num_pruned(self, ascending: Float[Tensor, "num_left"], num_all: int) -> int:
        return rounded(self.share * len(ascending))


@dataclass(frozen=True)
class Count:
    """A number of weights."""

    count: int

    def num_pruned(self, ascending: Float[Tensor, "num_left"], num_all: int) -> int:
        if not 0 <= self.count <= len(ascending) or not isinstance(self.count, int):
            raise NNGraphsError(
                f"prune {self.count} weights",
                found=f"{len(ascending)} of {num_all} are left.",
                do="Give a whole number up to that one.",
            )
        return self.count


@dataclass(frozen=True)
class Density:
    """As many as leave this share of all weights, from 0 to 1."""

    density: float

    def __post_init__(self):
        _check_share("prune to a density", self.density)

    def num_pruned(self, ascending: Float[Tensor, "num_left"], num_all: int) -> int:
        kept = rounded(self.density * num_all)
        if kept > len(ascending):
            raise NNGraphsError(
                f"prune to a density of {self.density:g}, {kept} of {num_all} weights",
                found=f"only {len(ascending)} are left.",
                do="Give a smaller density.",
            )
        return len(ascending) - kept


@dataclass(frozen=True)
class Bucket:
    """As many of the least salient ones as have no more than this saliency together."""

    saliency: float

    def num_pruned(self, ascending: Float[Tensor, "num_left"], num_all: int) -> int:
        if len(ascending) and ascending[0] < 0:
            raise NNGraphsError(
                f"fill a bucket of {self.saliency:g} with saliencies",
                found=f"some are negative, as {ascending[0]:g}.",
                do="Use a share, a count or a threshold for saliencies with signs.",
            )
        return int((ascending.cumsum(0) <= self.saliency).sum())


@dataclass(frozen=True)
class Threshold:
    """All whose saliency is smaller; that may be all."""

    saliency: float

    def num_pruned(self, ascending: Float[Tensor, "num_left"], num_all: int) -> int:
        bound = torch.tensor(self.saliency, dtype=ascending.dtype, device=ascending.device)
        return int(torch.searchsorted(ascending, bound, side="left"))


Amount = Share | Count | Density | Bucket | Threshold


def rounded(number: float) -> int:
    """The nearest whole number, the larger one of two."""
    return math.floor(number + 0.5)


def _check_share(asked: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise NNGraphsError(asked, found=f"it is {share}.", do="Give a number from 0 to 1.")
