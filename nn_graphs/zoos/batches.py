"""Batches of neural graphs from a zoo: an index into its parameters, no file is read."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.architecture_specs import template_of_spec
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.mixed_templates import MixedTemplates
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.zoos.zoo import Zoo

LabelledGraphs = tuple[NeuralGraph | NeuralGraphStack, Tensor]


class GraphDataset(Dataset):
    """Some networks of a zoo with their labels, one at a time or a batch at a time.

    `dataset[place]` is a neural graph and its label, of which any `DataLoader`, torch's or
    torch-geometric's, makes batches. `dataset.batch(places)` is what our encoders read fastest: of
    one architecture a stack; of a zoo with several, or with one over whose blocks of edges no
    messages can be passed, a torch-geometric batch, with all kernels in the middle of the largest.

    Args:
        zoo: the networks.
        indices: which of them.
        labels: one per index.
        templates: the templates of the zoo's architectures, see `make_templates`.

    Attributes:
        mixed: what makes torch-geometric batches; None where batches are stacks.
    """

    def __init__(
        self,
        zoo: Zoo,
        indices: Int[np.ndarray, "N"],
        *,
        labels: Tensor,
        templates: Sequence[GraphTemplate],
    ):
        self.zoo, self.indices, self.labels = zoo, indices, labels
        self.templates = tuple(templates)
        self._kinds, self._rows = zoo.table["spec"].to_numpy(), zoo.table["row"].to_numpy()
        self.mixed = None if are_stacked(self.templates) else _mix(self.templates)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[NeuralGraph, Tensor]:
        """
        Raises:
            IndexError: there are not so many.
        """
        graphs, labels = self.batch([range(len(self))[place]])
        return graphs[0], labels[0]

    def batch(self, places: Sequence[int]) -> LabelledGraphs:
        """The graphs at these places, and their labels."""
        places = list(places)
        numbers = self.indices[places]
        if self.mixed is None:
            graphs = self.templates[0].stack(self.zoo.take(numbers))
        else:
            graphs = self._mixed_batch(numbers)
        return graphs, self.labels[places]

    @property
    def sources(self) -> Int[np.ndarray, "N"]:
        """What each network was trained on, the column `source_id` of the zoo's table.

        Raises:
            NNGraphsError: there is no such column.
        """
        if "source_id" not in self.zoo.table:
            raise NNGraphsError(
                "tell which networks are views of the same image",
                found=f"the zoo's table has the columns {', '.join(self.zoo.table)}.",
                do="Add a column `source_id`, the number of what each network was trained on.",
            )
        return self.zoo.table["source_id"].to_numpy()[self.indices]

    def _mixed_batch(self, numbers: Int[np.ndarray, "B"]) -> NeuralGraph:
        kinds, rows = self._kinds[numbers], self._rows[numbers]
        params = [self.zoo.params[kind][row] for kind, row in zip(kinds, rows, strict=True)]
        return self.mixed.batch(torch.from_numpy(kinds), params)


def make_templates(zoo: Zoo) -> Sequence[GraphTemplate]:
    """The graph templates of a zoo's architectures."""
    return tuple(template_of_spec(spec) for spec in zoo.specs)


def are_stacked(templates: Sequence[GraphTemplate]) -> bool:
    """Whether batches of these architectures' networks are stacks."""
    return len(templates) == 1 and templates[0].has_regular_blocks


@lru_cache(maxsize=4)
def _mix(templates: tuple[GraphTemplate, ...]) -> MixedTemplates:
    """All splits of a zoo share the tables of its templates."""
    return MixedTemplates(templates)


def check_finite(zoo: Zoo) -> None:
    """Makes sure that no network of a zoo has weights that are NaN or infinite.

    Raises:
        NNGraphsError: some have.
    """
    spec, row = zoo.table["spec"].to_numpy(), zoo.table["row"].to_numpy()
    is_bad = np.zeros(len(zoo), dtype=bool)
    for kind, params in enumerate(zoo.params):
        numbers = np.flatnonzero(spec == kind)
        is_bad[numbers] = ~_are_finite(params).numpy()[row[numbers]]
    if is_bad.any():
        raise NNGraphsError(
            f"use a zoo of {len(zoo)} networks",
            found=f"{is_bad.sum()} have weights that are NaN or infinite, "
            f"the first is number {is_bad.argmax()}.",
            do="Drop them: Zoo.select(numbers of the others).",
        )


def _are_finite(params: Float[Tensor, "N num_params"]) -> Bool[Tensor, "N"]:
    """Of each network, whether all parameters are; only where its sum isn't, each is looked at."""
    are_finite = params.sum(dim=1).isfinite()
    others = (~are_finite).nonzero()[:, 0]
    are_finite[others] = params[others].isfinite().all(dim=1)
    return are_finite
