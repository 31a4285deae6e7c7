"""Masks on the weights of any module, as parametrizations: `module.weight` is masked for whoever
reads it, in forward, in `torch.export` and elsewhere.

Weights are called by the names they had before (`"0.weight"`), which are those of
`named_parameters()` of the unpruned module. A parameter that stands in several places has one mask,
called by its first name. Values under a mask are kept, and get no gradient.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nn_graphs.errors import NNGraphsError

Masks = dict[str, Tensor]
MASK_IN_STATE = ".parametrizations."


class PruningMask(nn.Module):
    """Zeros where the mask is false.

    Attributes:
        mask: a boolean buffer of the weight's shape.
        passes_all_gradients: whether masked weights get the gradient that they would have if they
            were there (with the value 0), as for growing them.
        order: the parameters of the layer before any was masked, so that they stay in order.
    """

    mask: Tensor

    def __init__(self, mask: Bool[Tensor, "*shape"], order: tuple[str, ...] = ()):
        super().__init__()
        self.register_buffer("mask", mask)
        self.order = order
        self.passes_all_gradients = False

    def forward(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        absent = weight - weight.detach() if self.passes_all_gradients else 0.0
        return torch.where(self.mask, weight, absent)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


@dataclass(frozen=True, eq=False)
class Place:
    """Where a weight stands: the attribute of a layer."""

    layer: nn.Module
    attribute: str

    @property
    def original(self) -> nn.Parameter:
        """The parameter that is trained, without masks."""
        if parametrize.is_parametrized(self.layer, self.attribute):
            return self.layer.parametrizations[self.attribute].original
        own = self.layer._parameters.get(self.attribute)
        return own if own is not None else self.layer._parameters[f"{self.attribute}_orig"]

    @property
    def mask(self) -> PruningMask | None:
        """Our mask, where there is one."""
        if not parametrize.is_parametrized(self.layer, self.attribute):
            return None
        steps = self.layer.parametrizations[self.attribute]
        return next((step for step in steps if isinstance(step, PruningMask)), None)

    @property
    def is_masked_by_torch(self) -> bool:
        """Whether `torch.nn.utils.prune` has a mask on it."""
        return f"{self.attribute}_mask" in self.layer._buffers


def weight_places(module: nn.Module) -> dict[str, list[Place]]:
    """All parameters by their plain names, with the places that share them."""
    names: dict[int, str] = {}
    places: dict[str, list[Place]] = {}
    for path, layer in module.named_modules():
        if "parametrizations" in path.split("."):
            continue
        for attribute in _attributes(layer):
            place = Place(layer, attribute)
            name = names.setdefault(id(place.original), f"{path}.{attribute}".lstrip("."))
            places.setdefault(name, []).append(place)
    return places


def _attributes(layer: nn.Module) -> list[str]:
    """Plain names of a layer's own parameters."""
    own = [name for name, parameter in layer._parameters.items() if parameter is not None]
    by_torch = {f"{name.removesuffix('_mask')}_orig" for name in layer._buffers}
    found = [name.removesuffix("_orig") if name in by_torch else name for name in own]
    if parametrize.is_parametrized(layer):
        found += [
            name for name, steps in layer.parametrizations.items() if hasattr(steps, "original")
        ]
    order = _order_of(layer)
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def _order_of(layer: nn.Module) -> tuple[str, ...]:
    """The parameters of a layer as they were before any was masked."""
    if parametrize.is_parametrized(layer):
        for steps in layer.parametrizations.values():
            for step in (step for step in steps if isinstance(step, PruningMask)):
                return step.order
    return tuple(layer._parameters)


def prunable_names(module: nn.Module) -> list[str]:
    """Plain names of all parameters of two axes or more: of weights, not of biases and norms."""
    places = weight_places(module)
    return [name for name, own in places.items() if own[0].original.dim() > 1]


def check_names(module: nn.Module, names: Sequence[str], *, asked: str) -> None:
    """Raises where parameters are not there, or there is none to prune."""
    places = weight_places(module)
    unknown = [name for name in names if name not in places]
    if unknown or not names:
        known = ", ".join(list(places)[:4]) or "none"
        raise NNGraphsError(
            asked,
            found=f"there is no parameter {unknown[0]!r}." if unknown else "no weight is named.",
            do=f"Name parameters of the module; it has {known}{'...' * (len(places) > 4)}.",
        )


def original_weights(module: nn.Module, names: Sequence[str]) -> dict[str, nn.Parameter]:
    """The trained parameters, by plain names; values under masks are there."""
    places = weight_places(module)
    return {name: places[name][0].original for name in names}


def pruning_masks(module: nn.Module, names: Sequence[str] | None = None) -> Masks:
    """Masks by plain names: of all masked weights, or of these, with ones where there is none."""
    places = weight_places(module)
    if names is None:
        names = [name for name, own in places.items() if own[0].mask is not None]
    found: Masks = {}
    for name in names:
        mask, original = places[name][0].mask, places[name][0].original
        found[name] = mask.mask if mask else torch.ones_like(original, dtype=torch.bool)
    return found


def attach_masks(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Puts masks on weights, in the place of those that are there.

    Raises:
        NNGraphsError: there is no such parameter; or a mask is not boolean, or of another shape.
    """
    if not masks:
        return
    asked = f"mask weights of a {type(module).__name__}"
    check_names(module, list(masks), asked=asked)
    places = weight_places(module)
    for name, mask in masks.items():
        check_mask(name, mask, places[name][0].original, asked=asked)
    for name, mask in masks.items():
        for place in places[name]:
            _attach(place, mask)


def check_mask(name: str, mask: object, weight: Tensor, *, asked: str) -> None:
    """Raises where a mask is not a boolean tensor of the weight's shape."""
    if not isinstance(mask, Tensor):
        found = f"the mask of {name} is a {type(mask).__name__}"
    elif mask.dtype != torch.bool or mask.shape != weight.shape:
        found = f"the mask of {name} is {list(mask.shape)}, of {mask.dtype}"
    else:
        return
    do = f"Give a boolean tensor {list(weight.shape)}, true where weights stay."
    raise NNGraphsError(asked, found=f"{found}.", do=do)


def _attach(place: Place, values: Tensor) -> None:
    own = values.to(place.original.device, copy=True)
    if (before := place.mask) is not None:
        before.register_buffer("mask", own)
        return
    _part_from_copies(place.layer)
    mask = PruningMask(own, _order_of(place.layer))
    parametrize.register_parametrization(place.layer, place.attribute, mask)
    if isinstance(place.layer, nn.RNNBase) and _gather_weights not in _hooks(place.layer):
        place.layer.register_forward_pre_hook(_gather_weights)
        place.layer.register_forward_hook(_forget_weights, always_call=True)


def detach_mask(place: Place, *, keep_zeros: bool) -> None:
    """Takes a mask off a weight, which keeps the zeros, or gets the values under it back.

    Raises:
        NNGraphsError: other parametrizations are on the weight too.
    """
    if len(place.layer.parametrizations[place.attribute]) > 1:
        raise NNGraphsError(
            f"take the mask off {place.attribute} of a {type(place.layer).__name__}",
            found="other parametrizations are on it too.",
            do="Remove them together: torch.nn.utils.parametrize.remove_parametrizations.",
        )
    if keep_zeros:
        with torch.no_grad():
            place.original.copy_(getattr(place.layer, place.attribute))
    _part_from_copies(place.layer)
    order, own = _order_of(place.layer), place.layer._parameters
    parametrize.remove_parametrizations(place.layer, place.attribute, leave_parametrized=False)
    for name in [name for name in order if name in own]:
        own[name] = own.pop(name)
    if isinstance(place.layer, nn.RNNBase) and not parametrize.is_parametrized(place.layer):
        for hooks in (place.layer._forward_pre_hooks, place.layer._forward_hooks):
            for number in [n for n, h in hooks.items() if h in (_gather_weights, _forget_weights)]:
                del hooks[number]
        place.layer._forward_hooks_always_called.clear()
        place.layer._init_flat_weights()


def _part_from_copies(layer: nn.Module) -> None:
    """A class of its own for a parametrized layer.

    Torch makes one for each, with a property for each tensor, but copies share it: what is done to
    one would be done to all.
    """
    if parametrize.is_parametrized(layer):
        own = {k: v for k, v in vars(type(layer)).items() if k not in ("__dict__", "__weakref__")}
        layer.__class__ = type(type(layer).__name__, type(layer).__bases__, own)


def _hooks(layer: nn.Module) -> list:
    return list(layer._forward_pre_hooks.values())


def _gather_weights(layer: nn.RNNBase, inputs: tuple) -> None:
    """Recurrent layers read a list of their weights, not the attributes."""
    layer._flat_weights = [getattr(layer, name) for name in layer._flat_weights_names]


def _forget_weights(layer: nn.RNNBase, inputs: tuple, output: object) -> None:
    layer._flat_weights = [None] * len(layer._flat_weights_names)


def load_pruned(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads the state dict of a pruned module, with its masks, into an unpruned one of its kind."""
    masks: Masks = {}
    for name, value in state.items():
        path, found, rest = f".{name}".rpartition(MASK_IN_STATE)
        attribute, _, last = rest.partition(".")
        if found and last.endswith(".mask"):
            masks[f"{path}.{attribute}".lstrip(".")] = value
    known = weight_places(module)
    attach_masks(module, {name: mask for name, mask in masks.items() if name in known})
    module.load_state_dict(state)


@contextmanager
def all_gradients(module: nn.Module) -> Iterator[None]:
    """Inside of it, masked weights get gradients too."""
    masks = [layer for layer in module.modules() if isinstance(layer, PruningMask)]
    for mask in masks:
        mask.passes_all_gradients = True
    try:
        yield
    finally:
        for mask in masks:
            mask.passes_all_gradients = False
