"""Learned updates as one file each: weights as safetensors, beside them what they are weights of.

No code is kept, and none is run: the file holds numbers, and JSON data in which parts of updates
are names.
"""

import importlib.metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.learned_optimizers.learned_update import LearnedUpdate
from nn_graphs.learned_optimizers.registry import describe_update, update_from_description

FORMAT = 1
KEY = "nn_graphs_learned_optimizer"  # the one entry of the metadata
WEIGHTS = "weights"  # the one tensor
SHIPPED = Path(__file__).parent / "shipped"


def save_update(
    update: LearnedUpdate,
    weights: Float[Tensor, "M"],
    path: str | Path,
    *,
    origin: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a learned update to `path`, as a whole or not at all: a safetensors file.

    Args:
        update: features, model and form.
        weights: what was learned.
        path: by convention ending in `.safetensors`.
        origin: JSON data on how they were learned, for readers.

    Raises:
        NNGraphsError: the weights are those of another update, or there can be no file at `path`.
    """
    update.check_weights(weights)
    path = Path(path)
    version = importlib.metadata.version("nn_graphs")
    record = {"format": FORMAT, "nn_graphs": version, "update": describe_update(update)}
    record |= {"origin": dict(origin or {})}
    tensors = {WEIGHTS: weights.detach().float().cpu().contiguous().clone()}
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, {KEY: json.dumps(record)})
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        raise NNGraphsError(
            f"save the learned optimizer to {path}",
            found=f"the file cannot be written ({error}).",
            do="Choose another path.",
        ) from error
    return path


def load_update(path: str | Path) -> tuple[LearnedUpdate, Float[Tensor, "M"]]:
    """The update that `save_update` wrote, and its weights on the CPU.

    Raises:
        NNGraphsError: there is no such file; it is damaged, of another format or another program;
            its weights are not those of the features, model and form that it names.
    """
    path = Path(path)
    record, tensors = _read(path)
    if record.get("format") != FORMAT:
        raise NNGraphsError(
            f"load a learned optimizer from {path}",
            found=f"it is of format {record.get('format')}, written by nn_graphs "
            f"{record.get('nn_graphs')}.",
            do="Use that version, or learn it again.",
        )
    update = update_from_description(record.get("update", {}))
    weights = tensors.get(WEIGHTS)
    if weights is None or weights.shape != (update.num_weights,):
        found = "none" if weights is None else f"{list(weights.shape)}"
        raise NNGraphsError(
            f"load a learned optimizer from {path}",
            found=f"its weights are {found}, those of its features, model and form would be "
            f"[{update.num_weights}].",
            do="Give a file that save_update wrote.",
        )
    return update, weights


def origin_of(path: str | Path) -> dict[str, Any]:
    """How the update in a file was learned, as `save_update` was told.

    Raises:
        NNGraphsError: as for `load_update`.
    """
    return _read(Path(path))[0].get("origin", {})


def shipped_update(name: str = "hybrid_mlp_digits") -> Path:
    """The file of a learned update that comes with the package.

    Raises:
        NNGraphsError: there is no such one.
    """
    names = sorted(path.stem for path in SHIPPED.glob("*.safetensors"))
    check_known(name, names, asked=f"find the learned optimizer {name!r} in the package")
    return SHIPPED / f"{name}.safetensors"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    asked = f"load a learned optimizer from {path}"
    if not path.is_file():
        do = "Give the path that save_update wrote to, or shipped_update()."
        raise NNGraphsError(asked, found="there is no such file.", do=do)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        found = f"it is truncated, or no file of save_update ({error})."
        raise NNGraphsError(asked, found=found, do="Copy it again.") from error
    if KEY not in metadata:
        raise NNGraphsError(
            asked,
            found="it holds tensors, but does not say of which learned optimizer.",
            do="Give a file that save_update wrote.",
        )
    try:
        return dict(json.loads(metadata[KEY])), tensors
    except (TypeError, ValueError) as error:
        found = f"its metadata cannot be read: {error!r}."
        raise NNGraphsError(asked, found=found, do="Copy it again.") from error
