"""A module as it computes: a stand-in that shares its tensors, with masks multiplied in.

What is traced is the stand-in, so that the module itself stays as it is: training mode, hooks,
gradients, parametrizations and their buffers. Weights that a module computes from others
(parametrizations, `torch.nn.utils.prune`, masked layers) are parameters of the stand-in.
"""

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod

from nn_graphs.networks.masked import (
    MaskedConv1d,
    MaskedConv2d,
    MaskedConv3d,
    MaskedLayer,
    MaskedLinear,
)

PLAIN = {
    MaskedLinear: nn.Linear,
    MaskedConv1d: nn.Conv1d,
    MaskedConv2d: nn.Conv2d,
    MaskedConv3d: nn.Conv3d,
}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def stand_in(module: nn.Module) -> nn.Module:
    """A module in evaluation mode that computes the same, on the same tensors.

    Submodules that stand in several places do so in the stand-in too.
    """
    return _copied(module, {})


def _copied(module: nn.Module, done: dict[int, nn.Module]) -> nn.Module:
    if id(module) in done:
        return done[id(module)]
    other = object.__new__(type(module))
    done[id(module)] = other
    other.__dict__.update(module.__dict__)
    other.training = False
    for name in ("_parameters", "_buffers", "_modules"):
        other.__dict__[name] = dict(module.__dict__[name])
    for name in HOOKS:
        other.__dict__[name] = OrderedDict(module.__dict__.get(name, {}))
    _fold_parametrizations(module, other)
    _fold_pruning(module, other)
    _fold_masks(module, other)
    for name, child in other._modules.items():
        other._modules[name] = None if child is None else _copied(child, done)
    return other


def _fold_parametrizations(module: nn.Module, other: nn.Module) -> None:
    """Weights of `torch.nn.utils.parametrize` become parameters."""
    if not parametrize.is_parametrized(module):
        return
    other.__class__ = parametrize.type_before_parametrizations(module)
    lists = other._modules.pop("parametrizations")
    for name, parametrizations in lists.items():
        own = copy.deepcopy(parametrizations).eval()  # some change their buffers when they run
        with torch.no_grad():
            _set_parameter(other, name, own())


def _fold_pruning(module: nn.Module, other: nn.Module) -> None:
    """Weights of `torch.nn.utils.prune` become parameters."""
    for key, hook in list(other._forward_pre_hooks.items()):
        if isinstance(hook, BasePruningMethod):
            del other._forward_pre_hooks[key]
            name = hook._tensor_name
            original = other._parameters.pop(f"{name}_orig")
            mask = other._buffers.pop(f"{name}_mask")
            other.__dict__.pop(name, None)
            _set_parameter(other, name, original.detach() * mask.to(original.dtype))


def _fold_masks(module: nn.Module, other: nn.Module) -> None:
    """Masked layers become plain ones, whose weights are zero where the mask is."""
    plain = PLAIN.get(type(module))
    if plain is not None and isinstance(module, MaskedLayer):
        other.__class__ = plain
        mask = other._buffers.pop("mask").to(module.weight.dtype)
        _set_parameter(other, "weight", module.weight.detach() * mask)


def _set_parameter(module: nn.Module, name: str, value: Tensor) -> None:
    module._parameters[name] = nn.Parameter(value.detach(), requires_grad=False)
