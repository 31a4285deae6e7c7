"""Masks made permanent: plain modules whose pruned weights are zeros."""

import copy

import torch
from torch import nn

from nn_graphs.networks.masked import (
    MaskedConv,
    MaskedConv1d,
    MaskedConv2d,
    MaskedConv3d,
    MaskedLayer,
    MaskedLinear,
)
from nn_graphs.networks.pruning.attached_masks import detach_mask, weight_places
from nn_graphs.networks.pruning.torch_masks import forget_graphs, take_over

CONVOLUTIONS = {MaskedConv1d: nn.Conv1d, MaskedConv2d: nn.Conv2d, MaskedConv3d: nn.Conv3d}


def remove_masks(module: nn.Module) -> None:
    """Makes masks permanent, ours and torch's: weights are ordinary parameters with zeros.

    Raises:
        NNGraphsError: other parametrizations are on a masked weight too.
    """
    take_over(module)
    for places in weight_places(module).values():
        for place in (place for place in places if place.mask is not None):
            detach_mask(place, keep_zeros=True)


def plain_copy(module: nn.Module) -> nn.Module:
    """A copy without masks, whose layers are all torch's own where ours are masked ones.

    Raises:
        NNGraphsError: other parametrizations are on a masked weight too.
    """
    forget_graphs(module)
    new = copy.deepcopy(module)
    remove_masks(new)
    if isinstance(new, MaskedLayer):
        return _plain(new)
    for layer in list(new.modules()):
        for name, child in layer.named_children():
            if isinstance(child, MaskedLayer):
                setattr(layer, name, _plain(child))
    return new


def _plain(layer: MaskedLayer) -> nn.Module:
    """A masked layer as one of torch's."""
    with torch.no_grad():
        layer.apply_mask()
    if isinstance(layer, MaskedLinear):
        plain = nn.Linear(layer.in_features, layer.out_features, device="meta")
    elif isinstance(layer, MaskedConv):
        kind = next(plain for masked, plain in CONVOLUTIONS.items() if isinstance(layer, masked))
        plain = kind(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            device="meta",
        )
    else:
        return layer
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain.train(layer.training)
