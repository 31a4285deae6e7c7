"""INR classification: which class the image belongs to that an INR was fitted to.

Navon et al., ICML 2023, sec. 7; Kofinas et al., ICLR 2024, sec. 5.1.
"""

from numbers import Real
from typing import Any

import numpy as np

from nn_graphs.errors import NNGraphsError
from nn_graphs.tasks.classification import Classes, ColumnClassification
from nn_graphs.zoos.zoo import Zoo


class INRClassification(ColumnClassification):
    """Classification by the column `label`, which holds the numbers of the images' classes.

    There are as many classes as the largest number says, whether all are in the zoo or not.
    """

    name = "inr_classification"

    def __init__(self, zoo: Zoo):
        """
        Raises:
            NNGraphsError: as `ColumnClassification`, or a label is no whole number from 0 on.
        """
        super().__init__(zoo, column="label")

    def _classes(self, values: np.ndarray) -> Classes:
        bad = [value for value in values if not _is_class_number(value)]
        if bad:
            raise NNGraphsError(
                "classify the networks of the zoo by the numbers of their classes",
                found=f"the column label holds {bad[0]!r}.",
                do="Give whole numbers from 0 on, or take ColumnClassification(zoo, column=...).",
            )
        values = values.astype(np.int64)
        return tuple(map(str, range(int(values.max()) + 1))), values


def _is_class_number(value: Any) -> bool:
    return isinstance(value, Real | np.bool_) and value >= 0 and float(value).is_integer()
