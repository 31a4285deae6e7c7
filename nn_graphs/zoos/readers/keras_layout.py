"""Where the tensors of a Keras model lie in a flat vector, and the same vector in torch's order.

Keras has kernels `[height, width, in, out]` and matrices `[in, out]`; torch has `[out, in, height,
width]` and `[out, in]`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.spec import NetworkSpec

AXES = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}  # torch's axes as numbers of Keras's
SHAPE = re.compile(r"\s*[(\[]?\s*\d+(?:[\s,]+\d+)*[\s,]*[)\]]?\s*")


def torch_columns(
    path: str | Path, spec: NetworkSpec, *, num_columns: int
) -> Int[np.ndarray, "num_params"]:
    """Which column of the stored vectors each parameter of `spec` is.

    Args:
        path: the layout, a CSV file with the columns `varname`, `start_idx`, `end_idx`, `shape`.
        spec: the architecture; its weights, and its biases, are in the order of the file.
        num_columns: of the stored vectors.

    Raises:
        NNGraphsError: the file does not describe this architecture, or a row of it is wrong.
    """
    try:
        rows = pd.read_csv(path)[["varname", "start_idx", "end_idx", "shape"]].to_dict("records")
        tensors = [_tensor(row, num_columns) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _bad_layout(path, f"{error}.") from error
    kinds: Mapping[bool, Iterator[np.ndarray]] = {
        is_bias: iter([tensor for tensor in tensors if (tensor.ndim == 1) == is_bias])
        for is_bias in (False, True)
    }
    found = [next(kinds[len(slot.shape) == 1], None) for slot in spec.parameters.slots]
    for slot, tensor in zip(spec.parameters.slots, found, strict=True):
        shape = None if tensor is None else tensor.shape
        if shape != slot.shape:
            there = "nothing" if shape is None else f"a tensor {list(shape)}"
            raise _bad_layout(path, f"it has {there} for {slot.name} {list(slot.shape)}.")
    columns = np.concatenate([tensor.reshape(-1) for tensor in found])
    if len(tensors) != len(found) or len(np.unique(columns)) != num_columns:
        raise _bad_layout(
            path,
            f"its {len(tensors)} tensors hold {len(np.unique(columns))} different columns, there "
            f"are {num_columns}.",
        )
    return columns


def _tensor(row: Mapping[str, Any], num_columns: int) -> Int[np.ndarray, "..."]:
    """The columns of a tensor, with torch's axes."""
    name, start, end = str(row["varname"]), int(row["start_idx"]), int(row["end_idx"])
    if not SHAPE.fullmatch(str(row["shape"])):
        raise ValueError(f"{name} has the shape {row['shape']!r}, no tuple of numbers")
    shape = tuple(map(int, re.findall(r"\d+", str(row["shape"]))))
    if not 0 <= start < end <= num_columns:
        raise ValueError(f"{name} is columns {start} to {end} of {num_columns}")
    if np.prod(shape) != end - start:
        raise ValueError(f"{name} {list(shape)} is {end - start} columns")
    is_bias = name.endswith("bias:0")
    if not (is_bias or name.endswith("kernel:0")) or (len(shape) == 1) != is_bias:
        raise ValueError(f"{name} {list(shape)} is neither a kernel nor a bias")
    if len(shape) not in AXES:
        raise ValueError(f"{name} {list(shape)} is neither an image's kernel nor a matrix")
    return np.arange(start, end).reshape(shape).transpose(AXES[len(shape)])


def _bad_layout(path: str | Path, found: str) -> NNGraphsError:
    return NNGraphsError(
        f"read the layout of weights in {path}",
        found=found,
        do="Give the file as its publisher packed it, with the weights that it belongs to.",
    )
