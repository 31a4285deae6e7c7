"""Plain pickles of arrays and tensors, read without running what they name.

A pickle is a program that calls what it names. The reader here hands it stand-ins for a fixed list
of names: what rebuilds arrays of numpy and tensors of torch, and `Fields` for harmless objects. Any
other name ends the reading. Stand-ins are made anew for each file and refuse to be changed by it.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

NUMPY = ("numpy.core", "numpy._core")  # before and since numpy 2


class _StandIn:
    """A function that a pickle may call, and not change."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable):
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function would be changed")


class _DType:
    """A type of numpy, whose order of bytes comes as state."""

    def __init__(self, code: str, *_: Any):
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    def made(self) -> np.dtype:
        kind = np.dtype(self.code).newbyteorder(self.order if self.order in "<>" else "=")
        if kind.hasobject:
            raise pickle.UnpicklingError("an array of objects")
        return kind


class _Array:
    """An array of numpy, whose contents come as state."""

    def __init__(self):
        self.values = np.empty(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, is_fortran, content = state
        self.values = _from_buffer(content, kind, shape, "F" if is_fortran else "C")


def is_plain_pickle(content: bytes) -> bool:
    """Whether bytes begin as a pickle; one of protocol 2 may also be a file of `torch.save`."""
    return len(content) > 1 and content[0] == 0x80 and 2 <= content[1] <= pickle.HIGHEST_PROTOCOL


def load_plain_pickle(content: bytes, *, harmless: Callable[[str], type | None]) -> Any:
    """What `pickle.dump` has written: containers, numbers and texts, arrays as tensors.

    Args:
        content: the bytes of the file.
        harmless: the class that stands for one of this name; None: it may not be named.

    Raises:
        pickle.UnpicklingError: it names what is not known ("GLOBAL name"), or is damaged.
    """
    return as_tensors(_Reader(content, harmless).load())


class _Reader(pickle.Unpickler):
    def __init__(self, content: bytes, harmless: Callable[[str], type | None]):
        super().__init__(io.BytesIO(content))
        self._harmless = harmless
        self._known: dict[str, Any] = _stand_ins()

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        found = self._known.get(path) or self._harmless(path)
        if found is None:
            raise pickle.UnpicklingError(f"GLOBAL {path} is not known")
        return found


def numpy_stand_ins() -> dict[str, Callable]:
    """What arrays and numbers of numpy name in a pickle, but for their bytes."""
    known = {
        "numpy.ndarray": type("Array", (_Array,), {}),
        "numpy.dtype": type("DType", (_DType,), {}),
    }
    for numpy in NUMPY:
        known[f"{numpy}.multiarray._reconstruct"] = _reconstruct
        known[f"{numpy}.multiarray.scalar"] = _scalar
    return known


def _stand_ins() -> dict[str, Any]:
    """By the names in pickles."""
    known = {
        "collections.OrderedDict": _StandIn(OrderedDict),
        **{name: _StandIn(made) for name, made in numpy_stand_ins().items()},
        "_codecs.encode": _StandIn(_encoded),
        "torch._utils._rebuild_tensor_v2": _StandIn(_tensor),
        "torch._utils._rebuild_parameter": _StandIn(lambda tensor, *_: tensor),
        "torch.storage._load_from_bytes": _StandIn(_storage),
    }
    for numpy in NUMPY:
        known[f"{numpy}.numeric._frombuffer"] = _StandIn(_from_buffer)
    return known


def _reconstruct(kind: Callable[[], _Array], *_: Any) -> _Array:
    return kind()


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes as protocol 2 writes them."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"an encoding {encoding!r}")
    return text.encode("latin1")


def _from_buffer(content: Any, kind: _DType, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(content, dtype=kind.made()).reshape(shape, order=order)


def _scalar(kind: _DType, content: bytes) -> int | float | bool:
    return np.frombuffer(content, dtype=kind.made())[0].item()


def _storage(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    return torch._utils._rebuild_tensor(storage, offset, size, stride).detach()


def as_tensors(value: Any) -> Any:
    """What was read, with its arrays as tensors; those of texts as lists."""
    if isinstance(value, _Array):
        value = value.values
    if isinstance(value, np.ndarray):
        native = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
        return torch.from_numpy(native) if native.dtype.kind in "fiubc" else native.tolist()
    if isinstance(value, dict):
        return {key: as_tensors(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_tensors(entry) for entry in value]
    return value
