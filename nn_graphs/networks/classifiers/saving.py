"""The state of an interrupted training, in one file that is whole or not there."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.classifiers.step import NetworkState
from nn_graphs.whole_files import whole_file


def write_state(
    file: str | Path, state: NetworkState, epoch: int, kept: Any, fingerprint: str
) -> None:
    """Writes the state after `epoch` epochs; `kept` is tensors, numbers and texts."""
    content = {"epoch": epoch, "kept": kept, "of": _hash(state, fingerprint)}
    with whole_file(file) as partial, partial.open("wb") as stream:
        torch.save(content | {"state": state._asdict()}, stream)


def read_state(file: str | Path, state: NetworkState, fingerprint: str) -> tuple[int, Any]:
    """Fills `state` from the file; returns the epochs done, and what was kept, on the CPU.

    Raises:
        NNGraphsError: the file is of another training.
    """
    content = torch.load(file, map_location="cpu", weights_only=True)
    if content["of"] != _hash(state, fingerprint):
        raise NNGraphsError(
            f"go on with the training in {file}",
            found="it is of other networks, data, recipes or epochs.",
            do="Repeat the options of the interrupted run, or delete the file.",
        )
    for name, value in content["state"].items():
        if value is not None:
            getattr(state, name).copy_(value)
    return content["epoch"], content["kept"]


def _hash(state: NetworkState, fingerprint: str) -> str:
    shapes = [None if value is None else list(value.shape) for value in state]
    return hashlib.sha256(f"{shapes} {state.params.dtype} {fingerprint}".encode()).hexdigest()
