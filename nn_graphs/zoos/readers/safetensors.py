"""The safetensors format: a length, a JSON table of tensors, their bytes. No code in it can run.

    8 bytes   length n of the table, little-endian
    n bytes   JSON: name -> {"dtype", "shape", "data_offsets": [begin, end]}, and "__metadata__"
    the rest  the tensors, little-endian, row-major; offsets count from here

Tensors of integers are left out: no weights are among them.
"""

import json
import math
import re

import torch
from torch import Tensor

from nn_graphs.zoos.readers.report import Reason, Skipped

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
LENGTH_BYTES = 8


def parse_safetensors(content: bytes) -> dict[str, Tensor]:
    """The floating-point tensors of a file, in natural order (`net.2` before `net.10`).

    The format keeps no order of its own: files are written sorted by name.

    Raises:
        Skipped: the content is damaged.
    """
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    start = LENGTH_BYTES + length
    if start > len(content):
        raise _damaged(f"its table should be {length} bytes long, the file is {len(content)}")
    try:
        entries = json.loads(content[LENGTH_BYTES:start])
        entries.pop("__metadata__", None)
        return {
            name: _tensor(content[start:], **entries[name])
            for name in sorted(entries, key=_natural)
            if entries[name]["dtype"] in DTYPES
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(f"its table of tensors makes no sense ({error})") from error


def _tensor(data: bytes, *, dtype: str, shape: list[int], data_offsets: list[int]) -> Tensor:
    begin, end = data_offsets
    num_bytes = math.prod(shape) * DTYPES[dtype].itemsize
    if not 0 <= begin <= end <= len(data) or end - begin != num_bytes:
        raise ValueError(f"{shape} of {dtype} at {begin} to {end} of {len(data)} bytes")
    if num_bytes == 0:
        return torch.empty(shape, dtype=DTYPES[dtype])
    return torch.frombuffer(bytearray(data[begin:end]), dtype=DTYPES[dtype]).reshape(shape)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts numbers in a name by their value."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _damaged(cause: str) -> Skipped:
    return Skipped(Reason.DAMAGED, f"it is no safetensors file: {cause}.")
