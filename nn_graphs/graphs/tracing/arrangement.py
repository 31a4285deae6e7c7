"""Where the channels of a value lie when no single axis holds them: heads, parts, joins.

A value is then arranged: a tensor of the value's shape says for each element which channel it is.
Operations that only move elements move that tensor; products and sums read off it which channels
meet. The same is done with parameters: each element knows which one of the parameter it is.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nn_graphs.networks.parameters import ParameterSlot


@dataclass(frozen=True)
class Arranged:
    """The value `number`, element by element the channel `channels`, an integer tensor.

    `is_as_run`: the value has one channel, and when the graph runs it has the shape of `channels`.
    """

    number: int
    channels: Tensor
    is_as_run: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.channels.shape)

    def with_channels(self, channels: Tensor) -> "Arranged":
        return Arranged(self.number, channels)

    def with_number(self, number: int) -> "Arranged":
        """What has been made of it, element by element."""
        return replace(self, number=number)

    @property
    def ids(self) -> Tensor:
        return self.channels


@dataclass(frozen=True)
class ArrangedParameter:
    """A parameter, element by element the one that it is.

    `order` is an integer tensor, None where the parameter is as it is stored.
    """

    slot: ParameterSlot
    order: Tensor | None = None

    @property
    def elements(self) -> Tensor:
        if self.order is not None:
            return self.order
        return torch.arange(self.slot.size).view(self.slot.shape)

    @property
    def num_axes(self) -> int:
        return len(self.slot.shape) if self.order is None else self.order.ndim

    def with_channels(self, elements: Tensor) -> "ArrangedParameter":
        return ArrangedParameter(self.slot, elements)

    @property
    def ids(self) -> Tensor:
        return self.elements

    def matrix(self) -> tuple[ParameterSlot, bool] | None:
        """The parameter, or neighbouring rows of it, and whether it is transposed."""
        if self.order is None:
            return self.slot, False
        ways = [(self.order, False)]
        if self.order.ndim == 2:
            ways.append((self.order.T, True))
        for elements, is_transposed in ways:
            first = int(elements.min())
            order = torch.arange(elements.numel()).view(elements.shape)
            if torch.equal(elements - first, order):
                return self.slot.part(first, tuple(elements.shape)), is_transposed
        return None


def along_axis(width: int, axis: int, shape: tuple[int, ...]) -> Tensor:
    """The channels of a value that has them all on one (negative) axis."""
    order = torch.arange(width).view(width, *(1,) * (-1 - axis))
    return order.expand(shape)


def varying_axes(ids: Tensor) -> list[int]:
    """The axes along which elements differ; the others are looked at once."""
    axes = []
    for axis in range(ids.ndim if ids.numel() else 0):
        first, last = ids.narrow(axis, 0, 1), ids.narrow(axis, ids.shape[axis] - 1, 1)
        is_same = ids.stride(axis) == 0 or (torch.equal(first, last) and bool((ids == first).all()))
        if is_same:
            ids = first
        else:
            axes.append(axis)
    return axes


def reduced(ids: Tensor, axes: list[int]) -> Tensor:
    """The first element along all other axes, which keep the size 1."""
    for axis in range(ids.ndim):
        if axis not in axes:
            ids = ids.narrow(axis, 0, 1)
    return ids


def neighbours_on_axis(ids: Tensor) -> tuple[int, int, int] | None:
    """Axis (from behind), first and number of neighbouring channels that lie on one axis."""
    axes = varying_axes(ids)
    if len(axes) > 1 or not ids.numel():
        return None
    if not axes:
        return (-1, int(ids.flatten()[0]), 1) if ids.ndim and ids.shape[-1] == 1 else None
    own = reduced(ids, axes).flatten()
    first, width = int(own[0]), len(own)
    is_row = torch.equal(own, torch.arange(first, first + width))
    return (axes[0] - ids.ndim, first, width) if is_row else None


def distinct(*ids: Tensor) -> tuple[list[list[int]], Tensor]:
    """The different tuples of elements, in order of appearance, and which each element is.

    All tensors are of one shape; the second result has it too.
    """
    axes = sorted({axis for own in ids for axis in varying_axes(own)})
    small = [reduced(own, axes) for own in ids]
    rows = torch.stack([own.flatten() for own in small], dim=1)
    found, which = ordered_unique(rows)
    return found.tolist(), which.view(small[0].shape).expand(ids[0].shape)


def ordered_unique(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Different rows in order of their first appearance, and which of them each row is."""
    found, which = torch.unique(rows, dim=0, return_inverse=True)
    first = torch.full((len(found),), len(rows))
    first = first.scatter_reduce(0, which, torch.arange(len(rows)), "amin")
    order = first.argsort()
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    return found[order], rank[which]
