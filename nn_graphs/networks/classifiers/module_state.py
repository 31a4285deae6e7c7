"""The state of the interrupted training of one module, in one file that is whole or not there."""

import time
from pathlib import Path

import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.fingerprint import describe_module, fingerprint
from nn_graphs.whole_files import whole_file


class ModuleState:
    """What a training goes on from: parameters, buffers, optimizer and random numbers.

    Args:
        file: where it is kept between epochs; None: nowhere.
        module, optimizer: of the training, as they are at its beginning.
        seconds: between two writes, at ends of epochs.
        training: in words, what is trained how.
    """

    def __init__(
        self,
        file: Path | None,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        seconds: float,
        training: str,
    ):
        self._file, self._module, self._optimizer = file, module, optimizer
        self._seconds, self._written = seconds, time.monotonic()
        self._of = fingerprint([training, describe_module(module), *module.state_dict().values()])

    def read(self) -> tuple[int, int]:
        """Takes up the state of the file, where there is one; returns the epochs and steps done.

        Raises:
            NNGraphsError: the file is of another training, or cannot be read.
        """
        if self._file is None or not self._file.exists():
            return 0, 0
        device = next(self._module.parameters()).device
        try:
            content = torch.load(self._file, map_location=device, weights_only=True)
        # damage shows as nearly any exception there is
        except Exception as error:
            raise self._refused(f"it cannot be read ({error}).") from error
        if content["of"] != self._of:
            raise self._refused("it is of another network, data, recipe or plan.")
        self._module.load_state_dict(content["module"])
        self._optimizer.load_state_dict(content["optimizer"])
        torch.set_rng_state(content["random"].cpu())
        if device.type != "cpu":
            torch.get_device_module(device).set_rng_state(content["device_random"].cpu(), device)
        return content["epochs"], content["steps"]

    def write(self, epochs: int, steps: int) -> None:
        """Keeps the state after an epoch, unless it was kept a moment ago."""
        if self._file is None or time.monotonic() - self._written < self._seconds:
            return
        device = next(self._module.parameters()).device
        content = {
            "of": self._of,
            "epochs": epochs,
            "steps": steps,
            "module": self._module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        if device.type != "cpu":
            content["device_random"] = torch.get_device_module(device).get_rng_state(device)
        with whole_file(self._file) as partial, partial.open("wb") as stream:
            torch.save(content, stream)
        self._written = time.monotonic()

    def _refused(self, found: str) -> NNGraphsError:
        return NNGraphsError(
            f"go on with the training in {self._file}",
            found=found,
            do="Repeat the options of the interrupted run, or delete the file.",
        )
