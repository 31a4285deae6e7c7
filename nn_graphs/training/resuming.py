"""What an interrupted run needs to go on: its last checkpoint, and where random numbers were."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nn_graphs.errors import NNGraphsError


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises:
        NNGraphsError: it cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    # Damage shows as nearly any exception there is.
    except Exception as error:
        raise NNGraphsError(
            f"go on with the training in {path.parents[1]}",
            found=f"{path} cannot be read ({error}).",
            do=f"Delete {path.parent} to train from the beginning.",
        ) from error


def random_states() -> dict[str, Any]:
    """Where all global random numbers are."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
        "numpy": np.random.get_state(),  # noqa: NPY002 (torch-geometric draws from it)
        "python": random.getstate(),
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Global random numbers go on from where they were."""
    torch.set_rng_state(states["torch"])
    torch.cuda.set_rng_state_all(states["cuda"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    random.setstate(states["python"])
