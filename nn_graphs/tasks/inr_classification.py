"""INR classification: which class the image belongs to that an INR was fitted to.

Navon et al., ICML 2023, sec. 7; Kofinas et al., ICLR 2024, sec. 5.1.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from nn_graphs.errors import NNGraphsError
from nn_graphs.metrics import accuracy
from nn_graphs.tasks.task import Task
from nn_graphs.zoos.zoo import Zoo


class INRClassification(Task):
    """Cross-entropy and accuracy (percent) on the column `label` of a zoo of INRs."""

    name = "inr_classification"
    metric = "accuracy"

    def __init__(self, zoo: Zoo):
        if "label" not in zoo.table:
            raise NNGraphsError(
                "classify the networks of the zoo",
                found=f"its table has the columns {', '.join(zoo.table)}.",
                do="Add a column `label` with the number of each network's class.",
            )
        super().__init__(zoo)
        self.out_dim = int(zoo.table["label"].max()) + 1

    def labels(self) -> Int[Tensor, "N"]:
        return torch.from_numpy(self.zoo.table["label"].to_numpy().astype("int64"))

    def loss(self, outputs: Float[Tensor, "B classes"], labels: Int[Tensor, "B"]) -> Tensor:
        return F.cross_entropy(outputs, labels)

    def metrics(
        self, outputs: Float[Tensor, "N classes"], labels: Int[Tensor, "N"]
    ) -> dict[str, float]:
        return {
            "accuracy": accuracy(outputs, labels),
            "loss": F.cross_entropy(outputs, labels).item(),
        }
