"""Architecture as data: `NetworkSpec` describes a network, hashable and as JSON.

Layer `l` (counted from 1; 0 is the input) computes

    h_l = act_l(W_l h_{l-1} + b_l + sum_{s in skips_l} h_s) + offset_l

where a skip adds the first min(width_s, width_l) channels of an earlier layer's output, as the
residuals of the CNN Wild Park do (Kofinas et al., ICLR 2024).
"""

import dataclasses
import json
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterLayout


@dataclass(frozen=True)
class LayerSpec:
    """One linear layer with what follows it.

    Attributes:
        width: number of output neurons.
        activation: applied to the sum of the linear map and the skips.
        has_bias: whether the linear map has a bias.
        skips: earlier layers whose outputs are added before the activation (0 = the input).
        offset: a constant added after the activation (0.5 in the INRs of Navon et al., 2023).
    """

    width: int
    activation: Activation = Activation()  # noqa: RUF009 (frozen)
    has_bias: bool = True
    skips: tuple[int, ...] = ()
    offset: float = 0.0


@dataclass(frozen=True)
class NetworkSpec:
    """A feed-forward network as data.

    Attributes:
        in_width: number of input neurons.
        layers: the layers, from input to output.
    """

    in_width: int
    layers: tuple[LayerSpec, ...]

    def __post_init__(self):
        for number, layer in enumerate(self.layers, start=1):
            for skip in layer.skips:
                if not 0 <= skip < number:
                    raise NNGraphsError(
                        f"describe a network whose layer {number} has a skip from layer {skip}",
                        found=f"a skip must come from one of the layers 0 to {number - 1}.",
                        do="Number layers from 1; 0 is the input.",
                    )

    @classmethod
    def mlp(
        cls,
        layer_layout: list[int] | tuple[int, ...],
        *,
        activation: Activation,
        offset: float = 0.0,
    ) -> "NetworkSpec":
        """A plain chain, e.g. `layer_layout=[2, 32, 32, 1]`; the last layer has no activation."""
        hidden = [LayerSpec(width, activation) for width in layer_layout[1:-1]]
        return cls(layer_layout[0], (*hidden, LayerSpec(layer_layout[-1], offset=offset)))

    @property
    def layer_layout(self) -> tuple[int, ...]:
        """Numbers of neurons from input to output, e.g. `(2, 32, 32, 1)`."""
        return (self.in_width, *(layer.width for layer in self.layers))

    @cached_property
    def parameters(self) -> ParameterLayout:
        """Where each weight `[out, in]` and bias `[out]` lies in the flat vector."""
        shapes = {}
        for index, (layer, fan_in) in enumerate(zip(self.layers, self.layer_layout, strict=False)):
            shapes[f"layers.{index}.weight"] = (layer.width, fan_in)
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
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "NetworkSpec":
        fields = json.loads(text)
        layers = tuple(
            LayerSpec(
                **{
                    **layer,
                    "activation": Activation(**layer["activation"]),
                    "skips": tuple(layer["skips"]),
                }
            )
            for layer in fields["layers"]
        )
        return cls(fields["in_width"], layers)


class SpecModule(nn.Module):
    """The torch module that a `NetworkSpec` describes."""

    def __init__(self, spec: NetworkSpec):
        super().__init__()
        self.spec = spec
        self.layers = nn.ModuleList(
            nn.Linear(fan_in, layer.width, bias=layer.has_bias)
            for layer, fan_in in zip(spec.layers, spec.layer_layout, strict=False)
        )

    def forward(self, inputs: Float[Tensor, "*batch in_width"]) -> Float[Tensor, "*batch width"]:
        outputs = [inputs]
        for linear, layer in zip(self.layers, self.spec.layers, strict=True):
            total = linear(outputs[-1])
            for skip in layer.skips:
                total = _add_first_channels(total, outputs[skip])
            outputs.append(layer.activation(total) + layer.offset)
        return outputs[-1]


def _add_first_channels(total: Tensor, addend: Tensor) -> Tensor:
    """`total [*, t]` plus `addend [*, a]` on the channels that both have."""
    missing = total.shape[-1] - addend.shape[-1]
    if missing == 0:
        return total + addend
    return total + nn.functional.pad(addend[..., : total.shape[-1]], (0, max(missing, 0)))
