"""Modules that `torch.nn.utils.prune` has pruned: taken over, and handed back to it."""

from torch import nn
from torch.nn.utils import prune as torch_prune

from nn_graphs.networks.pruning.attached_masks import (
    Place,
    attach_masks,
    detach_mask,
    weight_places,
)


def take_over(module: nn.Module) -> None:
    """Masks of `torch.nn.utils.prune` become ours; values under them are kept."""
    masks = {}
    for name, places in weight_places(module).items():
        for place in (place for place in places if place.is_masked_by_torch):
            masks[name] = place.layer._buffers[f"{place.attribute}_mask"] != 0
            _free(place)
    attach_masks(module, masks)


def _free(place: Place) -> None:
    """The parameter under its own name, without torch's mask and hook."""
    layer, attribute = place.layer, place.attribute
    for number, hook in list(layer._forward_pre_hooks.items()):
        if isinstance(hook, torch_prune.BasePruningMethod) and hook._tensor_name == attribute:
            del layer._forward_pre_hooks[number]
    original = layer._parameters.pop(f"{attribute}_orig")
    del layer._buffers[f"{attribute}_mask"]
    vars(layer).pop(attribute, None)
    layer.register_parameter(attribute, original)


def hand_over(module: nn.Module) -> None:
    """Our masks become those of `torch.nn.utils.prune`, which goes on pruning from there.

    Raises:
        NNGraphsError: other parametrizations are on a masked weight too.
    """
    for places in weight_places(module).values():
        for place in places:
            if (mask := place.mask) is not None:
                detach_mask(place, keep_zeros=False)
                torch_prune.custom_from_mask(place.layer, place.attribute, mask.mask)


def forget_graphs(module: nn.Module) -> None:
    """Weights that torch's hooks have computed are detached, so that the module can be copied.

    They are computed anew in the next forward pass.
    """
    for places in weight_places(module).values():
        for place in (place for place in places if place.is_masked_by_torch):
            setattr(place.layer, place.attribute, getattr(place.layer, place.attribute).detach())
