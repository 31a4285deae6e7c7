"""An accelerator that is none: device faults show on a machine that has no GPU.

Within `pseudo_accelerator`, tensors on the device "pseudo" are computed in the CPU's memory. What
fails on a GPU fails here: an operation that mixes devices (single numbers of the CPU are let
through, as torch does), a generator of the CPU that draws on the device, numpy. Stricter than a
GPU: indices have to be on the device too, and writing its values into a tensor of the CPU, which
torch does without a word, is an error; what is to leave says so (`cpu`, `to`, `item`, `tolist`).

It is torch's Python backend under PrivateUse1. What that cannot do, so that no test asks for it:

- torch.compile: the compiler knows no code for the device. `torch.func` works, one by one.
- Memory: tensors have none, so that there is no `data_ptr`, no sharing between processes, no
  `torch.load(map_location="pseudo")`, and `module.to` makes new parameters, after which an
  optimizer has to be made.
- Several devices, streams, pinned memory, autocast, fused kernels, other orders of summation.
- Backward passes in threads of the device: torch starts these once in a process, for the devices
  that it then has. They run in the thread that asks for them.
- Generators: torch lets no Python backend make any. They are of the CPU underneath.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "pseudo"
CPU = torch.device("cpu")
aten = torch.ops.aten
JOINING = (aten.cat.default, aten.stack.default)  # on a GPU, of tensors of the GPU alone
MAKING = ("arange", "arange.start", "arange.start_step", "eye", "eye.m", "tril_indices")
"""Operations whose results torch would change in size, which a tensor without memory cannot."""


@contextmanager
def pseudo_accelerator() -> Iterator[torch.device]:
    """Within it, there is this device; torch goes on knowing its name afterwards."""
    module = _registered_module()
    before, torch.Generator = torch.Generator, _Generators
    module.is_there = True
    try:
        with torch.autograd.set_multithreading_enabled(False):
            yield torch.device(NAME, 0)
    finally:
        module.is_there, torch.Generator = False, before


class PseudoTensor(Tensor):
    """A tensor without memory that says it is on the device.

    Attributes:
        inner: its values, on the CPU.
    """

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor):
        with torch.inference_mode(False):  # views of what was made outside of it stay outside
            outer = Tensor._make_wrapper_subclass(
                cls,
                inner.shape,
                strides=inner.stride(),
                storage_offset=inner.storage_offset(),
                dtype=inner.dtype,
                device=torch.device(NAME, 0),
            )
        outer.inner = inner
        return outer

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return run(operation, *args, **kwargs or {})

    def tolist(self) -> Any:  # torch would look into its memory
        return self.inner.tolist()

    def __reduce_ex__(self, protocol: int) -> tuple:
        """Files hold values and device; `torch.load` brings them there, or to the CPU."""
        return _read, (self.inner, self.requires_grad)

    def __repr__(self) -> str:
        return f"{NAME}({self.inner!r})"


def _read(values: Tensor, requires_grad: bool) -> Tensor:
    place = torch.serialization._serialization_tls.map_location
    values = values.to(NAME) if place is None else values  # which otherwise are where they should
    return values.requires_grad_(requires_grad)


torch.serialization.add_safe_globals([_read])


def run(operation, *args: Any, **kwargs: Any) -> Any:
    """One operation of torch on the CPU, after a look at where its tensors say they are.

    Raises:
        RuntimeError: they are on several devices.
    """
    if operation in (aten.copy_.default, aten._copy_from.default):
        return _copy(operation, *args)
    tensors = [value for value in _flat((args, *kwargs.values())) if isinstance(value, Tensor)]
    ours = [value for value in tensors if isinstance(value, PseudoTensor)]
    if ours and operation is not aten._to_copy.default:
        _check_one_device(operation, tensors)
    device = kwargs.get("device")
    stays = bool(ours) if device is None else _is_ours(device)
    _check_generator(operation, kwargs.get("generator"), stays)
    if stays and device is not None:
        kwargs = {**kwargs, "device": CPU}
    named = {name: _mapped(_inner, value) for name, value in kwargs.items()}
    result = operation(*_mapped(_inner, args), **named)
    if not stays:
        return result
    known = {id(value.inner): value for value in ours}
    return _mapped(partial(_outer, known), result)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Of tensors in lists and tuples, as operations take and give them."""
    if isinstance(value, list | tuple):
        return type(value)([_mapped(function, each) for each in value])
    return function(value)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, PseudoTensor) else value


def _outer(known: dict[int, PseudoTensor], value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    outer = known.get(id(value))
    if outer is None:
        return PseudoTensor(value)
    if outer.shape != value.shape or outer.stride() != value.stride():
        outer.data = PseudoTensor(value)  # its shape was changed in place
    return outer


def _copy(operation, first: Tensor, second: Tensor, *_: Any) -> Tensor:
    target, source = (first, second) if operation is aten.copy_.default else (second, first)
    if not isinstance(target, PseudoTensor):
        raise RuntimeError(f"values {list(source.shape)} leave {NAME} without a word")
    target.inner.copy_(source.inner if isinstance(source, PseudoTensor) else source)
    return target


def _check_one_device(operation, tensors: list[Tensor]) -> None:
    theirs = [
        tuple(value.shape)
        for value in tensors
        if not isinstance(value, PseudoTensor) and (value.dim() or operation in JOINING)
    ]
    if theirs or (_writes(operation) and not isinstance(tensors[0], PseudoTensor)):
        raise RuntimeError(f"{operation} mixes devices: {theirs or 'its target'} on the CPU")


@cache
def _writes(operation) -> bool:
    arguments = operation._schema.arguments
    return bool(arguments) and arguments[0].is_write


def _check_generator(operation, generator: torch.Generator | None, is_ours: bool) -> None:
    if generator is not None and (generator._cdata in _generators) != is_ours:
        raise RuntimeError(f"{operation} on {NAME if is_ours else CPU} draws by another generator")


def _is_ours(device: torch.device | str) -> bool:
    return torch.device(device).type == NAME


_CPUGenerator = torch.Generator


class _PseudoGenerator(_CPUGenerator):
    def __init__(self):
        _generators[self._cdata] = self  # operations get another Python object

    @property
    def device(self) -> torch.device:
        return torch.device(NAME, 0)


_generators: WeakValueDictionary[int, _PseudoGenerator] = WeakValueDictionary()


class _OfAnyDevice(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _CPUGenerator)

    def __call__(cls, device: torch.device | str = "cpu") -> torch.Generator:
        return _PseudoGenerator() if _is_ours(device) else _CPUGenerator(device)


class _Generators(metaclass=_OfAnyDevice):
    """`torch.Generator`, of this device too."""


class _Module(_DummyBackendModule):
    """What torch calls `torch.pseudo`."""

    is_there = False

    def is_available(self) -> bool:
        return self.is_there

    def device_count(self) -> int:
        return int(self.is_there)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:  # asked where it is switched off too
        return []


@cache
def _registered_module() -> _Module:
    """Tells torch of the device, once in a process."""
    torch.ones((), requires_grad=True).backward()  # threads of autograd: before there is a device
    module = _Module()
    _setup_privateuseone_for_python_backend(NAME, module)
    fallback = torch.library.Library("_", "IMPL")  # for operations none of whose arguments is ours
    fallback.fallback(run, "PrivateUse1")
    own = torch.library.Library("aten", "IMPL", "PrivateUse1")
    for name in ("_copy_from", *MAKING):
        packet, _, overload = name.partition(".")
        own.impl(name, partial(run, getattr(getattr(aten, packet), overload or "default")))
    module.libraries = fallback, own  # which hold as long as they are there
    return module
