"""How a group of neurons puts together what reaches it: a sum, mostly, else one of these rules.

A rule gets arguments, the sums of what arrives for each of them, and the gains and running
statistics that stand on the edges into the group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nn_graphs.graphs.parts.edge_blocks import EdgeKind
from nn_graphs.networks.parameters import ParameterSlot

Statistics = Mapping[EdgeKind, Tensor]


@dataclass(frozen=True)
class Sum:
    """The sum of all that arrives."""

    is_linear = is_runnable = True

    def __call__(self, arguments: Sequence[Tensor], statistics: Statistics, axis: int) -> Tensor:
        return arguments[0]


@dataclass(frozen=True)
class Directions:
    """The sum of all that arrives along weights that are divided by their length.

    Attributes:
        axis: of the weight, on which each has a length of its own: 0, each neuron's weights; 2 and
            more, the weights at each place of a kernel, whose lengths are in no graph.
    """

    axis: int = 0

    is_linear = False

    @property
    def is_runnable(self) -> bool:
        return self.axis == 0

    def __call__(self, arguments: Sequence[Tensor], statistics: Statistics, axis: int) -> Tensor:
        return arguments[0]


@dataclass(frozen=True)
class Product:
    """A gate: the product of two values, neuron by neuron."""

    is_linear = False
    is_runnable = True

    def __call__(self, arguments: Sequence[Tensor], statistics: Statistics, axis: int) -> Tensor:
        return arguments[0] * arguments[1]


@dataclass(frozen=True)
class Normalization:
    """`gain * (h - mean) / sqrt(variance + eps)`, the bias is the neurons' own.

    The statistics are those of a neuron over all points and places where there are no running ones
    ("batch"), over its places ("instance"), over all neurons ("layer", "rms" without the mean), of
    each of `num_groups` blocks apart (heads), or over places and the neurons of one of `num_groups`
    blocks ("group"). A softmax over all neurons, or its logarithm, is one of these rules too.
    """

    kind: Literal["batch", "layer", "group", "instance", "rms", "softmax", "log_softmax"]
    eps: float
    num_groups: int = 1

    is_linear = False
    is_runnable = True

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
        if self.kind in ("softmax", "log_softmax"):
            return getattr(torch, self.kind)(values, axis)
        if self.kind == "group":
            return F.group_norm(values, self.num_groups, eps=self.eps)
        if self.kind in ("layer", "rms") and self.num_groups > 1:
            heads = values.unflatten(axis, (self.num_groups, -1))
            return replace(self, num_groups=1)._normalized(heads, axis).flatten(axis - 1, axis)
        axes = list(range(-values.ndim, 0))
        if self.kind in ("layer", "rms"):
            axes = [axis]
        else:
            axes.remove(axis)
            axes = axes if self.kind == "batch" else axes[1:]
        centred = values if self.kind == "rms" else values - values.mean(axes, keepdim=True)
        return centred * (centred.square().mean(axes, keepdim=True) + self.eps).rsqrt()


@dataclass(frozen=True)
class OneHot:
    """Constant neurons, one for each row of a table: 1 at the places that look the row up, else 0.

    `rows` are the numbers of the rows in the order of the places, whose axes have the sizes
    `shape`; the neurons lie on a last axis behind them.
    """

    rows: tuple[int, ...]
    shape: tuple[int, ...]
    num_rows: int

    is_linear = False
    is_runnable = True

    def __call__(self, arguments: Sequence[Tensor], statistics: Statistics, axis: int) -> Tensor:
        values = F.one_hot(torch.tensor(self.rows), self.num_rows)
        return values.reshape(*self.shape, self.num_rows)


@dataclass(frozen=True)
class Choice:
    """Argument 1 where argument 0 is 1, argument 2 where it is 0."""

    is_linear = False
    is_runnable = True

    def __call__(self, arguments: Sequence[Tensor], statistics: Statistics, axis: int) -> Tensor:
        condition, value, other = arguments
        return torch.where(condition > 0.5, value, other)


@dataclass(frozen=True)
class Match:
    """Scores: the sum over channels of argument 0 times argument 1, for each pair of places.

    One neuron for each head; it reads as many channels of both, in the same order.
    """

    is_linear = is_runnable = False


@dataclass(frozen=True)
class HeadTotal:
    """The sum of the channels of each of several heads, which are neighbours: one neuron a head."""

    is_linear = is_runnable = False


@dataclass(frozen=True)
class Pairing:
    """Argument 0 times argument 1, summed over places where it is a product of matrices.

    One neuron for each pair of channels, as a head's weights and a channel of its values.
    """

    is_linear = is_runnable = False


@dataclass(frozen=True)
class Shared:
    """Argument 0 times, or plus, argument 1, each of whose neurons several heads meet.

    A parameter of one number a channel of a head: the gain of a norm that goes over each head.
    """

    is_product: bool

    is_linear = is_runnable = False


@dataclass(frozen=True)
class Modulation:
    """Constants that differ from channel to channel (a rotary embedding), added or multiplied.

    Attributes:
        pattern: for every neuron a number, the same where the constants are the same.
    """

    pattern: tuple[int, ...]

    is_linear = is_runnable = False


@dataclass(frozen=True)
class Memory:
    """The values of recurrent neurons one step before."""

    is_linear = is_runnable = False


@dataclass(frozen=True)
class Opaque:
    """What an operation that `trace` does not know makes of all that reaches it.

    Attributes:
        operation: its name, as `aten.argsort.default`.
        place: where it stands: the submodule, and a name of its own.
        parameters: those that it reads itself, which no edge shows.
    """

    operation: str
    place: str
    parameters: tuple[ParameterSlot, ...] = ()

    is_linear = is_runnable = False

    @property
    def num_params(self) -> int:
        return sum(slot.size for slot in self.parameters)


Rule = (
    Sum
    | Directions
    | Product
    | Choice
    | Normalization
    | OneHot
    | Match
    | HeadTotal
    | Pairing
    | Shared
    | Modulation
    | Memory
    | Opaque
)


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
