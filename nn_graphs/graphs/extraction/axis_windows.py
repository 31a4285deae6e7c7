"""Which places a window sees: of convolutions, pooling and resizing, by arithmetic.

A window is a set of pairs: an output place reads an input place at a position of the kernel. Places
and positions are counted over all axes together, as torch stores them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch.nn import functional as F

from nn_graphs.graphs.parts.steps import Convolution

AxisPairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # output, kernel and input places


@dataclass(frozen=True, eq=False)
class Window:
    """Pairs of places, ordered by output place.

    Attributes:
        outputs, positions, inputs: `[num_pairs]` each; positions of the kernel.
        num_positions: the size of the kernel.
        weights: `[num_pairs]`, what a pair multiplies by where that is no parameter.
    """

    outputs: np.ndarray
    positions: np.ndarray
    inputs: np.ndarray
    num_positions: int = 1
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.outputs)

    def repeated(self, count: int, *, num_outputs: int, num_inputs: int) -> "Window":
        """The same for several maps, one behind the other."""
        if count == 1:
            return self
        shift = np.arange(count, dtype=np.int32)[:, None]
        return Window(
            (self.outputs + shift * num_outputs).reshape(-1),
            np.tile(self.positions, count),
            (self.inputs + shift * num_inputs).reshape(-1),
            self.num_positions,
        )


def point_window() -> Window:
    """A place that reads itself, as in a linear map."""
    zero = np.zeros(1, dtype=np.int32)
    return Window(zero, zero, zero)


def convolution_window(
    convolution: Convolution,
    kernel: Sequence[int],
    in_sizes: Sequence[int],
    out_sizes: Sequence[int],
) -> Window:
    """The places that meet in a convolution; where the kernel stands over padding, none do."""
    axes = []
    for axis, size in enumerate(kernel):
        stride, dilation = convolution.stride[axis], convolution.dilation[axis]
        padding = _padding(convolution, size, axis)
        if convolution.is_transposed:
            source, position, target = slid(
                in_sizes[axis], size, stride, padding, dilation, out_sizes[axis]
            )
            order = np.argsort(target, kind="stable")
            axes.append((target[order], position[order], source[order]))
        else:
            axes.append(slid(out_sizes[axis], size, stride, padding, dilation, in_sizes[axis]))
    return joined_axes(axes, out_sizes, kernel, in_sizes)


def pooling_window(
    settings: dict, in_sizes: Sequence[int], out_sizes: Sequence[int], kernel: Sequence[int]
) -> Window:
    """The places of a pooling, by torch's settings; those that lie in the padding are left out."""
    count = len(in_sizes)
    stride = per_axis(settings.get("stride") or kernel, count)
    padding = per_axis(settings.get("padding", 0), count)
    dilation = per_axis(settings.get("dilation", 1), count)
    axes = [
        slid(out_sizes[n], kernel[n], stride[n], padding[n], dilation[n], in_sizes[n])
        for n in range(count)
    ]
    return joined_axes(axes, out_sizes, kernel, in_sizes)


def adaptive_window(in_sizes: Sequence[int], out_sizes: Sequence[int]) -> Window:
    """Output place `o` of `n` sees the inputs from `floor(o s / n)` to `ceil((o + 1) s / n)`."""
    axes = []
    for size, number in zip(in_sizes, out_sizes, strict=True):
        outputs = np.arange(number)
        first, last = outputs * size // number, -(-(outputs + 1) * size // number)
        pairs = [(o, i) for o in outputs for i in range(first[o], last[o])]
        target, source = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
        axes.append((target, np.zeros_like(target), source))
    return joined_axes(axes, out_sizes, (1,) * len(axes), in_sizes)


def linear_resizing_window(
    in_sizes: Sequence[int],
    out_sizes: Sequence[int],
    resize: Callable[[int, torch.Tensor], torch.Tensor],
) -> Window:
    """The places that a resizing mixes, with their shares.

    Args:
        in_sizes, out_sizes: of every axis.
        resize: `(axis, [n, 1, size]) -> [n, 1, new size]`, along one axis.
    """
    axes, shares = [], []
    for axis, size in enumerate(in_sizes):
        matrix = resize(axis, torch.eye(size, dtype=torch.float64).unsqueeze(1)).squeeze(1).numpy()
        target, source = np.nonzero(matrix.T)
        shares.append(matrix.T[target, source])
        axes.append(tuple(a.astype(np.int32) for a in (target, np.zeros_like(target), source)))
    window = joined_axes(axes, out_sizes, (1,) * len(axes), in_sizes, sort=False)
    weights = reduce(np.multiply.outer, shares).reshape(-1)
    return Window(window.outputs, window.positions, window.inputs, 1, weights)


def slid(
    num_outputs: int, kernel: int, stride: int, padding: int, dilation: int, num_inputs: int
) -> AxisPairs:
    """A kernel moved along one axis: what it meets, ordered by output and position."""
    outputs, positions = np.arange(num_outputs)[:, None], np.arange(kernel)
    inputs = outputs * stride - padding + positions * dilation
    outputs, positions = np.nonzero((inputs >= 0) & (inputs < num_inputs))
    found = outputs, positions, inputs[outputs, positions]
    return tuple(each.astype(np.int32) for each in found)


def joined_axes(
    axes: Sequence[AxisPairs],
    out_sizes: Sequence[int],
    kernel: Sequence[int],
    in_sizes: Sequence[int],
    *,
    sort: bool = True,
) -> Window:
    """Every pair of one axis with every pair of the others."""
    found = []
    for part, sizes in enumerate((out_sizes, kernel, in_sizes)):
        total = np.zeros(1, dtype=np.int32)
        for pairs, size in zip(axes, sizes, strict=True):
            total = np.add.outer(total * np.int32(size), pairs[part]).reshape(-1)
        found.append(total)
    if sort:
        order = np.argsort(found[0], kind="stable")
        found = [each[order] for each in found]
    outputs, positions, inputs = found
    return Window(outputs, positions, inputs, math.prod(kernel))


def per_axis(setting: int | Sequence[int], count: int) -> tuple[int, ...]:
    """A number, or a list of one, for every axis."""
    values = (setting,) if isinstance(setting, int) else tuple(setting)
    return values * count if len(values) == 1 else values


def _padding(convolution: Convolution, kernel: int, axis: int) -> int:
    if convolution.padding == "valid":
        return 0
    if convolution.padding == "same":
        return convolution.dilation[axis] * (kernel - 1) // 2
    return convolution.padding[axis]


def convolved_sizes(
    convolution: Convolution, kernel: Sequence[int], in_sizes: Sequence[int]
) -> tuple[int, ...]:
    """The sizes of what a convolution puts out."""
    function = f"conv{'_transpose' if convolution.is_transposed else ''}{len(in_sizes)}d"
    settings = {"output_padding": convolution.output_padding} if convolution.is_transposed else {}
    found = getattr(F, function)(
        torch.empty(1, 1, *in_sizes, device="meta"),
        torch.empty(1, 1, *kernel, device="meta"),
        stride=convolution.stride,
        padding=convolution.padding,
        dilation=convolution.dilation,
        **settings,
    )
    return tuple(found.shape[2:])
