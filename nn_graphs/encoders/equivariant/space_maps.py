"""Maps from every parameter tensor of a chain to every other, as published DWSNets have them.

Navon et al., ICML 2023, with the public code's deviations from linear maps: the source is reduced
(max, mean or sum) over neurons that the target does not share; along neurons that both share, items
of a set are mapped (`set_maps.py`), where `linear.py` has a matrix; all that reaches a tensor is
added up and divided by the number of tensors. Two kinds of maps to the last weight give the same to
all outputs of the network: from the weight before, and from biases that do not touch it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from nn_graphs.encoders.equivariant.set_maps import (
    Reduction,
    SetAttention,
    SetDifference,
    reduce_axes,
)
from nn_graphs.encoders.equivariant.spaces import ParameterSpaces, Space
from nn_graphs.encoders.mlp import make_mlp
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.symmetries import Segment
from nn_graphs.ranges import PositiveInt, in_ranges

MIN_WEIGHTS = 3  # with fewer, the first and the last weight touch


@in_ranges
@dataclass(frozen=True)
class MapSettings:
    """What all maps have in common.

    Attributes:
        reduction: over neurons that a target does not share.
        set_map: along neurons that both share.
        num_heads: of attention.
        num_layers: linear layers, with relu between, of all maps but attention.
        has_bias: of these layers.
        is_local: only maps between tensors that touch a common layer of neurons.
    """

    reduction: Reduction = "max"
    set_map: Literal["attention", "difference"] = "attention"
    num_heads: PositiveInt = 8
    num_layers: PositiveInt = 1
    has_bias: bool = True
    is_local: bool = False

    def mlp(self, in_dim: int, out_dim: int) -> nn.Sequential:
        return make_mlp([in_dim, *[out_dim] * self.num_layers], has_bias=self.has_bias)

    def set_layer(self, in_dim: int, out_dim: int) -> nn.Module:
        """A map of the items of a set."""
        if self.set_map == "attention":
            return SetAttention(in_dim, out_dim, num_heads=self.num_heads)
        return self.difference(in_dim, out_dim, self.reduction)

    def difference(
        self, in_dim: int, out_dim: int, reduction: Reduction | Literal["attn"]
    ) -> SetDifference:
        return SetDifference(
            in_dim,
            out_dim,
            reduction=reduction,
            num_layers=self.num_layers,
            has_bias=self.has_bias,
        )


@dataclass(frozen=True)
class ChainTensor:
    """A bias or weight of a chain: what moves it, and the layers of neurons that it touches."""

    space: Space
    layers: tuple[int, ...]


def chain_spaces(template: GraphTemplate) -> ParameterSpaces:
    """The spaces of a chain of layers, whose hidden neurons move even where a layer has only one.

    Raises:
        NNGraphsError: the architecture is no chain of three and more linear maps with biases.
    """
    groups, blocks = template.groups, template.blocks
    num_weights = len(blocks)
    is_chain = [(b.source, b.target) for b in blocks] == [(n, n + 1) for n in range(num_weights)]
    has_biases = all(group.bias is not None for group in groups[1:])
    is_plain = template.is_plain and all(block.is_dense for block in blocks)
    if not (is_chain and has_biases and is_plain and num_weights >= MIN_WEIGHTS):
        raise NNGraphsError(
            "read an architecture by a published DWSNet",
            found=f"{template.widths} is no chain of at least {MIN_WEIGHTS} linear maps, all with "
            "biases.",
            do="Use DWSNet, which takes any architecture.",
        )
    ends = (0, num_weights)
    return ParameterSpaces(
        template,
        [
            (Segment(None if layer in ends else layer, group.width),)
            for layer, group in enumerate(groups)
        ],
    )


def chain_tensors(spaces: ParameterSpaces) -> list[ChainTensor]:
    """All biases, then all weights, in the order of their spaces."""
    num_weights = len(spaces.spaces) // 2
    layers = [(n + 1,) for n in range(num_weights)] + [(n + 1, n) for n in range(num_weights)]
    return [ChainTensor(*pair) for pair in zip(spaces.spaces, layers, strict=True)]


class AcrossMap(nn.Module):
    """From one tensor to another, or to itself, that share the moved neurons of one layer or none.

    Args:
        source, target: their spaces.
        in_dim, out_dim: channels at each place.
        settings: see there.
        repeats_outputs: whether all that stays in place in the target gets the same.
    """

    def __init__(
        self,
        source: Space,
        target: Space,
        *,
        in_dim: int,
        out_dim: int,
        settings: MapSettings,
        repeats_outputs: bool = False,
    ):
        super().__init__()
        shared = set(source.axes) & set(target.axes)
        self.reduction = settings.reduction
        self.reduced = [n for n, axis in enumerate(source.axes, start=1) if axis not in shared]
        self.repeated = [n for n, axis in enumerate(target.axes, start=1) if axis not in shared]
        self.num_repeats = target.num_fixed if repeats_outputs else 1
        sizes = source.num_fixed * in_dim, target.num_fixed // self.num_repeats * out_dim
        self.map = settings.set_layer(*sizes) if shared else settings.mlp(*sizes)

    def forward(self, values: Tensor) -> Tensor:
        """`[B, *moved, channels]`, with length 1 along what the two do not share."""
        mapped = self.map(reduce_axes(values, self.reduced, self.reduction))
        for dim in self.repeated:
            mapped = mapped.unsqueeze(dim)
        return mapped.repeat(*[1] * (mapped.dim() - 1), self.num_repeats)


class WithinMap(nn.Module):
    """From a weight between hidden layers to itself: value by value, by row, by column, as a whole.

    The four are averaged.
    """

    def __init__(self, in_dim: int, out_dim: int, *, settings: MapSettings):
        super().__init__()
        self.reduction = settings.reduction
        self.each, self.by_target, self.by_source, self.everywhere = (
            settings.mlp(in_dim, out_dim) for _ in range(4)
        )

    def forward(self, values: Tensor) -> Tensor:
        by_target = self.by_target(reduce_axes(values, [2], self.reduction)).unsqueeze(2)
        by_source = self.by_source(reduce_axes(values, [1], self.reduction)).unsqueeze(1)
        everywhere = self.everywhere(reduce_axes(values, [1, 2], self.reduction))
        return (self.each(values) + by_target + by_source + everywhere[:, None, None]) / 4


class SpaceMaps(nn.Module):
    """From all tensors to all tensors: values `[B, *moved, num_fixed * dim]` in, the same out."""

    def __init__(
        self, tensors: Sequence[ChainTensor], *, in_dim: int, out_dim: int, settings: MapSettings
    ):
        super().__init__()
        self.sources: list[list[int]] = []
        self.maps = nn.ModuleDict()
        last = len(tensors) // 2
        for number, target in enumerate(tensors):
            self.sources.append([])
            for other, source in enumerate(tensors):
                if settings.is_local and not set(source.layers) & set(target.layers):
                    continue
                self.sources[-1].append(other)
                dims = {"in_dim": in_dim, "out_dim": out_dim, "settings": settings}
                if other == number and len(source.space.axes) == 2:
                    one = WithinMap(**dims)
                else:
                    repeats = _repeats_outputs(source, target, last=last)
                    one = AcrossMap(source.space, target.space, repeats_outputs=repeats, **dims)
                self.maps[f"{other}_{number}"] = one

    def forward(self, values: Sequence[Tensor]) -> list[Tensor]:
        return [
            sum(self.maps[f"{source}_{target}"](values[source]) for source in sources) / len(values)
            for target, sources in enumerate(self.sources)
        ]


def _repeats_outputs(source: ChainTensor, target: ChainTensor, *, last: int) -> bool:
    """Whether the public code maps one to the other without channels for every output."""
    if target.layers != (last, last - 1):
        return False
    is_far_bias = len(source.layers) == 1 and source.layers[0] < last - 1
    return is_far_bias or source.layers == (last - 1, last - 2)


class ChainLayer(nn.Module):
    """`SpaceMaps`, with what may stand around them: skips, and fewer inputs of the first weight.

    Args:
        tensors: of the chain.
        in_dim, out_dim: channels at each place.
        settings: of the maps.
        has_skips: whether each place's own channels, mapped, are added.
        num_sampled: so many mixtures stand for the inputs of the first weight, which come back
            behind the maps, with a skip; None: all inputs.
    """

    def __init__(
        self,
        tensors: Sequence[ChainTensor],
        *,
        in_dim: int,
        out_dim: int,
        settings: MapSettings,
        has_skips: bool = False,
        num_sampled: int | None = None,
    ):
        super().__init__()
        self.in_dim, self.out_dim, self.has_skips = in_dim, out_dim, has_skips
        self.first = len(tensors) // 2
        self.down = self.up = self.skip = None
        if has_skips or num_sampled:
            self.skip = settings.mlp(in_dim, out_dim)
        if num_sampled:
            num_inputs = tensors[self.first].space.num_fixed
            self.down = settings.difference(num_inputs, num_sampled, "attn")
            self.up = settings.difference(num_sampled, num_inputs, "attn")
            tensors = _with_inputs(tensors, num_sampled)
        self.maps = SpaceMaps(tensors, in_dim=in_dim, out_dim=out_dim, settings=settings)

    def forward(self, values: Sequence[Tensor]) -> list[Tensor]:
        inner = list(values)
        if self.down is not None:
            inner[self.first] = _mix_inputs(self.down, inner[self.first], dim=self.in_dim)
        new = self.maps(inner)
        if self.has_skips:
            new = add_skips(self.skip, new, inner, dim=self.in_dim)
        if self.up is not None:
            first = _mix_inputs(self.up, new[self.first], dim=self.out_dim)
            new[self.first : self.first + 1] = add_skips(
                self.skip, [first], values[self.first : self.first + 1], dim=self.in_dim
            )
        return new


def add_skips(
    skip: nn.Module, new: Sequence[Tensor], values: Sequence[Tensor], *, dim: int
) -> list[Tensor]:
    """New values, and what `skip` makes of the `dim` channels at the same place."""
    skipped = (skip(part.unflatten(-1, (-1, dim))).flatten(-2) for part in values)
    return [one + other for one, other in zip(new, skipped, strict=True)]


def _with_inputs(tensors: Sequence[ChainTensor], num_inputs: int) -> list[ChainTensor]:
    """The tensors of a network with another number of inputs."""
    number = len(tensors) // 2
    first = tensors[number]
    segments = (first.space.segments[0], Segment(None, num_inputs))
    return [
        *tensors[:number],
        replace(first, space=replace(first.space, segments=segments)),
        *tensors[number + 1 :],
    ]


def _mix_inputs(mix: nn.Module, values: Tensor, *, dim: int) -> Tensor:
    """Inputs of the first weight as channels of a set of neurons, `dim` times side by side."""
    by_channel = values.unflatten(-1, (-1, dim)).permute(0, 3, 1, 2)
    return mix(by_channel).permute(0, 2, 3, 1).flatten(2)
