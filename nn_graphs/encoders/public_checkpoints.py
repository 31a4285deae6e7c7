"""Files of the public code of neural graphs, and models of ours that are filled with their tensors.

Files are read as data: no class that they name is looked up.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.readers.checkpoints import ObjectReader, parse_checkpoint, plain
from nn_graphs.zoos.readers.read_report import Skipped

Names = Sequence[tuple[str, str]]  # patterns of theirs, and ours
UNTOLD = re.compile(r"\.((bias|weight)_(mean|std)|num_batches_tracked)$")  # of ours, in no file


@dataclass(frozen=True)
class PublicCheckpoint:
    """What a file of the public code holds.

    Attributes:
        state: tensors by their names there.
        config: the configuration that they were trained with, as plain data; empty where none is.
    """

    state: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)

    def setting(self, path: str, default: Any = None) -> Any:
        """An entry of the configuration, at a path with dots; the default where it has none."""
        value = self.entry(path)
        is_reference = isinstance(value, str) and value.startswith("${")
        return default if value is None or is_reference else value

    def entry(self, path: str) -> Any:
        """An entry as it stands there, which may be a reference to another, "${...}"; else None."""
        value: Any = self.config
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


def read_public_checkpoint(path: str | Path) -> PublicCheckpoint:
    """The tensors and the configuration in a file such as `best_val.ckpt`; no code of it is run.

    Raises:
        NNGraphsError: there is no such file, or it holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise NNGraphsError(
            f"read the checkpoint {path.name}",
            found=f"there is no file {path}.",
            do="Give the path of a file of the public code, e.g. best_val.ckpt.",
        )
    try:
        found = parse_checkpoint(path.read_bytes(), load=ObjectReader().load)
    except Skipped as skipped:
        raise NNGraphsError(
            f"read the checkpoint {path.name}",
            found=skipped.detail,
            do="Give a file of torch.save with the model's state dict.",
        ) from skipped
    config = plain(found.entries.get("cfg"))
    return PublicCheckpoint(found.state, config if isinstance(config, Mapping) else {})


def renamed(state: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """Tensors by our names; where no pattern matches the start of a name, it stays."""
    changed = {}
    for name, value in state.items():
        for pattern, replacement in names:
            if re.match(pattern, name):
                name = re.sub(pattern, replacement, name, count=1)
                break
        changed[name] = value
    return changed


def load_public(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Fills the model; what it has beside the state are statistics and counts that no file tells.

    Raises:
        NNGraphsError: tensors are left over or missing, or of other shapes.
    """
    own = model.state_dict()
    dtype = next(value.dtype for value in state.values())
    state = {name: value for name, value in state.items() if not _is_left_out(name, value, own)}
    state = {name: _as_own(name, value, own.get(name)) for name, value in state.items()}
    kept = {k: v for k, v in own.items() if UNTOLD.search(k)}
    faults = sorted(set(own) - set(state) - set(kept)) + sorted(set(state) - set(own))
    faults += [n for n, v in state.items() if n in own and v.shape != own[n].shape]
    if faults:
        name = faults[0]
        theirs, ours = (tuple(s[name].shape) if name in s else "nothing" for s in (state, own))
        raise NNGraphsError(
            "fill a model with a checkpoint of the public code",
            found=f"{len(faults)} tensors do not fit, the first is {name}: {theirs} in the file, "
            f"{ours} here.",
            do="Give the architectures that it was trained on; all their sizes must be the same.",
        )
    model.to(dtype)
    model.load_state_dict(kept | state)


def _is_left_out(name: str, value: Tensor, own: Mapping[str, Tensor]) -> bool:
    """What the public code has and never reads: positions that are off, the last edge update."""
    if name == "encoder.features.positions" and name not in own:
        return True
    return name.startswith("encoder.edge_updates.") and name not in own


def _as_own(name: str, value: Tensor, own: Tensor | None) -> Tensor:
    """A tensor in the shape that ours has, where only axes of length 1 differ.

    Of a gate's map, which there has an unread second half, the first.
    """
    if own is None or value.shape == own.shape:
        return value
    if [n for n in value.shape if n > 1] == [n for n in own.shape if n > 1]:
        return value.reshape(own.shape)
    is_gate = ".modulation." in name and len(value) == 2 * len(own)
    return value[: len(own)] if is_gate else value
