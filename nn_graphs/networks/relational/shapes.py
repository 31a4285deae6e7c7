"""Networks without weights: their layers as data, from which weights and FLOPs are counted.

FLOPs are counted as published (You et al., ICML 2020): multiply-accumulates of linear and
convolutional weights that exist; biases, norms, activations and pooling are left out. Parameters
are weights that exist, biases and the two values of a batch norm per channel.
"""

from dataclasses import dataclass
from functools import cached_property

from nn_graphs.networks.relational.graph import RelationalGraph


@dataclass(frozen=True)
class LayerShape:
    """A linear or convolutional layer with the norm and activation that follow.

    Attributes:
        in_channels, out_channels: numbers of neurons of a linear layer.
        kernel_size: odd; zero padding of half of it keeps the size of images.
        stride: of a convolution.
        side: of the square images that come out; 1 for linear layers.
        is_conv: whether it is a convolution.
        is_depthwise: whether each channel has a kernel of its own and sees no other channel.
        is_masked: whether a relational graph says which weights it has.
        has_bias, has_norm: whether there is a bias, and a batch norm.
        activation: "relu", "silu" or "none".
    """

    in_channels: int
    out_channels: int
    kernel_size: int = 1
    stride: int = 1
    side: int = 1
    is_conv: bool = True
    is_depthwise: bool = False
    is_masked: bool = False
    has_bias: bool = False
    has_norm: bool = True
    activation: str = "none"

    def num_weights(self, graph: RelationalGraph | None) -> int:
        if self.is_depthwise:
            pairs = self.out_channels
        elif self.is_masked and graph is not None:
            pairs = graph.num_connections(self.in_channels, self.out_channels)
        else:
            pairs = self.in_channels * self.out_channels
        return pairs * self.kernel_size**2

    def num_flops(self, graph: RelationalGraph | None) -> int:
        return self.num_weights(graph) * self.side**2

    def num_params(self, graph: RelationalGraph | None) -> int:
        return self.num_weights(graph) + self.out_channels * (self.has_bias + 2 * self.has_norm)


@dataclass(frozen=True)
class GateShape:
    """Squeeze-and-excitation: channels are scaled by what two layers make of their averages.

    The biases of these two layers do count as FLOPs, as in the published counts.
    """

    channels: int
    inner_channels: int
    activation: str

    def num_params(self, graph: RelationalGraph | None) -> int:
        return 2 * self.channels * self.inner_channels + self.channels + self.inner_channels

    num_flops = num_params


@dataclass(frozen=True)
class BlockShape:
    """Layers in a chain, perhaps with a way around them.

    Attributes:
        body: the chain.
        skip: None, "identity", or the layer through which the input is added to the output.
        activation: after the sum.
    """

    body: tuple[LayerShape | GateShape, ...]
    skip: LayerShape | str | None = None
    activation: str = "none"

    @property
    def layers(self) -> tuple[LayerShape | GateShape, ...]:
        return (self.skip, *self.body) if isinstance(self.skip, LayerShape) else self.body


@dataclass(frozen=True)
class NetworkShape:
    """A network without weights.

    Attributes:
        stem: the first layer.
        has_pool: whether a max pooling of kernel 3 and stride 2 follows.
        blocks: what lies between.
        head: layers at the end; the images are averaged before the last one.
    """

    stem: LayerShape
    has_pool: bool
    blocks: tuple[BlockShape, ...]
    head: tuple[LayerShape, ...]

    @cached_property
    def layers(self) -> tuple[LayerShape | GateShape, ...]:
        inner = (layer for block in self.blocks for layer in block.layers)
        return (self.stem, *inner, *self.head)

    def num_flops(self, graph: RelationalGraph | None) -> int:
        """Multiply-accumulates for one input; dense where `graph` is None."""
        return sum(layer.num_flops(graph) for layer in self.layers)

    def num_params(self, graph: RelationalGraph | None) -> int:
        """Weights that exist, biases and norms; dense where `graph` is None."""
        return sum(layer.num_params(graph) for layer in self.layers)
