"""Fingerprints: short texts by which contents are told from others, so that records stay small."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

PLACE_IN_MEMORY = re.compile(r" at 0x[0-9a-f]+")  # differs from process to process


def fingerprint(parts: Iterable[str | Tensor]) -> str:
    """16 hexadecimal digits that equal texts and tensors share, in this order.

    Of tensors, types and shapes count too. Each is read once, without a copy where it lies whole in
    the memory of the processor, so that large arrays may be given in blocks.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"tensor {part.dtype} {list(part.shape)}\n".encode())
            flat = part.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy())
        else:
            content = part.encode()
            digest.update(f"text {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def settings_of(thing: object) -> dict[str, Any]:
    """Public attributes of an object that are plain: numbers, texts, None, and lists of these."""
    return {
        name: value
        for name, value in vars(thing).items()
        if not name.startswith("_") and _is_plain(value)
    }


def describe_module(module: nn.Module) -> str:
    """What a module and those in it are, with their plain settings, shown by `repr` or not.

    Values of parameters and buffers, and whether it is in training mode, do not count.
    """
    lines = [repr(module)]
    for name, part in module.named_modules():
        settings = {key: value for key, value in settings_of(part).items() if key != "training"}
        lines.append(f"{name} {type(part).__qualname__} {settings}")
    return PLACE_IN_MEMORY.sub("", "\n".join(lines))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
