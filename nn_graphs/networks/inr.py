"""Implicit neural representations: the conventions under which the published INR zoos were fitted.

Three conventions are in use, and mixing them up is the most common reason why an INR zoo cannot be
reproduced. They differ in the initial values, the coordinate order and the range of the targets:

- `siren`: Sitzmann et al., NeurIPS 2020. First layer U(-1/fan_in, 1/fan_in), later layers
  U(-sqrt(6/fan_in)/omega_0, ...), torch's default biases; targets in [-1, 1]; (row, column).
- `nfn`: the zoos of Zhou et al., NeurIPS 2023, which are standard SIRENs.
- `dws`: the zoos of Navon et al., ICML 2023. Sine layers all take the hidden-layer bound and zero
  biases, the last layer is a default torch linear layer, the output has +0.5 added; targets in
  [0, 1]; (column, row). The published standard deviations of that zoo's last layer (weights 0.118,
  biases 0.100) exclude the sine layers' bound (0.008, 0) as its initial values.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import check_known
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.networks.stacked import stacked_forward

INITIAL_BLOCK = 1024  # networks whose initial values come from one random stream


@dataclass(frozen=True)
class INRPreset:
    """The convention of one INR zoo.

    Attributes:
        omega_0: frequency of every sine layer.
        first_weights: bound of the first layer's weights: 1/fan_in, or that of hidden layers.
        last_weights: bound of the last layer's weights: as hidden layers, or 1/sqrt(fan_in).
        sine_biases: initial biases of sine layers: zero, or U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
        output_offset: constant added to the output.
        coordinate_order: "xy" = (column, row), "ij" = (row, column); pixels are row-major in both.
        target_range: smallest and largest pixel value that is fitted.
    """

    name: str
    omega_0: float = 30.0
    first_weights: Literal["inverse_fan_in", "hidden"] = "inverse_fan_in"
    last_weights: Literal["hidden", "torch"] = "hidden"
    sine_biases: Literal["zero", "torch"] = "torch"
    output_offset: float = 0.0
    coordinate_order: Literal["xy", "ij"] = "ij"
    target_range: tuple[float, float] = (-1.0, 1.0)

    def make_spec(self, layer_layout: tuple[int, ...]) -> NetworkSpec:
        """The architecture of INRs of this convention, e.g. for `(2, 32, 32, 1)`."""
        sine = Activation("sine", self.omega_0)
        return NetworkSpec.mlp(layer_layout, activation=sine, offset=self.output_offset)

    def coordinates(self, height: int, width: int) -> Float[Tensor, "pixels 2"]:
        """Pixel coordinates in [-1, 1]; pixel `(row, column)` is number `row * width + column`."""
        rows, columns = torch.meshgrid(
            torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
        )
        axes = (columns, rows) if self.coordinate_order == "xy" else (rows, columns)
        return torch.stack(axes, dim=-1).reshape(-1, 2)

    def to_targets(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1] to the range that is fitted."""
        low, high = self.target_range
        return low + (high - low) * pixels

    def to_pixels(self, outputs: Tensor) -> Tensor:
        """Network outputs back to pixels, [0, 1] where the fit is exact."""
        low, high = self.target_range
        return (outputs - low) / (high - low)

    def render(
        self, spec: NetworkSpec, params: Float[Tensor, "N num_params"], *, height: int, width: int
    ) -> Float[Tensor, "N {height} {width} channels"]:
        """The images that INRs draw, at any resolution; values of exact fits are in [0, 1]."""
        coordinates = self.coordinates(height, width).to(params)  # its device and precision
        outputs = stacked_forward(spec, params, coordinates)
        return self.to_pixels(outputs).unflatten(1, (height, width))

    def psnr(self, mse: Tensor) -> Tensor:
        """Peak signal-to-noise ratio in dB of a mean squared error in the fitted range."""
        low, high = self.target_range
        return 10 * torch.log10((high - low) ** 2 / mse)

    def mse_at(self, psnr: float) -> float:
        """The mean squared error, in the fitted range, that has this PSNR in dB."""
        low, high = self.target_range
        return (high - low) ** 2 * 10 ** (-psnr / 10)

    def initial_params(
        self, spec: NetworkSpec, *, start: int, stop: int, seed: int
    ) -> Float[Tensor, "N num_params"]:
        """Initial values of the networks numbered `start` to `stop - 1` of a zoo.

        They depend on the seed and the network's number alone, not on how the zoo is divided.
        """
        bounds = self._bounds(spec)
        first, last = start // INITIAL_BLOCK, (stop - 1) // INITIAL_BLOCK
        blocks = [_uniform_block(seed, block, spec.num_params) for block in range(first, last + 1)]
        offset = first * INITIAL_BLOCK
        return torch.cat(blocks)[start - offset : stop - offset] * bounds

    def _bounds(self, spec: NetworkSpec) -> Float[Tensor, "num_params"]:
        bounds = torch.zeros(spec.num_params)
        last = len(spec.layers) - 1
        for index, fan_in in enumerate(spec.layer_layout[:-1]):
            hidden = math.sqrt(6 / fan_in) / self.omega_0
            torch_default = 1 / math.sqrt(fan_in)
            weight, bias = hidden, 0.0 if self.sine_biases == "zero" else torch_default
            if index == 0 and self.first_weights == "inverse_fan_in":
                weight = 1 / fan_in
            if index == last:
                bias = torch_default
                weight = torch_default if self.last_weights == "torch" else hidden
            for name, bound in (("weight", weight), ("bias", bias)):
                slot = spec.parameters.slot(f"layers.{index}.{name}")
                bounds[slot.offset : slot.offset + slot.size] = bound
        return bounds


def _uniform_block(seed: int, block: int, num_params: int) -> Float[Tensor, "block num_params"]:
    stream = np.random.SeedSequence((seed, block)).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(stream[0]))
    return torch.rand(INITIAL_BLOCK, num_params, generator=generator) * 2 - 1


SIREN = INRPreset("siren")
PRESETS: dict[str, INRPreset] = {
    preset.name: preset
    for preset in (
        SIREN,
        replace(SIREN, name="nfn"),
        INRPreset(
            "dws",
            first_weights="hidden",
            last_weights="torch",
            sine_biases="zero",
            output_offset=0.5,
            coordinate_order="xy",
            target_range=(0.0, 1.0),
        ),
    )
}


def inr_preset(name: str) -> INRPreset:
    """The preset called `name`.

    Raises:
        NNGraphsError: there is none of this name.
    """
    check_known(name, PRESETS, asked=f"use the INR preset {name!r}")
    return PRESETS[name]
