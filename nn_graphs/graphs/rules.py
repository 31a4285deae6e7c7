"""How a group of neurons puts together what reaches it: a sum, mostly, else one of these rules.

A rule gets arguments, the sums of what arrives for each of them, and the gains and running
statistics that stand on the edges into the group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import torch.nn.functional as F
from torch import Tensor


class EdgeKind(Enum):
    """What the value of an edge is; the value is its `edge_kind_id`."""

    WEIGHT = 0
    CONSTANT = 1
    GAIN = 2
    MEAN = 3
    VARIANCE = 4

    @property
    def is_carrier(self) -> bool:
        """Whether values go along the edge as a product with its own."""
        return self in (EdgeKind.WEIGHT, EdgeKind.CONSTANT)


Statistics = Mapping[EdgeKind, Tensor]


@dataclass(frozen=True)
class Sum:
    """The sum of all that arrives."""

    is_linear = True

    def __call__(self, arguments: Sequence[Tensor], statistics: Statistics, axis: int) -> Tensor:
        return arguments[0]


@dataclass(frozen=True)
class Product:
    """A gate: the product of two values, neuron by neuron."""

    is_linear = False

    def __call__(self, arguments: Sequence[Tensor], statistics: Statistics, axis: int) -> Tensor:
        return arguments[0] * arguments[1]


@dataclass(frozen=True)
class Normalization:
    """`gain * (h - mean) / sqrt(variance + eps)`, the bias is the neurons' own.

    The statistics are those of a neuron over all points and places where there are no running ones
    ("batch"), over its places ("instance"), over all neurons ("layer", "rms" without the mean), or
    over places and the neurons of one of `num_groups` blocks ("group").
    """

    kind: Literal["batch", "layer", "group", "instance", "rms"]
    eps: float
    num_groups: int = 1

    is_linear = False

    def __call__(self, arguments: Sequence[Tensor], statistics: Statistics, axis: int) -> Tensor:
        values = arguments[0]
        mean, variance = statistics.get(EdgeKind.MEAN), statistics.get(EdgeKind.VARIANCE)
        if mean is not None:
            mean, variance = (along(axis, vector) for vector in (mean, variance))
            values = (values - mean) * (variance + self.eps).rsqrt()
        else:
            values = self._normalized(values, axis)
        gain = statistics.get(EdgeKind.GAIN)
        return values if gain is None else values * along(axis, gain)

    def _normalized(self, values: Tensor, axis: int) -> Tensor:
        if self.kind == "group":
            return F.group_norm(values, self.num_groups, eps=self.eps)
        axes = list(range(-values.ndim, 0))
        if self.kind in ("layer", "rms"):
            axes = [axis]
        else:
            axes.remove(axis)
            axes = axes if self.kind == "batch" else axes[1:]
        centred = values if self.kind == "rms" else values - values.mean(axes, keepdim=True)
        return centred * (centred.square().mean(axes, keepdim=True) + self.eps).rsqrt()


Rule = Sum | Product | Normalization


def along(axis: int, vector: Tensor) -> Tensor:
    """`[width]` in a shape that broadcasts against values with channels on a (negative) axis."""
    return vector.reshape(-1, *(1,) * (-1 - axis)) if axis < -1 else vector


def placed(values: Tensor, axis: int, *, first: int, width: int) -> Tensor:
    """Values as the channels from `first` on of `width`, with zeros for the others."""
    length = values.shape[axis]
    if length == width:
        return values
    padding = [0, 0] * (-1 - axis) + [first, width - first - length]
    return F.pad(values, padding)
