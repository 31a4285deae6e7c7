"""A graph network that predicts a number from a directed acyclic graph itself.

Neurons begin with what can be said of each alone: its degrees, how far it is from where paths begin
and end, and how many paths lead to and from it. Layers of message passing follow, with means over
predecessors and over successors, each with a map of its own; mean, deviation and sum over neurons
give the graph's embedding. Graphs of several sizes are padded to the largest of a batch. The
prediction doesn't depend on the order of nodes.

`DAGRegressor` is a regressor, to be compared with others by `predict_accuracy`.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nn_graphs.regressor_training import fit_one_cycle
from nn_graphs.sparse_structure.graph_properties import log_num_paths
from nn_graphs.structure.layered_graph import LayeredGraph

NUM_NODE_FEATURES = 9


class DAGEncoder(nn.Module):
    """One number for each graph of a padded batch.

    Args:
        num_features: of each node.
        dim: of the values of nodes.
        num_layers: of message passing.
        dropout: of the graph's embedding.
    """

    def __init__(
        self, num_features: int, *, dim: int = 32, num_layers: int = 3, dropout: float = 0.1
    ):
        super().__init__()
        self.embed = nn.Linear(num_features, dim)
        layers = range(num_layers)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in layers)
        self.layers = nn.ModuleList(nn.Linear(3 * dim, dim) for _ in layers)
        self.head = nn.Sequential(
            nn.LayerNorm(3 * dim),
            nn.Dropout(dropout),
            nn.Linear(3 * dim, dim),
            nn.SiLU(),
            nn.Linear(dim, 1),
        )

    def forward(
        self,
        features: Float[Tensor, "B n features"],
        adjacency: Float[Tensor, "B n n"],
        is_node: Bool[Tensor, "B n"],
    ) -> Float[Tensor, " B"]:
        """Predictions; `is_node` is false where a graph is padded."""
        present = is_node.unsqueeze(2).to(features)
        before, behind = _means(adjacency.mT), _means(adjacency)
        values = self.embed(features) * present
        for norm, layer in zip(self.norms, self.layers, strict=True):
            seen = norm(values) * present
            messages = torch.cat([seen, before @ seen, behind @ seen], 2)
            values = values + F.silu(layer(messages)) * present
        number = present.sum(1)
        mean = values.sum(1) / number
        variance = ((values - mean.unsqueeze(1)) * present).square().sum(1) / number
        pooled = [mean, (variance + 1e-6).sqrt(), mean * number.log()]
        return self.head(torch.cat(pooled, 1))[:, 0]


def _means(adjacency: Float[Tensor, "B n n"]) -> Float[Tensor, "B n n"]:
    """Rows that take means; of no neighbour, zero."""
    return adjacency / adjacency.sum(2, keepdim=True).clamp(min=1)


class DAGRegressor:
    """Fits a `DAGEncoder` to numbers of graphs by AdamW under a one-cycle schedule.

    Args:
        dim, num_layers, dropout: of the encoder.
        num_epochs, batch_size, learning_rate, weight_decay: of the training.
        seed: of initial values and of the order of graphs.
    """

    def __init__(
        self,
        *,
        dim: int = 32,
        num_layers: int = 3,
        dropout: float = 0.1,
        num_epochs: int = 60,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        seed: int = 0,
    ):
        self.dim, self.num_layers, self.dropout = dim, num_layers, dropout
        self.num_epochs, self.batch_size = num_epochs, batch_size
        self.learning_rate, self.weight_decay, self.seed = learning_rate, weight_decay, seed

    def fit(
        self, graphs: Sequence[LayeredGraph], labels: Float[np.ndarray, " N"]
    ) -> "DAGRegressor":
        """Trains an encoder from scratch."""
        features = [node_features(graph) for graph in graphs]
        every = np.concatenate(features)
        self._centre, self._scale = every.mean(0), every.std(0) + 1e-6
        self._label_centre, self._label_scale = labels.mean(), labels.std() + 1e-12
        targets = torch.from_numpy((labels - self._label_centre) / self._label_scale).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._train(self._batch(graphs, features), targets)
        return self

    @torch.no_grad()
    def predict(self, graphs: Sequence[LayeredGraph]) -> Float[np.ndarray, " N"]:
        """Numbers of other graphs."""
        self.encoder.eval()
        batch = self._batch(graphs, [node_features(graph) for graph in graphs])
        parts = zip(*(part.split(256) for part in batch), strict=True)
        found = torch.cat([self.encoder(*part) for part in parts])
        return found.double().numpy() * self._label_scale + self._label_centre

    def _train(self, batch: tuple[Tensor, Tensor, Tensor], targets: Tensor) -> None:
        self.encoder = DAGEncoder(
            NUM_NODE_FEATURES, dim=self.dim, num_layers=self.num_layers, dropout=self.dropout
        )
        fit_one_cycle(
            self.encoder,
            batch,
            targets,
            num_epochs=self.num_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )

    def _batch(
        self, graphs: Sequence[LayeredGraph], features: Sequence[Float[np.ndarray, "_ features"]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features, adjacency and which nodes there are, padded."""
        largest = max(graph.num_nodes for graph in graphs)
        values = torch.zeros(len(graphs), largest, NUM_NODE_FEATURES)
        adjacency = torch.zeros(len(graphs), largest, largest)
        is_node = torch.zeros(len(graphs), largest, dtype=torch.bool)
        for place, (graph, own) in enumerate(zip(graphs, features, strict=True)):
            scaled = (own - self._centre) / self._scale
            values[place, : graph.num_nodes] = torch.from_numpy(scaled)
            adjacency[place, graph.sources, graph.targets] = 1
            is_node[place, : graph.num_nodes] = True
        return values, adjacency, is_node


def node_features(graph: LayeredGraph) -> Float[np.ndarray, "n features"]:
    """Degrees, ends, layers from both sides, and logarithms of numbers of paths, of every node."""
    into, out_of = graph.in_degrees, graph.out_degrees
    is_source, is_sink = into == 0, out_of == 0
    heights = LayeredGraph.from_edges(graph.targets, graph.sources, graph.num_nodes).layers
    columns = (
        np.log1p(into),
        np.log1p(out_of),
        is_source,
        is_sink,
        graph.layers,
        heights,
        graph.layers / max(1, graph.num_layers - 1),
        log_num_paths(graph, is_source),
        log_num_paths(graph, is_sink, is_back=True),
    )
    return np.nan_to_num(np.stack(columns, axis=1).astype(float), neginf=0.0)
