"""What happens to values on their way from a group of neurons to those that read it.

A step acts on every neuron alone: it pools, resizes or reorders the places that a neuron has a
value at, and has no parameters. Convolutions say how a kernel moves over those places.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """An ATen operation without parameters that acts on every channel alone.

    Attributes:
        operation: name of the operation, as `aten.max_pool2d.default`.
        arguments: all but the first, which is the value.
        is_homogeneous: f(s x) = s f(x) for s > 0.
        is_odd: f(-x) = -f(x).
    """

    operation: str
    arguments: tuple = ()
    keywords: Mapping = field(default_factory=dict, hash=False)
    is_homogeneous: bool = True
    is_odd: bool = True

    def __call__(self, values: Tensor) -> Tensor:
        _, name, overload = self.operation.split(".")
        function = getattr(getattr(torch.ops.aten, name), overload)
        result = function(values, *self.arguments, **self.keywords)
        return result if isinstance(result, Tensor) else result[0]


@dataclass(frozen=True)
class Reshape:
    """Another arrangement of the axes without channels; -1 stands for the number of points.

    `shape[axis]` is read from the values: there are fewer channels where some alone are read.
    `repeat` places of a channel become channels of their own, neighbours of each other.
    """

    shape: tuple[int, ...]
    from_axis: int
    axis: int
    repeat: int = 1

    is_homogeneous = is_odd = True

    def __call__(self, values: Tensor) -> Tensor:
        shape = list(self.shape)
        shape[self.axis] = values.shape[self.from_axis] * self.repeat
        return values.reshape(shape)


@dataclass(frozen=True)
class Unfollowed:
    """A change of places that the graph tells of by name alone, so that it cannot be run.

    Moves of axes between heads, batch and tokens; constants that are the same for all channels,
    as the mask of attention (then `is_linear` is false).
    """

    operation: str
    is_linear: bool = True

    @property
    def is_homogeneous(self) -> bool:
        return self.is_linear

    @property
    def is_odd(self) -> bool:
        return self.is_linear


AnyStep = Step | Reshape | Unfollowed


@dataclass(frozen=True)
class Convolution:
    """How a kernel moves: strides, padding and dilation of every axis; groups of channels."""

    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    num_groups: int = 1
    is_transposed: bool = False
    output_padding: tuple[int, ...] = ()

    @property
    def num_axes(self) -> int:
        return len(self.stride)

    def __call__(self, values: Tensor, kernel: Tensor) -> Tensor:
        kind = f"conv{'_transpose' if self.is_transposed else ''}{self.num_axes}d"
        function = getattr(torch.nn.functional, kind)
        settings = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        if self.is_transposed:
            settings["output_padding"] = self.output_padding
        return function(values, kernel, groups=self.num_groups, **settings)
