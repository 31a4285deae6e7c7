"""Architecture as data: `NetworkSpec` describes a network, hashable and as JSON.

Layer `l` (counted from 1; 0 is the input) computes

    h_l = act_l(W_l h_{l-1} + b_l + sum_{s in skips_l} h_s) + offset_l

where a skip adds the first min(width_s, width_l) channels of an earlier layer's output, as the
residuals of the CNN Wild Park do (Kofinas et al., ICLR 2024). W_l is a matrix or a convolution;
convolutions come first, and the linear layer behind them reads the mean of every channel over its
places, or all places.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterLayout


@dataclass(frozen=True)
class ConvSpec:
    """How a kernel moves over the places of its input; one number per axis of the places.

    Attributes:
        kernel_size: e.g. `(3, 3)` for images.
        stride: steps between two places of the kernel; by default 1.
        padding: zeros at both ends of every axis; by default 0.
    """

    kernel_size: Sequence[int]
    stride: Sequence[int] = ()
    padding: Sequence[int] = ()

    def __post_init__(self):
        object.__setattr__(self, "kernel_size", tuple(self.kernel_size))
        object.__setattr__(self, "stride", tuple(self.stride) or (1,) * self.num_axes)
        object.__setattr__(self, "padding", tuple(self.padding) or (0,) * self.num_axes)
        lengths = {len(self.kernel_size), len(self.stride), len(self.padding)}
        if len(lengths) != 1 or self.num_axes not in CONVOLUTIONS:
            raise NNGraphsError(
                f"describe a convolution with kernels {list(self.kernel_size)}",
                found=f"its stride is {list(self.stride)}, its padding {list(self.padding)}.",
                do="Give one number for each of the one to three axes.",
            )

    @classmethod
    def square(cls, size: int, *, stride: int = 1, padding: int = 0) -> "ConvSpec":
        """For images: the same in both axes."""
        return cls((size,) * 2, (stride,) * 2, (padding,) * 2)

    @property
    def num_axes(self) -> int:
        return len(self.kernel_size)


CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True)
class LayerSpec:
    """One linear or convolutional layer with what follows it.

    Attributes:
        width: number of output neurons; of a convolution, channels.
        activation: applied to the sum of the linear map and the skips; a name stands for the
            `Activation` with its default parameter.
        has_bias: whether the linear map has a bias.
        skips: earlier layers whose outputs are added before the activation (0 = the input).
        offset: a constant added after the activation (0.5 in the INRs of Navon et al., 2023).
        conv: the layer is this convolution; None: it is linear.
        num_places: of a linear layer behind a convolution: it reads the values at that many places,
            channel after channel, as torch flattens them; None: their mean (global average pool).
    """

    width: int
    activation: Activation | str = Activation()  # noqa: RUF009 (frozen)
    has_bias: bool = True
    skips: Sequence[int] = ()
    offset: float = 0.0
    conv: ConvSpec | None = None
    num_places: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "activation", Activation.of(self.activation))
        object.__setattr__(self, "skips", tuple(self.skips))

    def __repr__(self) -> str:
        """Only what is not the default, e.g. `LayerSpec(8, relu, skips=(0,))`."""
        parts = [str(self.width)]
        parts += [str(self.activation)] if self.activation != Activation() else []
        parts += [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)[2:]
            if getattr(self, field.name) != field.default
        ]
        return f"LayerSpec({', '.join(parts)})"


@dataclass(frozen=True)
class NetworkSpec:
    """A feed-forward network as data.

    Attributes:
        in_width: number of input neurons; channels, if the first layer is a convolution.
        layers: the layers, from input to output.
    """

    in_width: int
    layers: Sequence[LayerSpec]

    def __post_init__(self):
        object.__setattr__(self, "layers", tuple(self.layers))
        for number, layer in enumerate(self.layers, start=1):
            for skip in layer.skips:
                if not 0 <= skip < number:
                    raise NNGraphsError(
                        f"describe a network whose layer {number} has a skip from layer {skip}",
                        found=f"a skip must come from one of the layers 0 to {number - 1}.",
                        do="Number layers from 1; 0 is the input.",
                    )
            self._check_places(number)

    def __repr__(self) -> str:
        """Widths, and activations of all layers but the last: `NetworkSpec(2-8-8-1, relu)`.

        All layers are listed where more than that is not the default.
        """
        *hidden, last = self.layers or (None,)
        plain = [LayerSpec(layer.width, layer.activation) for layer in hidden]
        kinds = list(dict.fromkeys(str(layer.activation) for layer in hidden))
        if last is None or hidden != plain or last != LayerSpec(last.width) or len(kinds) > 1:
            layers = ", ".join(map(repr, self.layers))
            return f"NetworkSpec({self.in_width}, ({layers}))"
        return f"NetworkSpec({', '.join(['-'.join(map(str, self.layer_layout)), *kinds])})"

    def _check_places(self, number: int) -> None:
        """Makes sure that the kind of a layer fits those it reads."""
        layer, axes = self.layers[number - 1], self.num_axes
        fault = None
        if axes[number] and axes[number] != axes[number - 1]:
            fault = f"kernels over {axes[number]} axes and reads {axes[number - 1]}"
        elif layer.num_places is not None and (axes[number] or not axes[number - 1]):
            fault = f"num_places {layer.num_places}, and is not linear behind a convolution"
        elif any(axes[skip] != axes[number] for skip in layer.skips):
            fault = "a skip from a convolution to a linear layer"
        if fault is not None:
            raise NNGraphsError(
                f"describe a network of {len(self.layers)} layers",
                found=f"layer {number} has {fault}.",
                do="Put convolutions first, then linear layers; skips join layers of one kind.",
            )

    @classmethod
    def mlp(
        cls,
        layer_layout: Sequence[int],
        *,
        activation: Activation | str,
        offset: float = 0.0,
    ) -> "NetworkSpec":
        """A plain chain, e.g. `layer_layout=[2, 32, 32, 1]`; the last layer has no activation."""
        hidden = [LayerSpec(width, activation) for width in layer_layout[1:-1]]
        return cls(layer_layout[0], (*hidden, LayerSpec(layer_layout[-1], offset=offset)))

    @classmethod
    def cnn(
        cls,
        channels: Sequence[int],
        *,
        convs: Sequence[ConvSpec] | ConvSpec,
        activations: Sequence[Activation | str] | Activation | str,
        num_outputs: int,
        skips: Sequence[Sequence[int]] | None = None,
        num_places: int | None = None,
    ) -> "NetworkSpec":
        """Convolutions, then one linear layer without activation.

        Args:
            channels: from the input to the last convolution, e.g. `(1, 16, 16, 16)`.
            convs: one for all convolutions, or one each.
            activations: the same.
            num_outputs: width of the linear layer.
            skips: `LayerSpec.skips` of each convolution; by default none.
            num_places: of the last convolution, where they are flattened and not averaged.
        """
        depth = len(channels) - 1
        convs = [convs] * depth if isinstance(convs, ConvSpec) else convs
        is_one = isinstance(activations, Activation | str)
        activations = [activations] * depth if is_one else activations
        skips = [()] * depth if skips is None else skips
        if {len(convs), len(activations), len(skips)} != {depth}:
            raise NNGraphsError(
                f"describe a network of {depth} convolutions",
                found=f"{len(convs)} kernels, {len(activations)} activations and skips of "
                f"{len(skips)} layers are given.",
                do="Give one each; channels has one more, those of the input.",
            )
        layers = [
            LayerSpec(width, activation, skips=tuple(skip), conv=conv)
            for width, activation, skip, conv in zip(
                channels[1:], activations, skips, convs, strict=True
            )
        ]
        return cls(channels[0], (*layers, LayerSpec(num_outputs, num_places=num_places)))

    @property
    def layer_layout(self) -> tuple[int, ...]:
        """Numbers of neurons, or channels, from input to output, e.g. `(2, 32, 32, 1)`."""
        return (self.in_width, *(layer.width for layer in self.layers))

    @property
    def num_axes(self) -> tuple[int, ...]:
        """Of the input and every layer's output, the axes of places: 2 of images, 0 of vectors."""
        axes = [layer.conv.num_axes if layer.conv else 0 for layer in self.layers]
        return (*axes[:1], *axes)

    @property
    def is_convolutional(self) -> bool:
        return self.num_axes[0] > 0

    @cached_property
    def parameters(self) -> ParameterLayout:
        """Where each weight `[out, in, *kernel]` and bias `[out]` lies in the flat vector."""
        shapes = {}
        for index, (layer, fan_in) in enumerate(zip(self.layers, self.layer_layout, strict=False)):
            columns = (
                (fan_in, *layer.conv.kernel_size) if layer.conv else (_num_read(layer, fan_in),)
            )
            shapes[f"layers.{index}.weight"] = (layer.width, *columns)
            if layer.has_bias:
                shapes[f"layers.{index}.bias"] = (layer.width,)
        return ParameterLayout.from_shapes(shapes)

    @property
    def num_params(self) -> int:
        return self.parameters.num_params

    def make_module(self) -> "SpecModule":
        """The torch module of this architecture, with torch's own initial values."""
        return SpecModule(self)

    def to_json(self) -> str:
        fields = dataclasses.asdict(self)
        for layer in fields["layers"]:  # as before there were convolutions
            for name in ("conv", "num_places"):
                if layer[name] is None:
                    del layer[name]
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> "NetworkSpec":
        fields = json.loads(text)
        return cls(fields["in_width"], tuple(_read_layer(layer) for layer in fields["layers"]))


def _num_read(layer: LayerSpec, fan_in: int) -> int:
    """Of a linear layer, the values that a neuron reads of `fan_in` channels."""
    return fan_in * (1 if layer.num_places is None else layer.num_places)


def _read_layer(fields: dict) -> LayerSpec:
    conv = fields.get("conv")
    return LayerSpec(
        **{
            **fields,
            "activation": Activation(**fields["activation"]),
            "skips": tuple(fields["skips"]),
            "conv": conv and ConvSpec(**{name: tuple(sizes) for name, sizes in conv.items()}),
        }
    )


class SpecModule(nn.Module):
    """The torch module that a `NetworkSpec` describes."""

    def __init__(self, spec: NetworkSpec):
        super().__init__()
        self.spec = spec
        self.layers = nn.ModuleList(
            _make_layer(layer, fan_in)
            for layer, fan_in in zip(spec.layers, spec.layer_layout, strict=False)
        )

    def forward(
        self, inputs: Float[Tensor, "*batch in_width"] | Float[Tensor, "points in_width *places"]
    ) -> Tensor:
        outputs = [inputs]
        for module, layer in zip(self.layers, self.spec.layers, strict=True):
            axis = -1 - self.spec.num_axes[len(outputs)]
            total = module(_read(outputs[-1], layer, self.spec.num_axes[len(outputs) - 1]))
            for skip in layer.skips:
                total = add_first_channels(total, outputs[skip], axis=axis)
            outputs.append(layer.activation(total) + layer.offset)
        return outputs[-1]


def _make_layer(layer: LayerSpec, fan_in: int) -> nn.Module:
    if layer.conv is None:
        return nn.Linear(_num_read(layer, fan_in), layer.width, bias=layer.has_bias)
    kind = CONVOLUTIONS[layer.conv.num_axes]
    return kind(fan_in, layer.width, bias=layer.has_bias, **dataclasses.asdict(layer.conv))


def _read(values: Tensor, layer: LayerSpec, num_axes: int) -> Tensor:
    """What a layer reads of values with `num_axes` axes of places."""
    if layer.conv is not None or not num_axes:
        return values
    if layer.num_places is None:
        return values.mean(tuple(range(-num_axes, 0)))
    return values.flatten(-1 - num_axes)


def add_first_channels(total: Tensor, addend: Tensor, *, axis: int) -> Tensor:
    """`total` plus `addend` on the channels, along a (negative) axis, that both have."""
    missing = total.shape[axis] - addend.shape[axis]
    if missing == 0:
        return total + addend
    shared = addend[(..., slice(total.shape[axis]), *[slice(None)] * (-1 - axis))]
    padding = [0, 0] * (-1 - axis) + [0, max(missing, 0)]
    return total + nn.functional.pad(shared, padding)
