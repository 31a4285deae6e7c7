"""The architectures of "Graph Structure of Neural Networks" (You et al., ICML 2020).

An `Architecture` has everything but the widths of its stages and the graph: with those, it is a
`NetworkShape`. Stem and head are dense and keep their width; stages hold the masked layers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.relational.blocks import BLOCKS, Place, Stage
from nn_graphs.networks.relational.shapes import BlockShape, LayerShape, NetworkShape
from nn_graphs.ranges import PositiveInt, in_ranges


@dataclass(frozen=True)
class Stem:
    """The first layer, dense: a convolution, or in a multilayer perceptron a linear layer."""

    width: PositiveInt
    kernel_size: PositiveInt = 3
    stride: PositiveInt = 1
    has_pool: bool = False


@dataclass(frozen=True)
class Architecture:
    """A kind of network; `ARCHITECTURES` holds the published ones.

    Attributes:
        block: one of `BLOCKS`.
        stem, stages: of the dense baseline.
        in_channels, in_side: of the square images (a multilayer perceptron takes all their values
            as one vector).
        num_classes: outputs.
        head_width: channels of a 1x1 convolution before the last layer, or None.
        activation: of stem and head.
        has_zero_residuals: whether the last norm of each residual block starts at 0.
        num_scalings: rounds in which `match_widths` scales all widths, before it goes step by step.
    """

    block: str
    stem: Stem
    stages: tuple[Stage, ...]
    in_channels: PositiveInt = 3
    in_side: PositiveInt = 224
    num_classes: PositiveInt = 1000
    head_width: int | None = None
    activation: str = "relu"
    has_zero_residuals: bool = False
    num_scalings: int = 9

    def __post_init__(self):
        if self.block not in BLOCKS:
            raise NNGraphsError(
                f"describe a network of {self.block!r} blocks",
                found="there is no block of that name.",
                do=f"Choose one of {', '.join(BLOCKS)}.",
            )

    @property
    def is_conv(self) -> bool:
        return self.block != "linear"

    @property
    def baseline_widths(self) -> tuple[int, ...]:
        return tuple(stage.width for stage in self.stages)

    @property
    def baseline(self) -> NetworkShape:
        """The dense network that those of relational graphs are compared with."""
        return self._shape(self.baseline_widths, is_relational=False)

    def shape(self, widths: Sequence[int]) -> NetworkShape:
        """The network whose stages have these output widths.

        Raises:
            NNGraphsError: there are more or fewer widths than stages.
        """
        if len(widths) != len(self.stages) or min(widths) < 1:
            raise NNGraphsError(
                f"describe a network with stages of the widths {list(widths)}",
                found=f"it has {len(self.stages)} stages of at least one channel.",
                do=f"Give one width a stage, e.g. {list(self.baseline_widths)}.",
            )
        return self._shape(widths, is_relational=True)

    def _shape(self, widths: Sequence[int], *, is_relational: bool) -> NetworkShape:
        stem = self._stem()
        side = -(-stem.side // 2) if self.stem.has_pool else stem.side
        blocks: list[BlockShape] = []
        channels = stem.out_channels
        for stage, width in zip(self.stages, widths, strict=True):
            for number in range(stage.depth):
                place = Place(channels, width, 1 if number else stage.stride, side, is_relational)
                blocks.append(BLOCKS[self.block](place, stage))
                channels, side = width, place.out_side
        return NetworkShape(stem, self.stem.has_pool, tuple(blocks), self._head(channels, side))

    def check_inputs(self, shape: Sequence[int], num_classes: int) -> None:
        """Raises where images of a shape `[channels, side, side]`, or their classes, do not fit.

        Raises:
            NNGraphsError: the architecture is made for others.
        """
        own = (self.in_channels, self.in_side, self.in_side)
        is_alike = tuple(shape) == own if self.is_conv else math.prod(shape) == math.prod(own)
        if not is_alike or num_classes > self.num_classes:
            raise NNGraphsError(
                f"train networks of {own} inputs and {self.num_classes} classes",
                found=f"the images are {tuple(shape)}, of {num_classes} classes.",
                do="Choose another network (cnn6, the ResNets and mlp16 take any) or data set.",
            )

    def _stem(self) -> LayerShape:
        if not self.is_conv:
            in_features = self.in_channels * self.in_side**2
            return LayerShape(
                in_features, self.stem.width, is_conv=False, activation=self.activation
            )
        return LayerShape(
            self.in_channels,
            self.stem.width,
            self.stem.kernel_size,
            self.stem.stride,
            -(-self.in_side // self.stem.stride),
            activation=self.activation,
        )

    def _head(self, channels: int, side: int) -> tuple[LayerShape, ...]:
        convs = ()
        if self.head_width is not None:
            convs = (LayerShape(channels, self.head_width, side=side, activation=self.activation),)
            channels = self.head_width
        last = LayerShape(channels, self.num_classes, is_conv=False, has_bias=True, has_norm=False)
        return (*convs, last)


@in_ranges
def mlp(
    width: PositiveInt = 512,
    *,
    depth: PositiveInt = 3,
    in_channels: PositiveInt = 3,
    in_side: PositiveInt = 32,
    num_classes: PositiveInt = 10,
) -> Architecture:
    """A multilayer perceptron with `depth` masked layers; by default the published CIFAR-10 one."""
    return Architecture(
        "linear",
        Stem(width),
        (Stage(width, depth),),
        in_channels=in_channels,
        in_side=in_side,
        num_classes=num_classes,
        num_scalings=15,
    )


@in_ranges
def cifar_cnn(width: int = 64, *, depth: int = 6) -> Architecture:
    """A CNN of 3x3 convolutions for 32x32 images; `depth` convolutions in three stages."""
    stages = tuple(Stage(width * 2**number, depth // 3, 2) for number in range(3))
    return Architecture("conv", Stem(width), stages, in_side=32, num_classes=10, num_scalings=15)


def _resnet(block: str, widths: Sequence[int]) -> Architecture:
    depths, strides = (3, 4, 6, 3), (1, 2, 2, 2)
    return Architecture(
        block,
        Stem(64, kernel_size=7, stride=2, has_pool=True),
        tuple(map(Stage, widths, depths, strides)),
        has_zero_residuals=True,
    )


EFFICIENTNET_STAGES = (
    Stage(16, 1, 1, 3, 1),
    Stage(24, 2, 2, 3, 6),
    Stage(40, 2, 2, 5, 6),
    Stage(80, 3, 2, 3, 6),
    Stage(112, 3, 1, 5, 6),
    Stage(192, 4, 2, 5, 6),
    Stage(320, 1, 1, 3, 6),
)

ARCHITECTURES: dict[str, Architecture] = {
    "mlp": mlp(),
    "cnn6": Architecture(
        "conv",
        Stem(64, stride=2, has_pool=True),
        (Stage(64, 2, 2), Stage(128, 2, 2), Stage(256, 2, 2)),
    ),
    "resnet34": _resnet("basic", (64, 128, 256, 512)),
    "resnet34_sep": _resnet("separable", (64, 128, 256, 512)),
    "resnet50": _resnet("bottleneck", (256, 512, 1024, 2048)),
    "efficientnet_b0": Architecture(
        "inverted",
        Stem(32, stride=2),
        EFFICIENTNET_STAGES,
        head_width=1280,
        activation="silu",
    ),
}
"""Relational graphs of 64 nodes, 16 for EfficientNet-B0."""


def architecture_named(name: str) -> Architecture:
    """The published architecture of this name.

    Raises:
        NNGraphsError: there is none.
    """
    if name not in ARCHITECTURES:
        raise NNGraphsError(
            f"use the architecture {name!r}",
            found="there is none of that name.",
            do=f"Choose one of {', '.join(ARCHITECTURES)}.",
        )
    return ARCHITECTURES[name]


@in_ranges
def architecture_for(
    name: str, *, in_channels: int, in_side: int, num_classes: int
) -> Architecture:
    """A published architecture for other images or classes.

    Raises:
        NNGraphsError: there is none of that name.
    """
    return replace(
        architecture_named(name),
        in_channels=in_channels,
        in_side=in_side,
        num_classes=num_classes,
    )
