"""Checkpoints that hold objects beside weights, read without their classes.

A pickled object is the name of its class and its fields. Torch's restricted unpickler is told that
every name it does not know stands for `Fields`, which keeps the fields and does nothing; the class
itself is never looked up, imported or called.
"""

import io
from collections.abc import Iterable, Mapping
from pickle import UnpicklingError
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals


class Fields:
    """What was pickled of an object: the arguments of its class, and its fields."""

    def __new__(cls, *arguments: Any) -> "Fields":
        """As pickle makes an object: without its `__init__`."""
        made = super().__new__(cls)
        made.arguments = arguments
        return made


def _empty_dict(*arguments: Any) -> dict:
    return {}


STAND_INS = {"collections.defaultdict": _empty_dict}  # whose items are pickled behind it


class ObjectReader:
    """Reads checkpoints as `torch.load` does, objects as `Fields`; remembers names of classes."""

    def __init__(self):
        self._names: set[str] = set()

    def load(self, content: bytes) -> Any:
        """What the bytes of a file hold.

        Raises:
            Exception: whatever `torch.load` raises for what it cannot read.
        """
        try:
            return self._load(content)
        except UnpicklingError:
            names = set(get_unsafe_globals_in_checkpoint(io.BytesIO(content)))
            if names <= self._names:
                raise
            self._names |= names
            return self._load(content)

    def _load(self, content: bytes) -> Any:
        known = [(STAND_INS.get(name, Fields), name) for name in sorted(self._names)]
        with safe_globals(known):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def plain(value: Any) -> Any:
    """Configurations of OmegaConf as dictionaries, lists and values; objects of others as None."""
    if isinstance(value, Fields):
        fields = vars(value)
        inner = fields.get("_content", fields.get("_val"))
        return None if inner is None else plain(inner)
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | torch.Tensor):
        return [plain(entry) for entry in value]
    return value
