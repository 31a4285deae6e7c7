"""Kernels of different sizes in one tensor, each in the middle of the largest, and back."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nn_graphs.graphs.groups import EdgeBlock


def centred_kernels(
    values: Float[Tensor, "*B num_values 1"],
    blocks: Sequence[EdgeBlock],
    kernel_size: tuple[int, ...],
) -> Float[Tensor, "*B num_edges size"]:
    """All kernels in the middle of larger ones, with zeros around them."""
    parts = []
    for block in blocks:
        kernel, margins = _margins(block, kernel_size)
        part = values[..., block.first_value : block.last_value, 0]
        part = part.unflatten(-1, (block.num_edges, *kernel))
        padding = [width for margin in reversed(margins) for width in margin]
        parts.append(F.pad(part, padding).flatten(-len(kernel_size)))
    return torch.cat(parts, dim=-2)


def cropped_kernels(
    features: Float[Tensor, "*B num_edges size"],
    blocks: Sequence[EdgeBlock],
    kernel_size: tuple[int, ...],
) -> Float[Tensor, "*B num_values 1"]:
    """The middles of all kernels; the inverse of `centred_kernels`."""
    parts = []
    for block in blocks:
        kernel, margins = _margins(block, kernel_size)
        part = features[..., block.start : block.stop, :].unflatten(-1, kernel_size)
        for axis, (size, (before, _)) in enumerate(zip(kernel, margins, strict=True)):
            part = part.narrow(axis - len(kernel_size), before, size)
        parts.append(part.flatten(-1 - len(kernel_size)))
    return torch.cat(parts, dim=-1).unsqueeze(-1)


def _margins(
    block: EdgeBlock, kernel_size: tuple[int, ...]
) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """A block's kernel with as many axes as `kernel_size`, and the zeros on both sides of each."""
    kernel = (1,) * (len(kernel_size) - len(block.kernel)) + block.kernel
    spare = [size - own for size, own in zip(kernel_size, kernel, strict=True)]
    return kernel, [(width // 2, width - width // 2) for width in spare]
