"""Linear maps between the parameters of a network that commute with permutations of its neurons.

All such maps from one space to another are sums over the ways to identify axes that the same
permutation moves (Maron et al., ICLR 2019): average over what the output does not share, put the
result where the axes agree, repeat it along the others, and map channels by a matrix. An average
depends on the input alone and serves every output, so a layer takes the averages of every space
once, puts those with the same axes side by side, and applies one matrix per set of axes.

For a chain of layers with fixed inputs and outputs these are the maps of DWSNets (Navon et al.,
ICML 2023) and of NFN (HNP) (Zhou et al., NeurIPS 2023); with all neurons permutable, those of NFN
(NP). Differences: averages only, where the public code of DWSNets has maxima and attention (those
are in `space_maps.py`); no two terms are linearly dependent (both public codes have such terms;
here only if fewer neurons than the up to four axes of a pair of spaces share a permutation); and
the first values of a layer's matrices take into account how many terms reach an output, as in NFN.
"""

from collections.abc import Sequence
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.equivariant.spaces import Space

Axes = tuple[int, ...]


class EquivariantLinear(nn.Module):
    """All equivariant linear maps between the parameter spaces of an architecture, and a bias.

    Args:
        spaces: the spaces, of the input and of the output.
        in_dim, out_dim: channels at each place.
    """

    def __init__(self, spaces: Sequence[Space], *, in_dim: int, out_dim: int):
        super().__init__()
        self.spaces = tuple(spaces)
        self.in_counts = _counts(spaces, _reduced_axes)
        self.out_counts = _counts(spaces, _spread_axes)
        self.out_sizes = {
            axes: [space.num_fixed * out_dim for space, _ in _views(spaces, _spread_axes, axes)]
            for axes in self.out_counts
        }
        self.maps = nn.ModuleDict(
            {
                _name(axes): nn.Linear(
                    self.in_counts[axes] * in_dim, sum(self.out_sizes[axes]), bias=not axes
                )
                for axes in self.out_counts
            }
        )
        self._init_maps()

    @property
    def num_maps(self) -> int:
        """Dimension of the space of maps, with one channel and without the bias."""
        return sum(self.in_counts[axes] * self.out_counts[axes] for axes in self.out_counts)

    def forward(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Values of every space, `[B, *moved, num_fixed * in_dim]`, to the same with `out_dim`."""
        averages = reduce_spaces(self.spaces, values)
        spread = {}
        for axes, sizes in self.out_sizes.items():
            collected = join_channels(averages[axes])
            spread[axes] = list(self.maps[_name(axes)](collected).split(sizes, dim=-1))
        return [
            _spread([spread[axes].pop(0) for axes in _spread_axes(space.axes)], space.axes)
            for space in self.spaces
        ]

    @torch.no_grad()
    def _init_maps(self) -> None:
        """Uniform within 1 / sqrt(n), n being the number of channels that reach an output."""
        in_features = {
            axes: linear.in_features
            for axes, linear in zip(self.out_counts, self.maps.values(), strict=True)
        }
        for axes, sizes in self.out_sizes.items():
            views = _views(self.spaces, _spread_axes, axes)
            for parameter in self.maps[_name(axes)].parameters():
                for (space, _), rows in zip(views, parameter.split(sizes), strict=True):
                    fan_in = sum(in_features[view] for view in _spread_axes(space.axes))
                    rows.uniform_(-(fan_in**-0.5), fan_in**-0.5)


class InvariantPooling(nn.Module):
    """All that averages tell of a network: `[B, num_averages * dim]`.

    The invariant layer of DWSNets, and the pooling of NFN.
    """

    def __init__(self, spaces: Sequence[Space], *, dim: int):
        super().__init__()
        self.spaces = tuple(spaces)
        self.out_dim = _counts(spaces, _reduced_axes)[()] * dim

    def forward(self, values: Sequence[Tensor]) -> Float[Tensor, "B out_dim"]:
        return join_channels(reduce_spaces(self.spaces, values)[()])


def reduce_spaces(spaces: Sequence[Space], values: Sequence[Tensor]) -> dict[Axes, list[Tensor]]:
    """Averages of all spaces by the axes that they keep, `[B, *axes, num_fixed * dim]`."""
    averages: dict[Axes, list[Tensor]] = {}
    for space, part in zip(spaces, values, strict=True):
        for axes, average in zip(_reduced_axes(space.axes), _reduce(part, space.axes), strict=True):
            averages.setdefault(axes, []).append(average)
    return averages


def join_channels(parts: Sequence[Tensor]) -> Tensor:
    """Tensors side by side, without a copy of a single one."""
    return torch.cat(tuple(parts), dim=-1) if len(parts) > 1 else parts[0]


# What averages of a space there are, and where values can be put in one: the axes of each, and the
# averages and sums themselves, in the same order. Pairs of axes have the larger number first.


def _reduced_axes(axes: Axes) -> list[Axes]:
    views = _spread_axes(axes)
    return [*views, axes] if _is_square(axes) else views


def _reduce(values: Tensor, axes: Axes) -> list[Tensor]:
    if not axes:
        return [values]
    if len(axes) == 1:
        return [_mean(values, 1), values]
    by_target, by_source = _mean(values, 2), _mean(values, 1)
    whole = values if axes[0] >= axes[1] else values.transpose(1, 2)
    views = [_mean(by_target, 1), by_target, by_source, whole]
    if _is_square(axes):
        diagonal = values.diagonal(dim1=1, dim2=2).transpose(1, 2)
        views += [_mean(diagonal, 1), diagonal, values.transpose(1, 2)]
    return views


def _mean(values: Tensor, dim: int) -> Tensor:
    """The mean, whose own backward pass would write a tensor as large as `values`."""
    return values.sum(dim) * (1 / values.shape[dim])


def _spread_axes(axes: Axes) -> list[Axes]:
    if not axes:
        return [()]
    if len(axes) == 1:
        return [(), axes]
    target, source = axes
    views = [(), (target,), (source,), (max(axes), min(axes))]
    return [*views, (), (target,)] if _is_square(axes) else views


def _spread(views: Sequence[Tensor], axes: Axes) -> Tensor:
    """A new tensor, which may be changed in place."""
    if not axes:
        return views[0].clone()
    if len(axes) == 1:
        everywhere, along = views
        return along + everywhere.unsqueeze(1)
    everywhere, by_target, by_source, whole, *diagonal = views
    if axes[0] < axes[1]:
        whole = whole.transpose(1, 2)
    total = whole + by_source.unsqueeze(1)
    total.add_((by_target + everywhere.unsqueeze(1)).unsqueeze(2))
    if diagonal:
        on_diagonal = diagonal[1] + diagonal[0].unsqueeze(1)
        total.add_(torch.diag_embed(on_diagonal.transpose(1, 2), dim1=1, dim2=2))
    return total


def _is_square(axes: Axes) -> bool:
    """Whether one permutation moves targets and sources, as skips around a weight make it."""
    return len(axes) == 2 and axes[0] == axes[1]


def _views(spaces: Sequence[Space], axes_of, axes: Axes) -> list[tuple[Space, Axes]]:
    """The views of all spaces that keep certain axes, in the order in which they are met."""
    return [(space, view) for space in spaces for view in axes_of(space.axes) if view == axes]


def _counts(spaces: Sequence[Space], axes_of) -> dict[Axes, int]:
    """How many values there are of each set of axes, by the axes, () among them."""
    every = sorted({(), *chain.from_iterable(axes_of(space.axes) for space in spaces)})
    return {
        axes: sum(space.num_fixed for space, _ in _views(spaces, axes_of, axes)) for axes in every
    }


def _name(axes: Axes) -> str:
    return "_".join(["axes", *map(str, axes)])
