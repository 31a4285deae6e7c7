"""Checkpoints of a run: plain data alone, so that reading one runs no code of whoever wrote it."""

import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nn_graphs.errors import NNGraphsError


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises:
        NNGraphsError: it cannot be read, or holds more than tensors, numbers, texts and lists.
    """
    try:
        with warnings.catch_warnings():
            # of what another program wrote, and which is refused right after
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    # torch's own advice is to run what is in it
    except pickle.UnpicklingError as error:
        raise _unreadable(path, "it is damaged, or holds more than data") from error
    # Damage shows as nearly any exception there is.
    except Exception as error:
        raise _unreadable(path, str(error)) from error


def random_states() -> dict[str, Any]:
    """Where all global random numbers are, as tensors, numbers and texts."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (torch-geometric draws from it)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "python": random.getstate(),
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Global random numbers go on from where they were."""
    name, keys, *rest = states["numpy"]
    torch.set_rng_state(states["torch"])
    for number, state in enumerate(states["cuda"][: torch.cuda.device_count()]):  # maybe fewer now
        torch.cuda.set_rng_state(state, number)
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(states["python"])


def _unreadable(path: Path, cause: str) -> NNGraphsError:
    return NNGraphsError(
        f"go on with the training in {path.parents[1]}",
        found=f"{path} cannot be read ({cause}).",
        do=f"Delete {path.parent} to train from the beginning.",
    )
