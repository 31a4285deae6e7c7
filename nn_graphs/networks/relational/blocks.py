"""The blocks of the published networks as data: which layers, which of them masked.

In and out are channels, `side` is that of the images that come in. A stage's first block changes
width and size; the blocks after it keep both.
"""

from collections.abc import Callable
from dataclasses import dataclass

from nn_graphs.networks.relational.shapes import BlockShape, GateShape, LayerShape

SQUEEZE = 4  # channels of a block to those inside its gate, EfficientNet


@dataclass(frozen=True)
class Stage:
    """Blocks of one width.

    Attributes:
        width: output channels of the dense baseline.
        depth: number of blocks.
        stride: of the first block.
        kernel_size: of the depthwise convolutions of an inverted block.
        expansion: of an inverted block.
    """

    width: int
    depth: int
    stride: int = 1
    kernel_size: int = 3
    expansion: int = 1


@dataclass(frozen=True)
class Place:
    """Where a block stands: its channels, its stride, and the side of the images that come in.

    `is_relational` is false in the dense baseline, which for inverted blocks is another network
    than that of the complete graph.
    """

    in_channels: int
    out_channels: int
    stride: int
    side: int
    is_relational: bool

    @property
    def out_side(self) -> int:
        return -(-self.side // self.stride)


def linear_block(place: Place, stage: Stage) -> BlockShape:
    """A masked linear layer."""
    return BlockShape(
        (
            LayerShape(
                place.in_channels,
                place.out_channels,
                is_conv=False,
                is_masked=True,
                activation="relu",
            ),
        )
    )


def conv_block(place: Place, stage: Stage) -> BlockShape:
    """A masked 3x3 convolution."""
    return BlockShape((_first_conv(place, place.out_channels, 3),))


def basic_block(place: Place, stage: Stage) -> BlockShape:
    """ResNet-34: two masked 3x3 convolutions, and a masked shortcut."""
    out = place.out_channels
    body = (_first_conv(place, out, 3), _conv(out, out, 3, side=place.out_side))
    return _residual(place, body, is_masked=True)


def separable_block(place: Place, stage: Stage) -> BlockShape:
    """ResNet-34-sep: twice a depthwise 3x3 and a masked 1x1 convolution; the shortcut is masked.

    There is neither norm nor activation behind the depthwise ones.
    """
    out, side = place.out_channels, place.out_side
    body = (
        _depthwise(place.in_channels, 3, stride=place.stride, side=side, has_norm=False),
        _conv(place.in_channels, out, 1, side=side, activation="relu"),
        _depthwise(out, 3, stride=1, side=side, has_norm=False),
        _conv(out, out, 1, side=side),
    )
    return _residual(place, body, is_masked=True)


def bottleneck_block(place: Place, stage: Stage) -> BlockShape:
    """ResNet-50: masked 1x1, 3x3 (with the stride) and 1x1 convolutions; the shortcut is dense."""
    inner = round(place.out_channels / 4)
    body = (
        _conv(place.in_channels, inner, 1, side=place.side, activation="relu"),
        _first_conv(place, inner, 3, in_channels=inner),
        _conv(inner, place.out_channels, 1, side=place.out_side),
    )
    return _residual(place, body, is_masked=False)


def inverted_block(place: Place, stage: Stage) -> BlockShape:
    """EfficientNet: masked 1x1, depthwise, gate, masked 1x1.

    With a relational graph, the inner width is that of the baseline's *output* times the expansion,
    whatever width the block has; in the baseline itself it is the *input* width times the
    expansion. So the complete graph does not give the baseline (published so).
    """
    base = stage.width if place.is_relational else place.in_channels
    inner = place.in_channels if stage.expansion == 1 else base * stage.expansion
    expand = _conv(place.in_channels, inner, 1, side=place.side, activation="silu")
    body = (
        _depthwise(
            inner, stage.kernel_size, stride=place.stride, side=place.out_side, activation="silu"
        ),
        GateShape(inner, place.in_channels // SQUEEZE, "silu"),
        _conv(inner, place.out_channels, 1, side=place.out_side),
    )
    keeps_shape = place.stride == 1 and place.in_channels == place.out_channels
    return BlockShape(
        body if stage.expansion == 1 else (expand, *body),
        skip="identity" if keeps_shape else None,
    )


BLOCKS: dict[str, Callable[[Place, Stage], BlockShape]] = {
    "linear": linear_block,
    "conv": conv_block,
    "basic": basic_block,
    "separable": separable_block,
    "bottleneck": bottleneck_block,
    "inverted": inverted_block,
}


def _first_conv(
    place: Place, out_channels: int, kernel_size: int, *, in_channels: int | None = None
) -> LayerShape:
    """The masked convolution that changes the size of the images."""
    return _conv(
        in_channels or place.in_channels,
        out_channels,
        kernel_size,
        side=place.out_side,
        stride=place.stride,
        activation="relu",
    )


def _conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    side: int,
    stride: int = 1,
    activation: str = "none",
    is_masked: bool = True,
) -> LayerShape:
    return LayerShape(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        side,
        is_masked=is_masked,
        activation=activation,
    )


def _depthwise(
    channels: int,
    kernel_size: int,
    *,
    stride: int,
    side: int,
    has_norm: bool = True,
    activation: str = "none",
) -> LayerShape:
    return LayerShape(
        channels,
        channels,
        kernel_size,
        stride,
        side,
        is_depthwise=True,
        has_norm=has_norm,
        activation=activation,
    )


def _residual(place: Place, body: tuple[LayerShape, ...], *, is_masked: bool) -> BlockShape:
    """The sum of body and input, which passes a 1x1 convolution where width or size change."""
    keeps_shape = place.stride == 1 and place.in_channels == place.out_channels
    shortcut = _conv(
        place.in_channels,
        place.out_channels,
        1,
        side=place.out_side,
        stride=place.stride,
        is_masked=is_masked,
    )
    return BlockShape(body, skip="identity" if keeps_shape else shortcut, activation="relu")
