"""Torch modules of the published networks, with the published initial values.

You et al., ICML 2020. Differences: masks are buffers, masked weights are zero from the start, and
nothing here touches a global random state when a generator is given.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.networks.masked import MaskedConv2d, MaskedLayer, MaskedLinear
from nn_graphs.networks.relational.architectures import Architecture
from nn_graphs.networks.relational.graph import RelationalGraph
from nn_graphs.networks.relational.matching import match_widths
from nn_graphs.networks.relational.shapes import BlockShape, GateShape, LayerShape
from nn_graphs.structure.adjacency import AnyGraph, is_directed

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU}
LINEAR_STD = 0.01  # of linear weights, masked or not


class RelationalNetwork(nn.Module):
    """A network whose masked layers all follow one relational graph.

    Args:
        architecture: the kind of network, e.g. `ARCHITECTURES["resnet34"]`.
        graph: the relational graph, or what makes one: a graph of networkx, a matrix; with None,
            the dense baseline of the architecture.
        widths: output channels of the stages; those of equal FLOPs (`match_widths`) where None.
        generator: of the initial values; torch's own where None.

    Raises:
        NNGraphsError: a layer has fewer channels than the graph has nodes, and the graph comes in
            one size; there are more or fewer widths than stages; or `graph` is none.
    """

    def __init__(
        self,
        architecture: Architecture,
        graph: RelationalGraph | AnyGraph | None,
        *,
        widths: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if graph is not None and not isinstance(graph, RelationalGraph):
            graph = RelationalGraph(graph, is_directed=is_directed(graph))
        self.architecture, self.graph = architecture, graph
        if graph is None:
            self.shape, self.widths = architecture.baseline, architecture.baseline_widths
        else:
            self.widths = tuple(widths or match_widths(architecture, graph))
            self.shape = architecture.shape(self.widths)
        with torch.random.fork_rng(devices=[]):  # torch's initial values, all replaced below
            self.stem = _make_unit(self.shape.stem, graph)
            self.pool = nn.MaxPool2d(3, 2, padding=1) if self.shape.has_pool else nn.Identity()
            self.blocks = nn.Sequential(*(Block(shape, graph) for shape in self.shape.blocks))
            self.head = nn.Sequential(*(_make_unit(layer, graph) for layer in self.shape.head))
        self.reset_parameters(generator)

    def forward(self, inputs: Float[Tensor, "B channels side side"]) -> Float[Tensor, "B classes"]:
        values = inputs if self.architecture.is_conv else inputs.flatten(1)
        values = self.blocks(self.pool(self.stem(values)))
        values = self.head[:-1](values)
        if self.architecture.is_conv:
            values = values.mean((2, 3))
        return self.head[-1](values)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws the published initial values.

        Convolutions N(0, 2 / (kernel size * outputs * density)), depthwise ones too, linear layers
        N(0, 0.01^2), norms 1 and 0 (the last one of a residual block 0 where the architecture says
        so), biases 0, but those of convolutions in gates torch's U(-1, 1) / sqrt(inputs).
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _init_conv(module, generator)
            elif isinstance(module, nn.Linear):
                module.weight.normal_(0, LINEAR_STD, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_parameters()
            if isinstance(module, MaskedLayer):
                module.apply_mask()
        if self.architecture.has_zero_residuals:
            for block in self.blocks:
                block.body[-1].norm.weight.zero_()

    @property
    def num_flops(self) -> int:
        """Multiply-accumulates for one input; see `shapes`."""
        return self.shape.num_flops(self.graph)

    @property
    def num_params(self) -> int:
        """Weights that exist, biases and norms."""
        return self.shape.num_params(self.graph)


class Block(nn.Module):
    """A `BlockShape` as a module."""

    def __init__(self, shape: BlockShape, graph: RelationalGraph | None):
        super().__init__()
        self.has_skip = shape.skip is not None
        self.shortcut = nn.Identity()
        if isinstance(shape.skip, LayerShape):
            self.shortcut = _make_unit(shape.skip, graph)
        self.body = nn.Sequential(*(_make_unit(layer, graph) for layer in shape.body))
        self.activation = ACTIVATIONS.get(shape.activation, nn.Identity)()

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.body(inputs)
        if self.has_skip:
            values = self.shortcut(inputs) + values
        return self.activation(values)


class Gate(nn.Module):
    """Squeeze-and-excitation (Hu et al., CVPR 2018)."""

    def __init__(self, shape: GateShape):
        super().__init__()
        self.squeeze = nn.Conv2d(shape.channels, shape.inner_channels, 1)
        self.activation = ACTIVATIONS[shape.activation]()
        self.excite = nn.Conv2d(shape.inner_channels, shape.channels, 1)

    def forward(self, inputs: Float[Tensor, "B c h w"]) -> Float[Tensor, "B c h w"]:
        averages = inputs.mean((2, 3), keepdim=True)
        return inputs * self.excite(self.activation(self.squeeze(averages))).sigmoid()


def _make_unit(shape: LayerShape | GateShape, graph: RelationalGraph | None) -> nn.Module:
    """A layer with its norm and activation."""
    if isinstance(shape, GateShape):
        return Gate(shape)
    parts: OrderedDict[str, nn.Module] = OrderedDict(layer=_make_layer(shape, graph))
    if shape.has_norm:
        norm = nn.BatchNorm2d if shape.is_conv else nn.BatchNorm1d
        parts["norm"] = norm(shape.out_channels)
    if shape.activation != "none":
        parts["activation"] = ACTIVATIONS[shape.activation]()
    return nn.Sequential(parts)


def _make_layer(shape: LayerShape, graph: RelationalGraph | None) -> nn.Module:
    channels = shape.in_channels, shape.out_channels
    is_masked = shape.is_masked and graph is not None
    mask = torch.from_numpy(graph.mask(*channels)) if is_masked else None
    if not shape.is_conv:
        if is_masked:
            return MaskedLinear(*channels, bias=shape.has_bias, mask=mask)
        return nn.Linear(*channels, bias=shape.has_bias)
    kernel = {
        "kernel_size": shape.kernel_size,
        "stride": shape.stride,
        "padding": shape.kernel_size // 2,
        "bias": shape.has_bias,
    }
    if is_masked:
        return MaskedConv2d(*channels, **kernel, mask=mask)
    groups = shape.out_channels if shape.is_depthwise else 1
    return nn.Conv2d(*channels, **kernel, groups=groups)


def _init_conv(conv: nn.Conv2d, generator: torch.Generator | None) -> None:
    density = conv.density if isinstance(conv, MaskedConv2d) else 1.0
    fan_out = math.prod(conv.kernel_size) * conv.out_channels
    conv.weight.normal_(0, math.sqrt(2 / (fan_out * density)), generator=generator)
    if conv.bias is not None:
        bound = conv.in_channels**-0.5
        conv.bias.uniform_(-bound, bound, generator=generator)
