"""One forward pass of `N` networks of one architecture.

Values are kept as `[N, channels, points]`: every layer is one batched matrix product whose result
lies contiguous for the elementwise activation that follows.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.networks.spec import NetworkSpec


def stacked_forward(
    spec: NetworkSpec, params: Float[Tensor, "N num_params"], inputs: Float[Tensor, "*N points in"]
) -> Float[Tensor, "N points out"]:
    """Outputs of `N` networks.

    Args:
        spec: the architecture of all `N` networks.
        params: their flat parameters.
        inputs: `[points, in]`, the same points for every network, or `[N, points, in]`.
    """
    return stacked_layers(spec, params, inputs)[-1]


def stacked_layers(
    spec: NetworkSpec, params: Float[Tensor, "N num_params"], inputs: Float[Tensor, "*N points in"]
) -> list[Float[Tensor, "N points width"]]:
    """Outputs of every layer of `N` networks, the inputs first; see `stacked_forward`."""
    num_networks = params.shape[0]
    values = inputs.transpose(-1, -2).expand(num_networks, -1, -1)
    return [layer.transpose(1, 2) for layer in channel_first_layers(spec, params, values)]


def channel_first_layers(
    spec: NetworkSpec, params: Float[Tensor, "N num_params"], values: Float[Tensor, "N in points"]
) -> list[Float[Tensor, "N width points"]]:
    """Outputs of every layer with channels before points, the inputs first."""
    tensors = spec.parameters.unflatten(params)
    outputs = [values]
    for index, layer in enumerate(spec.layers):
        total = torch.bmm(tensors[f"layers.{index}.weight"], outputs[-1])  # [N, width, points]
        if layer.has_bias:
            total = total + tensors[f"layers.{index}.bias"].unsqueeze(-1)
        for skip in layer.skips:
            total = _add_first_channels(total, outputs[skip])
        activated = layer.activation(total)
        outputs.append(activated + layer.offset if layer.offset else activated)
    return outputs


def _add_first_channels(total: Tensor, addend: Tensor) -> Tensor:
    shared = min(total.shape[1], addend.shape[1])
    return torch.cat([total[:, :shared] + addend[:, :shared], total[:, shared:]], dim=1)
