"""INR classification: which class the image belongs to that an INR was fitted to.

Navon et al., ICML 2023, sec. 7; Kofinas et al., ICLR 2024, sec. 5.1.
"""

import numpy as np

from nn_graphs.tasks.classification import Classes, ColumnClassification
from nn_graphs.zoos.zoo import Zoo


class INRClassification(ColumnClassification):
    """Classification by the column `label`, which holds the numbers of the images' classes.

    There are as many classes as the largest number says, whether all are in the zoo or not.
    """

    name = "inr_classification"

    def __init__(self, zoo: Zoo):
        super().__init__(zoo, column="label")

    def _classes(self, values: np.ndarray) -> Classes:
        return tuple(map(str, range(int(values.max()) + 1))), values
