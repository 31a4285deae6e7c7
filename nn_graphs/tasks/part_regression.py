"""Regression of parts: a number of every neuron, or of every edge, of the networks of a zoo."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.utils import to_dense_batch

from nn_graphs.encoders.features import Graphs
from nn_graphs.encoders.heads import EdgeHead, GraphModel, NodeHead
from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.metrics import mean_absolute_error, pearson_r, r_squared
from nn_graphs.plotting import plot_predictions
from nn_graphs.tasks.task import Task
from nn_graphs.zoos.zoo import SPLITS, Zoo

Part = Literal["neuron", "edge"]
MAX_SHOWN = 5000  # points of a figure


class PartRegression(Task):
    """Predicts a number of each neuron or edge, of one architecture or of many.

    Numbers are in the order of the neurons or edges of each network's neural graph
    (`zoo[number].x`, `zoo[number].edge_index`); a part without one has NaN, and does not count.
    Outputs are in deviations of the training networks' numbers from their mean. Networks have
    different numbers of parts: outputs and labels are padded to the most there are, `[N, parts]`.

    Attributes:
        part: what has a number, "neuron" or "edge".

    Example:
        values = [graph.x[:, 0] for graph in zoo]  # of one's own
        task = PartRegression(zoo, values=values, part="neuron")
    """

    name = "part_regression"
    metric = "r2"
    out_dim = 1

    def __init__(
        self,
        zoo: Zoo,
        *,
        values: Sequence[Tensor | np.ndarray],
        part: Part = "neuron",
    ):
        """
        Args:
            zoo: the networks.
            values: of each network its parts' numbers.
            part: what they are of.

        Raises:
            NNGraphsError: a network has too few or too many numbers, an infinite one, or none; all
                numbers of the training networks are equal.
        """
        check_known(part, get_args(Part), asked=f"predict a number of every {part!r}")
        self.part = part
        super().__init__(zoo)
        self._labels = self._padded(values)
        train = self._labels[torch.from_numpy(self._indices["train"])]
        known = train[~train.isnan()].double()
        self._mean, self._deviation = known.mean().item(), known.std(correction=0).item()
        if self._deviation == 0:
            raise self._refused(
                f"all of the training networks are {self._mean:g}.", "Give some that differ."
            )

    def make_model(self, encoder: nn.Module, **options: Any) -> nn.Module:
        """An encoder with an output for every part; nothing is pooled."""
        head = NodeHead(encoder.node_dim) if self.part == "neuron" else EdgeHead(encoder.edge_dim)
        return GraphModel(encoder, head)

    def make_weight_space_model(self, encoder: nn.Module, **options: Any) -> nn.Module:
        """
        Raises:
            NNGraphsError: always.
        """
        raise self._refused("this encoder has no vectors of them.", "Take an encoder of graphs.")

    def labels(self) -> Float[Tensor, "N parts"]:
        return self._labels

    def outputs(self, model: Callable[[Graphs], Any], graphs: Graphs) -> Float[Tensor, "B parts"]:
        """Of each part, zeros behind the last."""
        found, most = model(graphs).squeeze(-1), self._labels.shape[1]
        if isinstance(graphs, NeuralGraphStack):
            return F.pad(found, (0, most - found.shape[1]))
        owner = graphs.batch
        if self.part == "edge":
            owner = owner[graphs.edge_index[1]]
        return to_dense_batch(found, owner, max_num_nodes=most, batch_size=graphs.num_graphs)[0]

    def predictions(self, outputs: Float[Tensor, "*parts"]) -> Float[Tensor, "*parts"]:
        """The numbers that a model's outputs mean."""
        return outputs * self._deviation + self._mean

    def outputs_for(self, predictions: Float[Tensor, "*parts"]) -> Float[Tensor, "*parts"]:
        """The inverse."""
        return (predictions - self._mean) / self._deviation

    def loss(self, outputs: Float[Tensor, "B parts"], labels: Float[Tensor, "B parts"]) -> Tensor:
        """Squared errors, in deviations, the mean over each network's parts, then over networks."""
        is_known = ~labels.isnan()
        wanted = torch.where(is_known, self.outputs_for(labels), outputs)
        return ((outputs - wanted).square().sum(1) / is_known.sum(1)).mean()

    def metrics(
        self, outputs: Float[Tensor, "N parts"], labels: Float[Tensor, "N parts"]
    ) -> dict[str, float]:
        """Over all parts of all networks together."""
        found, wanted = self._known(outputs, labels)
        return {
            "r2": r_squared(found, wanted),
            "pearson": pearson_r(found, wanted),
            "mae": mean_absolute_error(found, wanted),
            "loss": self.loss(outputs.cpu(), labels.cpu()).item(),
        }

    def figures(
        self, outputs: Float[Tensor, "N parts"], labels: Float[Tensor, "N parts"], *, title: str
    ) -> dict[str, Figure]:
        """`predictions`: predicted against true numbers, of some parts."""
        pair = self._known(outputs, labels)
        chosen = torch.linspace(0, len(pair[0]) - 1, min(MAX_SHOWN, len(pair[0]))).long()
        shown = (values[chosen].numpy() for values in pair)
        return {"predictions": plot_predictions(*shown, quantity=self.part, title=title)}

    def _known(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions and labels of the parts that have one."""
        outputs, labels = outputs.cpu(), labels.cpu()
        is_known = ~labels.isnan()
        return self.predictions(outputs)[is_known], labels[is_known]

    def _padded(self, values: Sequence[Tensor | np.ndarray]) -> Float[Tensor, "N parts"]:
        counts = [_num_parts(template, self.part) for template in self.templates]
        wanted = [counts[kind] for kind in self.zoo.table["spec"]]
        if len(values) != len(wanted):
            raise self._refused(
                f"there are numbers of {len(values)} networks, the zoo has {len(wanted)}.",
                "Give one sequence for each.",
            )
        used = np.concatenate([self._indices[split] for split in SPLITS])
        padded = torch.full((len(wanted), max(wanted)), torch.nan)
        for number, (own, count) in enumerate(zip(values, wanted, strict=True)):
            own = torch.as_tensor(own, dtype=torch.float32)
            if own.shape != (count,):
                raise self._refused(
                    f"network {number} has {list(own.shape)} numbers, and {count} {self.part}s.",
                    "Give one for each, NaN where there is none.",
                )
            padded[number, :count] = own
        is_bad = (padded.isinf().any(1) | padded.isnan().all(1))[torch.from_numpy(used)]
        if is_bad.any():
            raise self._refused(
                f"{int(is_bad.sum())} networks have none, or an infinite one; the first is number "
                f"{used[is_bad.numpy()].min()}.",
                "Correct them, or drop these networks (Zoo.select).",
            )
        return padded

    def _refused(self, found: str, do: str) -> NNGraphsError:
        return NNGraphsError(f"predict a number of every {self.part}", found=found, do=do)


def _num_parts(template: GraphTemplate, part: Part) -> int:
    return template.num_nodes if part == "neuron" else template.num_edges
