"""Files of the safetensors format, read by its own library. No code in them can run.

Tensors of integers, and of eight or fewer bits, are left out: no weights are among them.
"""

import re

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from nn_graphs.zoos.readers.report import Reason, Skipped

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def parse_safetensors(content: bytes) -> dict[str, Tensor]:
    """The floating-point tensors of a file, in natural order (`net.2` before `net.10`).

    The format keeps no order of its own: files are written sorted by name.

    Raises:
        Skipped: the content is damaged, or has a kind of numbers that torch lacks.
    """
    try:
        tensors = load(content)
    # A kind of numbers that torch lacks is a KeyError.
    except (SafetensorError, KeyError) as error:
        raise Skipped(Reason.DAMAGED, f"it is no safetensors file: {_cause(error)}.") from error
    return {
        name: tensors[name]
        for name in sorted(tensors, key=_natural)
        if tensors[name].dtype in DTYPES
    }


def _cause(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"its tensors are of the kind {error}, which torch has not"
    return re.sub("^Error while deserializing( header)?: ", "", str(error)).rstrip(".")


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts numbers in a name by their value."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
