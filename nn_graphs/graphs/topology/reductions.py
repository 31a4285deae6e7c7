"""Reductions of the messages that reach one group of neurons in several parts.

A part is `[B, targets, sources, dim]`, its senders on one of the axes 1 and 2, or
`[B, length, dim]` where receiver i has the one sender i (axis None). Parts are never put into one
tensor.
"""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

Axes = Sequence[int | None]


def group_sum(parts: Sequence[Tensor], axes: Axes, width: int) -> Float[Tensor, "B width dim"]:
    """The sum of all messages."""
    return reduce(torch.add, _reduced(torch.sum, parts, axes, width, neutral=0.0))


def group_max(parts: Sequence[Tensor], axes: Axes, width: int) -> Float[Tensor, "B width dim"]:
    """The largest message; tied ones share the gradient evenly."""
    return _Extreme.apply(True, axes, width, *parts)


def group_min(parts: Sequence[Tensor], axes: Axes, width: int) -> Float[Tensor, "B width dim"]:
    """The smallest message; tied ones share the gradient evenly."""
    return _Extreme.apply(False, axes, width, *parts)


def _largest(parts: Sequence[Tensor], axes: Axes, width: int) -> Tensor:
    return reduce(torch.maximum, _reduced(torch.amax, parts, axes, width, neutral=float("-inf")))


def _smallest(parts: Sequence[Tensor], axes: Axes, width: int) -> Tensor:
    return reduce(torch.minimum, _reduced(torch.amin, parts, axes, width, neutral=float("inf")))


def _reduced(
    within: Callable, parts: Sequence[Tensor], axes: Axes, width: int, *, neutral: float
) -> list[Tensor]:
    """Each part reduced to its receivers, with `neutral` for the group's other neurons."""
    rows = [
        part if axis is None else within(part, dim=axis)
        for part, axis in zip(parts, axes, strict=True)
    ]
    return [
        row if row.shape[1] == width else pad(row, (0, 0, 0, width - row.shape[1]), value=neutral)
        for row in rows
    ]


def _spread(nodes: Tensor, part: Tensor, axis: int | None) -> Tensor:
    """Values of a group's neurons, as they broadcast against a part that reaches them."""
    if axis is None:
        return nodes[:, : part.shape[1]]
    return nodes[:, : part.shape[3 - axis]].unsqueeze(axis)


def _wins(extreme: Tensor, parts: Sequence[Tensor], axes: Axes) -> list[Tensor]:
    """1 where a message is the extreme one, 0 elsewhere."""
    return [
        (part == _spread(extreme, part, axis)).to(part.dtype)
        for part, axis in zip(parts, axes, strict=True)
    ]


class _Extreme(torch.autograd.Function):
    """Called with whether the largest is sought, the parts' axes, the group's width, the parts."""

    @staticmethod
    def forward(ctx, is_largest, axes, width, *parts):
        extreme = (_largest if is_largest else _smallest)(parts, axes, width)
        ctx.axes = axes
        ctx.save_for_backward(extreme, *parts)
        return extreme

    @staticmethod
    def backward(ctx, gradient):
        extreme, *parts = ctx.saved_tensors
        wins = _wins(extreme, parts, ctx.axes)
        share = gradient / group_sum(wins, ctx.axes, gradient.shape[1])
        gradients = [
            win * _spread(share, part, axis)
            for win, part, axis in zip(wins, parts, ctx.axes, strict=True)
        ]
        return None, None, None, *gradients


class GroupStatistics(torch.autograd.Function):
    """Mean, smallest, largest and `sqrt(variance + eps)` of messages, in few passes over them.

    Called with the number of messages of each neuron `[width, 1]`, eps, the parts' axes, the parts.
    """

    @staticmethod
    def forward(ctx, degree, eps, axes, *parts):
        width = len(degree)
        mean = group_sum(parts, axes, width) / degree
        smallest, largest = _smallest(parts, axes, width), _largest(parts, axes, width)
        squares = [
            (part - _spread(mean, part, axis)).square_()
            for part, axis in zip(parts, axes, strict=True)
        ]
        std = (group_sum(squares, axes, width) / degree + eps).sqrt()
        ctx.axes = axes
        ctx.save_for_backward(degree, mean, smallest, largest, std, *parts)
        return mean, smallest, largest, std

    @staticmethod
    def backward(ctx, by_mean, by_smallest, by_largest, by_std):
        degree, mean, smallest, largest, std, *parts = ctx.saved_tensors
        slope = by_std / (degree * std)  # of the square root of the variance, times message - mean
        constant = by_mean / degree - slope * mean
        gradients = [
            torch.addcmul(_spread(constant, part, axis), part, _spread(slope, part, axis))
            for part, axis in zip(parts, ctx.axes, strict=True)
        ]
        for extreme, gradient in ((smallest, by_smallest), (largest, by_largest)):
            wins = _wins(extreme, parts, ctx.axes)
            share = gradient / group_sum(wins, ctx.axes, len(degree))
            for total, win, axis in zip(gradients, wins, ctx.axes, strict=True):
                total.addcmul_(win, _spread(share, total, axis))
        return None, None, None, *gradients
