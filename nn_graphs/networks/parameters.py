"""The flat parameter vector of an architecture: which tensor lies where.

`N` networks of one architecture are one tensor `params [N, num_params]`. A slot is one distinct
storage of `named_parameters()`; names that share a storage (tied weights) are its aliases.
Floating-point buffers come behind the parameters; integer buffers hold no weights and are left out.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError


@dataclass(frozen=True)
class ParameterSlot:
    """One tensor inside the flat vector: `params[..., offset : offset + size]`."""

    name: str
    shape: tuple[int, ...]
    offset: int
    aliases: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        return self.offset + self.size

    def part(self, first: int, shape: tuple[int, ...]) -> "ParameterSlot":
        """The elements from `first` on as a tensor of their own; all of them are the slot."""
        if (first, shape) == (0, self.shape):
            return self
        stop = first + math.prod(shape)
        return ParameterSlot(f"{self.name}[{first}:{stop}]", shape, self.offset + first)


@dataclass(frozen=True)
class ParameterLayout:
    """All slots of an architecture, in the order of the flat vector."""

    slots: tuple[ParameterSlot, ...]

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, tuple[int, ...]]) -> "ParameterLayout":
        slots, offset = [], 0
        for name, shape in shapes.items():
            slots.append(ParameterSlot(name, tuple(shape), offset))
            offset += slots[-1].size
        return cls(tuple(slots))

    @classmethod
    def from_module(cls, module: nn.Module) -> "ParameterLayout":
        """Slots of `module`: parameters first, then floating-point buffers, aliases folded.

        Masks of `torch.nn.utils.prune` are left out: they are constants, as boolean ones are.
        """
        names: dict[int, list[str]] = {}
        tensors: dict[int, Tensor] = {}
        stored = module.state_dict(keep_vars=True)
        candidates = [
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
        ]
        for name, tensor in candidates:
            if name in stored and tensor.is_floating_point() and not _is_mask(name, stored):
                names.setdefault(id(tensor), []).append(name)
                tensors[id(tensor)] = tensor
        slots, offset = [], 0
        for key, (first, *aliases) in names.items():
            slots.append(ParameterSlot(first, tuple(tensors[key].shape), offset, tuple(aliases)))
            offset += slots[-1].size
        return cls(tuple(slots))

    @property
    def num_params(self) -> int:
        return sum(slot.size for slot in self.slots)

    def slot(self, name: str) -> ParameterSlot:
        """The slot called `name`, or of which `name` is an alias."""
        for slot in self.slots:
            if name == slot.name or name in slot.aliases:
                return slot
        raise KeyError(name)

    def view(self, params: Float[Tensor, "*batch num_params"], slot: ParameterSlot) -> Tensor:
        """The tensor of one slot, `[*batch, *slot.shape]`, as a view."""
        return _shaped(params[..., slot.offset : slot.offset + slot.size], slot)

    def unflatten(self, params: Float[Tensor, "*batch num_params"]) -> dict[str, Tensor]:
        """`params` as a state dict of views, aliases included.

        Raises:
            NNGraphsError: the vectors are of another length.
        """
        if params.shape[-1] != self.num_params:
            raise NNGraphsError(
                f"divide flat vectors into the {len(self.slots)} tensors of an architecture",
                found=f"they are {params.shape[-1]} long instead of {self.num_params}.",
                do="Use the parameters of networks of this architecture.",
            )
        parts = params.split([slot.size for slot in self.slots], -1)  # one node for gradients
        return {
            name: _shaped(part, slot)
            for slot, part in zip(self.slots, parts, strict=True)
            for name in (slot.name, *slot.aliases)
        }

    def flatten(self, source: nn.Module | Mapping[str, Tensor]) -> Float[Tensor, "num_params"]:
        """The flat vector of a module or a state dict, checked against this layout.

        A tied weight may stand under any of its names.

        Raises:
            NNGraphsError: a tensor is missing, is left over or has another shape; or this is
                neither a module nor a state dict.
        """
        state = source.state_dict() if isinstance(source, nn.Module) else source
        if not isinstance(state, Mapping):
            raise NNGraphsError(
                f"read {len(self.slots)} tensors of an architecture",
                found=f"this is a {type(source).__name__}, neither a module nor a state dict.",
                do="Load a file first, e.g. by torch.load(path, weights_only=True).",
            )
        found = [_find(state, slot) for slot in self.slots]
        self._check(state, found)
        return torch.cat([tensor.detach().reshape(-1) for tensor in found])

    def _check(self, state: Mapping[str, Tensor], found: list[Tensor | None]) -> None:
        known = {name for slot in self.slots for name in (slot.name, *slot.aliases)}
        faults = [
            f"{slot.name}: {'nothing' if tensor is None else list(tensor.shape)} "
            f"instead of {list(slot.shape)}"
            for slot, tensor in zip(self.slots, found, strict=True)
            if tensor is None or tuple(tensor.shape) != slot.shape
        ]
        faults += [
            f"{name}: not in the architecture"
            for name, value in state.items()
            if name not in known
            and isinstance(value, Tensor)
            and value.is_floating_point()
            and not _is_mask(name, state)
        ]
        if faults:
            raise NNGraphsError(
                f"read {len(self.slots)} tensors of an architecture from a state dict",
                found=f"{len(faults)} do not fit, the first is {faults[0]}.",
                do="Use the state dict of a network of this architecture.",
            )


def _shaped(flat: Float[Tensor, "*batch size"], slot: ParameterSlot) -> Tensor:
    return flat.unflatten(-1, slot.shape) if slot.shape else flat.squeeze(-1)


def _find(state: Mapping[str, Tensor], slot: ParameterSlot) -> Tensor | None:
    names = (name for name in (slot.name, *slot.aliases) if name in state)
    name = next(names, None)
    return None if name is None else state[name]


def _is_mask(name: str, names: Collection[str]) -> bool:
    """Whether a buffer is a mask of `torch.nn.utils.prune`."""
    return name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in names
