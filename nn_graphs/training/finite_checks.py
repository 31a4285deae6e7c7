"""Training stops, and nothing is scored, where losses or predictions are NaN or infinite."""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.training.settings import TrainingSettings

MAX_NAMED = 5  # networks that a message lists


def check_loss(
    loss: Float[Tensor, ""], *, epoch: int, step: int, settings: TrainingSettings
) -> None:
    """Makes sure that the loss of a step is a number, before any weight is moved by it.

    Args:
        loss: of the batch.
        epoch: counted from 1.
        step: of the optimizer, over all epochs, counted from 1.
        settings: of the training, of which the message says what to change.

    Raises:
        NNGraphsError: it is NaN or infinite.
    """
    if not loss.isfinite():
        raise NNGraphsError(
            "go on with the training",
            found=f"in step {step} (epoch {epoch}) the loss is {loss.item()}.",
            do=f"Lower learning_rate ({settings.learning_rate:g}), lengthen warmup_steps "
            f"({settings.warmup_steps}), clip gradients (gradient_clip is "
            f"{settings.gradient_clip:g}), or drop networks with huge weights (Zoo.select).",
        )


def check_outputs(
    outputs: Float[Tensor, "N *shape"], numbers: Int[np.ndarray, "N"], *, asked: str
) -> None:
    """Makes sure that a model's outputs for every network of a split are numbers.

    A metric of them would be NaN, or count them as if they were predictions.

    Args:
        outputs: a row per network.
        numbers: of these networks, rows of the zoo's table.
        asked: what the outputs are for.

    Raises:
        NNGraphsError: some are NaN or infinite; their networks are counted, and the first named.
    """
    is_bad = ~outputs.isfinite().flatten(1).all(dim=1).cpu().numpy()
    if is_bad.any():
        bad = numbers[is_bad]
        named = ", ".join(map(str, bad[:MAX_NAMED])) + (", ..." if len(bad) > MAX_NAMED else "")
        advice = (
            "Training has diverged: lower learning_rate, or clip gradients."
            if is_bad.all()
            else "Look at their weights, and drop them (Zoo.select) if they are broken."
        )
        raise NNGraphsError(
            asked,
            found=f"the outputs for {len(bad)} of {len(is_bad)} networks are NaN or infinite; "
            f"in the zoo's table: {named}.",
            do=advice,
        )
