"""What a finished run found, and the files in its folder that say so."""

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from nn_graphs.records import write_record
from nn_graphs.whole_files import whole_file

logger = logging.getLogger(__name__)
OUTCOME, TEST_OUTPUTS = "outcome.json", "test_outputs.npz"


@dataclass(frozen=True)
class Outcome:
    """What a finished run found.

    Attributes:
        val: metrics on the split val, of the best epoch.
        test: metrics on the split test, of the same model.
        best_epoch: counted from 0.
        num_params: trainable parameters of the model.
        minutes: of training, all parts of an interrupted run together.
        device: what it ran on.
        costs: per network, the fields of `nn_graphs.training.network_costs.NetworkCosts`; None
            where they are not known.
    """

    val: dict[str, float]
    test: dict[str, float]
    best_epoch: int
    num_params: int
    minutes: float
    device: str
    costs: dict[str, float | str] | None = None


def read_outcome(folder: Path) -> Outcome | None:
    """What the run in a folder found; None where it is not finished."""
    finished = folder / OUTCOME
    if not finished.exists():
        return None
    logger.info("%s is finished; its outcome is read.", folder)
    return Outcome(**json.loads(finished.read_text()))


def write_outcome(
    folder: Path,
    outcome: Outcome,
    *,
    outputs: Shaped[np.ndarray, "N *shape"],
    labels: Shaped[np.ndarray, "N *label_shape"],
) -> None:
    """Finishes a run: `test_outputs.npz` holds outputs and labels of the test split."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / TEST_OUTPUTS) as partial, partial.open("wb") as file:
        np.savez(file, outputs=outputs, labels=labels)
    write_record(folder / OUTCOME, dataclasses.asdict(outcome))
