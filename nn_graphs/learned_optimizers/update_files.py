"""Learned updates as one file each: weights as safetensors, beside them what they are weights of.

No code is kept, and none is run: the file holds numbers, and JSON data in which parts of updates
are names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from nn_graphs.described_tensors import DescribedTensors
from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.learned_optimizers.learned_update import LearnedUpdate
from nn_graphs.learned_optimizers.registry import describe_update, update_from_description

FILE = DescribedTensors(
    key="nn_graphs_learned_optimizer",
    noun="learned optimizer",
    saved_by="save_update",
    make_again="learn it again",
    missing="Give the path that save_update wrote to, or shipped_update().",
)
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
    description = {"update": describe_update(update), "origin": dict(origin or {})}
    return FILE.write(path, {WEIGHTS: weights.float()}, description)


def load_update(path: str | Path) -> tuple[LearnedUpdate, Float[Tensor, "M"]]:
    """The update that `save_update` wrote, and its weights on the CPU.

    Raises:
        NNGraphsError: there is no such file; it is damaged, of another format or another program;
            its weights are not those of the features, model and form that it names.
    """
    record, tensors = FILE.read(path)
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
    return FILE.read(path)[0].get("origin", {})


def shipped_update(name: str = "hybrid_mlp_digits") -> Path:
    """The file of a learned update that comes with the package.

    Raises:
        NNGraphsError: there is no such one.
    """
    names = sorted(path.stem for path in SHIPPED.glob("*.safetensors"))
    check_known(name, names, asked=f"find the learned optimizer {name!r} in the package")
    return SHIPPED / f"{name}.safetensors"
