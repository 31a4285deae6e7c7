"""What the data sets of networks have in common, whether they are images or tables."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64, Shaped


@runtime_checkable
class LabelledDataset(Protocol):
    """Inputs with a class each, or a number: those for training first, then those for tests.

    `ImageDataset` and `TableDataset` are this; so may be one of your own.

    Attributes:
        name: as in `load_dataset(name)`.
        labels: classes, indices into `class_names`; of a regression numbers.
        num_train: inputs `[0, num_train)` are for training, all others for tests.
        class_names: what the labels mean; empty for a regression.
    """

    name: str
    labels: Int64[np.ndarray, " n"] | Float64[np.ndarray, " n"]
    num_train: int
    class_names: tuple[str, ...]

    @property
    def inputs(self) -> Shaped[np.ndarray, "n features *places"]:
        """As networks read them, but not scaled: features, or channels, before places."""
        ...


def num_outputs(dataset: LabelledDataset) -> int:
    """Of a network that is trained on it: one a class, or one for the number."""
    return len(dataset.class_names) or 1
