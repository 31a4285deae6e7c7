"""Kernels of different sizes in one tensor, each in the middle of the largest, and back."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock


def centred_kernels(
    values: Float[Tensor, "*B num_values 1"],
    blocks: Sequence[EdgeBlock],
    kernel_size: tuple[int, ...],
) -> Float[Tensor, "*B num_edges size"]:
    """All kernels in the middle of larger ones, with zeros around them.

    Where all have this size, they are no copies.
    """
    if all(block.kernel == kernel_size for block in blocks):
        return values.squeeze(-1).unflatten(-1, (-1, math.prod(kernel_size)))
    parts = []
    for block in blocks:
        values_of_block = values[..., block.first_value : block.last_value, 0]
        kernels = values_of_block.unflatten(-1, (block.num_edges, block.kernel_size))
        parts.append(padded_kernels(kernels, block.kernel, kernel_size))
    return torch.cat(parts, dim=-2)


def cropped_kernels(
    features: Float[Tensor, "*B num_edges size"],
    blocks: Sequence[EdgeBlock],
    kernel_size: tuple[int, ...],
) -> Float[Tensor, "*B num_values 1"]:
    """The middles of all kernels; the inverse of `centred_kernels`."""
    parts = []
    for block in blocks:
        kernel, margins = _margins(block.kernel, kernel_size)
        part = features[..., block.start : block.stop, :].unflatten(-1, kernel_size)
        for axis, (size, (before, _)) in enumerate(zip(kernel, margins, strict=True)):
            part = part.narrow(axis - len(kernel_size), before, size)
        parts.append(part.flatten(-1 - len(kernel_size)))
    return torch.cat(parts, dim=-1).unsqueeze(-1)


def padded_kernels(
    values: Float[Tensor, "*B own_size"], kernel: tuple[int, ...], kernel_size: tuple[int, ...]
) -> Float[Tensor, "*B size"]:
    """Kernels of one size in the middle of larger ones."""
    kernel, margins = _margins(kernel, kernel_size)
    if kernel == kernel_size:
        return values
    padding = [width for margin in reversed(margins) for width in margin]
    return F.pad(values.unflatten(-1, kernel), padding).flatten(-len(kernel))


def edge_of_value(blocks: Sequence[EdgeBlock]) -> Int[Tensor, "num_values"]:
    """Which edge each value of the edges' kernels belongs to."""
    sizes = torch.tensor([block.kernel_size for block in blocks])
    counts = torch.tensor([block.num_edges for block in blocks])
    return torch.arange(int(counts.sum())).repeat_interleave(sizes.repeat_interleave(counts))


def is_inside(kernel: tuple[int, ...], kernel_size: tuple[int, ...]) -> Bool[Tensor, "size"]:
    """Which places of the larger kernel are those of the one in its middle."""
    return padded_kernels(torch.ones(math.prod(kernel)), kernel, kernel_size) > 0


def common_kernel_size(kernels: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The smallest size that all kernels fit in; those of fewer axes lie on the last of them."""
    num_axes = max(map(len, kernels), default=0)
    padded = [(1,) * (num_axes - len(kernel)) + kernel for kernel in kernels]
    return tuple(map(max, zip(*padded, strict=True)))


def check_fits(largest: tuple[int, ...], kernel_size: tuple[int, ...]) -> None:
    """Raises where kernels of a size do not fit in another."""
    pairs = zip(largest[::-1], kernel_size[::-1])  # noqa: B905
    if len(kernel_size) < len(largest) or any(have > size for have, size in pairs):
        raise NNGraphsError(
            f"centre kernels in {list(kernel_size)}",
            found=f"the largest are {list(largest)}.",
            do="Choose at least the largest kernel of all templates of a batch.",
        )


def _margins(
    kernel: tuple[int, ...], kernel_size: tuple[int, ...]
) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """A kernel with as many axes as `kernel_size`, and the zeros on both sides of each."""
    kernel = (1,) * (len(kernel_size) - len(kernel)) + kernel
    spare = [size - own for size, own in zip(kernel_size, kernel, strict=True)]
    return kernel, [(width // 2, width - width // 2) for width in spare]
