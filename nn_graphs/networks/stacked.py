"""One forward pass of `N` networks of one architecture.

Values of neurons are kept as `[N, width, points]`: a linear layer is one batched matrix product
whose result lies contiguous for the elementwise activation that follows. Maps are kept as
`[points, N, channels, *places]`: a convolution is one with a group of channels for each network,
or an ordinary one where all networks see the same images.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.spec import ConvSpec, LayerSpec, NetworkSpec, add_first_channels

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}

OnHidden = Callable[[Float[Tensor, "N points width ..."], int], Float[Tensor, "N points width ..."]]
"""`(outputs, layer) -> outputs`, applied to the outputs of layers 1, 2, ... but the last."""


def stacked_forward(
    spec: NetworkSpec, params: Float[Tensor, "N num_params"], inputs: Float[Tensor, "..."]
) -> Float[Tensor, "N points out ..."]:
    """Outputs of `N` networks.

    Args:
        spec: the architecture of all `N` networks.
        params: their flat parameters.
        inputs: `[points, in]`, the same points for every network, or `[N, points, in]`; of
            convolutional networks images, `[points, in, *places]` or `[N, points, in, *places]`.
    """
    return stacked_layers(spec, params, inputs)[-1]


def stacked_layers(
    spec: NetworkSpec,
    params: Float[Tensor, "N num_params"],
    inputs: Float[Tensor, "..."],
    *,
    on_hidden: OnHidden | None = None,
) -> list[Float[Tensor, "N points width ..."]]:
    """Outputs of every layer of `N` networks, the inputs first; see `stacked_forward`.

    `on_hidden` changes what later layers read, e.g. by dropout.
    """
    num_networks, num_axes = params.shape[0], spec.num_axes[0]
    if num_axes:
        values = _as_maps(inputs, num_axes)
    else:
        values = inputs.transpose(-1, -2).expand(num_networks, -1, -1)
    outputs = channel_first_layers(spec, params, values, on_hidden=on_hidden)
    return [
        _turned(output, axes).expand(num_networks, *[-1] * (axes + 2))
        for output, axes in zip(outputs, spec.num_axes, strict=True)
    ]


def channel_first_layers(
    spec: NetworkSpec,
    params: Float[Tensor, "N num_params"],
    values: Float[Tensor, "..."],
    *,
    on_hidden: OnHidden | None = None,
) -> list[Float[Tensor, "..."]]:
    """Outputs of every layer as they are kept (see above), the inputs first.

    Args:
        spec: the architecture.
        params: flat parameters of the networks.
        values: `[N, in, points]`, or images `[points, N, in, *places]` (1 instead of N where all
            networks see the same).
    """
    tensors = spec.parameters.unflatten(params)
    outputs = [values]
    for index, layer in enumerate(spec.layers):
        weight, bias = tensors[f"layers.{index}.weight"], tensors.get(f"layers.{index}.bias")
        if layer.conv is not None:
            total = _convolve(outputs[-1], weight, bias, layer.conv)
        else:
            total = torch.bmm(weight, _read(outputs[-1], layer, spec.num_axes[index]))
            total = total if bias is None else total + bias.unsqueeze(-1)
        axis = -1 - (spec.num_axes[index + 1] or 1)
        for skip in layer.skips:
            total = add_first_channels(total, outputs[skip], axis=axis)
        activated = layer.activation(total)
        activated = activated + layer.offset if layer.offset else activated
        if on_hidden is not None and index + 1 < len(spec.layers):
            axes = spec.num_axes[index + 1]
            activated = _turned(on_hidden(_turned(activated, axes), index + 1), axes)
        outputs.append(activated)
    return outputs


def _turned(values: Tensor, num_axes: int) -> Tensor:
    """From the order in which values are kept to `[N, points, width, *places]`, or back."""
    return values.transpose(0, 1) if num_axes else values.transpose(1, 2)


def _as_maps(images: Tensor, num_axes: int) -> Float[Tensor, "points N in ..."]:
    if images.ndim not in (num_axes + 2, num_axes + 3):
        raise NNGraphsError(
            f"run networks that convolve over {num_axes} axes",
            found=f"the inputs are of the shape {list(images.shape)}.",
            do="Give [points, in, *places], or [N, points, in, *places] for inputs of their own.",
        )
    return images.unsqueeze(1) if images.ndim == num_axes + 2 else images.transpose(0, 1)


def _convolve(
    values: Float[Tensor, "points N_or_1 in ..."],
    weight: Float[Tensor, "N out in ..."],
    bias: Float[Tensor, "N out"] | None,
    conv: ConvSpec,
) -> Float[Tensor, "points N out ..."]:
    result = CONVOLVE[conv.num_axes](
        values.flatten(1, 2),
        weight.flatten(0, 1),
        None if bias is None else bias.flatten(),
        stride=conv.stride,
        padding=conv.padding,
        groups=values.shape[1],
    )
    return result.unflatten(1, weight.shape[:2])


def _read(values: Tensor, layer: LayerSpec, num_axes: int) -> Float[Tensor, "N width points"]:
    """What a linear layer reads of values with `num_axes` axes of places."""
    if not num_axes:
        return values
    if layer.num_places is None:
        return values.flatten(3).mean(-1).permute(1, 2, 0)
    return values.flatten(2).permute(1, 2, 0)
