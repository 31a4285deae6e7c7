"""What a task is: networks in three splits, an objective, a metric, and one look at the test.

Most tasks are supervised: labels, a loss of (outputs, labels), metrics of the same. What else a
model may be trained for is said by `objective` and `outputs`, and goes the same way.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor, nn

from nn_graphs.encoders.equivariant.head import InvariantHead
from nn_graphs.encoders.features import Graphs
from nn_graphs.encoders.heads import GraphHead, GraphModel
from nn_graphs.encoders.pooling import Pooling, PoolingMethod
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.errors import NNGraphsError
from nn_graphs.fingerprint import fingerprint, settings_of
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.zoos.batches import GraphDataset, check_finite, make_templates
from nn_graphs.zoos.zoo import SPLITS, Zoo

Split = Literal["train", "val", "test"]
BLOCK_VALUES = 1 << 22  # parameters that are copied at once for a fingerprint


class Task(ABC):
    """Predict something of the networks of a zoo, or learn from them without labels.

    A task of your own says `labels`, `loss` and `metrics`. One whose models are trained for more
    than a loss of their outputs overrides `objective`, or what is computed of a model, `outputs`.

    A model is made for a task (`model(task)` in a config) and is called with batches of graphs: a
    `NeuralGraphStack` where the zoo has one architecture, a torch-geometric batch where it has
    several. `templates`, `dims` and `statistics()` tell an encoder how large these are,
    `flat_params` turns them into vectors.

    Models are chosen by `metric` on the split val. The split test is handed out once in the life of
    a task, by `open_test`.

    Attributes:
        name: of the task, as in result rows.
        metric: of the outputs, chosen on val; larger is better.
        unit: of the metric, e.g. "%"; empty where it has none.
        digits: behind the point, that are worth reading of the metric.
        out_dim: number of outputs that a model must have.
    """

    name: str
    metric: str
    unit: str = ""
    digits: int = 3
    out_dim: int

    def __init__(self, zoo: Zoo):
        check_finite(zoo)
        self.zoo, self.templates = zoo, make_templates(zoo)
        self.dims = GraphDims.of(self.templates)
        self._indices = {split: zoo.indices(split) for split in SPLITS}
        self._check_sources()
        self._is_test_open = False

    @abstractmethod
    def labels(self) -> Tensor:
        """The label of every network of the zoo."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The training loss, a scalar: a mean over networks."""

    @abstractmethod
    def metrics(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Metrics of all outputs of a split, by name; `metric` is one of them."""

    def make_model(
        self,
        encoder: nn.Module,
        *,
        pooling: PoolingMethod,
        pooled_layer: Literal["last", "all"] | int,
        hidden_dims: Sequence[int] = (),
    ) -> nn.Module:
        """What an encoder of neural graphs is trained in: by default with `out_dim` outputs.

        Args:
            encoder: any, for networks of this task.
            pooling, pooled_layer: how a graph's vectors become one, see `Pooling`.
            hidden_dims: of the linear layers behind.
        """
        pool = Pooling(
            pooling,
            layer=pooled_layer,
            dims=self.dims,
            node_dim=encoder.node_dim,
            edge_dim=encoder.edge_dim,
        )
        return GraphModel(encoder, GraphHead(pool, hidden_dims=hidden_dims, out_dim=self.out_dim))

    def make_weight_space_model(
        self, encoder: nn.Module, *, hidden_dims: Sequence[int], dropout: float
    ) -> nn.Module:
        """The same for an encoder whose vectors belong to parameter spaces (DWSNet, NFN).

        Args:
            encoder: with `spaces`, for networks of this task.
            hidden_dims, dropout: of the linear layers behind.
        """
        head = InvariantHead(
            encoder.spaces,
            dim=encoder.node_dim,
            hidden_dims=hidden_dims,
            dropout=dropout,
            out_dim=self.out_dim,
        )
        return GraphModel(encoder, head)

    def outputs(self, model: Callable[[Graphs], Any], graphs: Graphs) -> Tensor:
        """What `loss` and `metrics` are of, a row per network: by default the model's outputs.

        Args:
            model: of this task, or its compiled forward pass: it is called, and nothing else.
            graphs: some networks. What is drawn (`nn_graphs.encoders.dropout.draws_generator`) is
                the same in every epoch of val, and on test.
        """
        return model(graphs)

    def objective(
        self, model: Callable[[Graphs], Any], graphs: Graphs, labels: Tensor
    ) -> Float[Tensor, ""]:
        """What training makes smaller: by default the `loss` of `outputs`.

        Batches are trained in parts, whose objectives add up, each times its share of the networks:
        so it is a mean over networks, and of each network alone. Draws follow a key of the part.

        Args:
            model, graphs: as for `outputs`.
            labels: of these networks.
        """
        return self.loss(self.outputs(model, graphs), labels)

    def figures(self, outputs: Tensor, labels: Tensor, *, title: str) -> dict[str, Figure]:
        """Figures of all outputs of the split test, by the names of their files.

        A task of your own may draw what it likes; by default there are none.

        Args:
            outputs, labels: of the split, in its order, on the CPU.
            title: what the outputs are of, a model and a zoo.
        """
        return {}

    def outputs_for(self, predictions: Float[Tensor, "N"]) -> Float[Tensor, "N 1"]:
        """The outputs that mean these labels, for models that predict numbers themselves."""
        return predictions.unsqueeze(-1)

    def dataset(self, split: Literal["train", "val"]) -> GraphDataset:
        """The networks of a split that may be used for training or choosing."""
        if split not in ("train", "val"):
            raise NNGraphsError(
                f"use the split {split!r} for training",
                found="only train and val are for that.",
                do="Score the test split once, at the end, with open_test().",
            )
        return self._dataset(split)

    def open_test(self) -> GraphDataset:
        """The test split, once.

        Raises:
            NNGraphsError: it was opened before.
        """
        if self._is_test_open:
            raise NNGraphsError(
                f"score {self.name} on its test split",
                found="this task's test split was scored before.",
                do="Choose models on val; a new task object starts a new experiment.",
            )
        self._is_test_open = True
        return self._dataset("test")

    def statistics(self) -> WeightStatistics:
        """Statistics of the training networks' weights, per layer."""
        numbers = self._indices["train"]
        kinds = self.zoo.table["spec"].to_numpy()[numbers]
        populations = [
            (template, self.zoo.take(numbers[kinds == kind]))
            for kind, template in enumerate(self.templates)
            if (kinds == kind).any()
        ]
        return WeightStatistics.measure(self.dims, populations)

    def flat_params(self, graphs: Graphs) -> Float[Tensor, "B num_params"]:
        """The flat parameters of the networks of a batch, whether they came as a stack or as a mix.

        For models that read parameters and no graphs; differentiable.

        Raises:
            NNGraphsError: the networks have different numbers of parameters.
        """
        if isinstance(graphs, NeuralGraphStack):
            return graphs.params
        params = self._dataset("train").mixed.params_of(graphs)
        lengths = sorted({len(values) for values in params})
        if len(lengths) > 1:
            raise NNGraphsError(
                f"stack the flat parameters of {len(params)} networks",
                found=f"they have {lengths[0]} to {lengths[-1]} each.",
                do="Choose an encoder of graphs, or networks of one shape (Zoo.select).",
            )
        return torch.stack(params)

    def fingerprints(self) -> dict[str, str]:
        """What tells this task from others of its name: its settings, and contents of each split.

        Settings are its plain public attributes, see `nn_graphs.fingerprint.settings_of`.
        """
        found = {"settings of the task": fingerprint([str(settings_of(self))])}
        for split, numbers in self._indices.items():
            labels = self.labels()[torch.from_numpy(numbers)]
            found[f"labels of {split}"] = fingerprint([labels])
            found[f"networks of {split}"] = fingerprint(self._contents(numbers))
        return found

    def _contents(self, numbers: Int[np.ndarray, "M"]) -> Iterator[str | Tensor]:
        """Architectures and parameters of some networks, and what these were trained on."""
        table, specs = self.zoo.table, self.zoo.specs
        kinds, rows = (torch.from_numpy(table[key].to_numpy()[numbers]) for key in ("spec", "row"))
        yield kinds
        yield str(table["source_id"].to_numpy()[numbers].tolist()) if "source_id" in table else ""
        for kind in kinds.unique().tolist():
            yield specs[kind].to_json()
            block = max(1, BLOCK_VALUES // specs[kind].num_params)
            for part in rows[kinds == kind].split(block):
                yield self.zoo.params[kind][part]

    def _dataset(self, split: Split) -> GraphDataset:
        indices = self._indices[split]
        labels = self.labels()[torch.from_numpy(indices)]
        return GraphDataset(self.zoo, indices, labels=labels, templates=self.templates)

    def _check_sources(self) -> None:
        """No training run, nor what it was trained on where that is known, lies in two splits."""
        for column in ("run", "source_id"):
            if column in self.zoo.table:
                splits = self.zoo.table.groupby(column)["split"].nunique()
                if (splits > 1).any():
                    raise NNGraphsError(
                        f"split the zoo for {self.name}",
                        found=f"{column} {splits.idxmax()} lies in {splits.max()} splits.",
                        do="Give all networks of it the same split.",
                    )


def check_columns(zoo: Zoo, needed: Sequence[str], *, asked: str, do: str) -> None:
    """That the table of a zoo has what a task reads of it.

    Args:
        zoo: whose table it is.
        needed: names of columns.
        asked: what the task does with them, for the error.
        do: what the columns are to hold, for the error.

    Raises:
        NNGraphsError: one is missing; it says which, and which there are.
    """
    missing = [name for name in needed if name not in zoo.table]
    if missing:
        raise NNGraphsError(
            asked,
            found=f"its table has no column `{missing[0]}`, but {', '.join(zoo.table)}.",
            do=do,
        )
