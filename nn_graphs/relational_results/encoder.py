"""A graph network that predicts a network's error from its relational graph itself.

Every node begins with measures of its surroundings (`node_measures`); layers of message passing
follow, each with means over neighbours, and mean and deviation over nodes give the graph's
embedding. All graphs have one size, so that a batch is dense: adjacency matrices, and layers of
torch-geometric for them. The prediction doesn't depend on the order of nodes.

`GraphRegressor` is a regressor of scikit-learn, to be compared with others by `predict_errors`.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator, RegressorMixin
from torch import Tensor, nn
from torch_geometric.nn import DenseGraphConv

from nn_graphs.regressor_training import fit_one_cycle
from nn_graphs.structure import betweenness, degrees, distances, local_clustering

NodeMeasures = Float[np.ndarray, "N n measures"]


class RelationalGraphEncoder(nn.Module):
    """One number for each graph of a batch of graphs of one size.

    Args:
        num_measures: of each node.
        dim: of the values of nodes.
        num_layers: of message passing.
        dropout: of the graph's embedding.
    """

    def __init__(self, num_measures: int, *, dim: int = 32, num_layers: int = 3, dropout: float):
        super().__init__()
        self.embed = nn.Linear(num_measures, dim)
        layers = range(num_layers)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in layers)
        self.layers = nn.ModuleList(DenseGraphConv(dim, dim, aggr="mean") for _ in layers)
        self.head = nn.Sequential(
            nn.LayerNorm(2 * dim),
            nn.Dropout(dropout),
            nn.Linear(2 * dim, dim),
            nn.SiLU(),
            nn.Linear(dim, 1),
        )

    def forward(
        self, measures: Float[Tensor, "B n measures"], adjacency: Float[Tensor, "B n n"]
    ) -> Float[Tensor, " B"]:
        values = self.embed(measures)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            values = values + F.silu(layer(norm(values), adjacency))
        pooled = torch.cat([values.mean(1), values.std(1, correction=0)], dim=1)
        return self.head(pooled)[:, 0]


class GraphRegressor(RegressorMixin, BaseEstimator):
    """Fits a `RelationalGraphEncoder` to numbers of graphs by AdamW under a one-cycle schedule.

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
        num_epochs: int = 20,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        seed: int = 0,
    ):
        self.dim, self.num_layers, self.dropout = dim, num_layers, dropout
        self.num_epochs, self.batch_size = num_epochs, batch_size
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.seed = seed

    def fit(
        self, graphs: Bool[np.ndarray, "N n n"], labels: Float[np.ndarray, " N"]
    ) -> "GraphRegressor":
        measures = node_measures(graphs)
        self.centre_, self.scale_ = measures.mean((0, 1)), measures.std((0, 1)) + 1e-6
        self.label_centre_, self.label_scale_ = labels.mean(), labels.std() + 1e-12
        inputs = self._inputs(graphs, measures)
        targets = torch.from_numpy((labels - self.label_centre_) / self.label_scale_).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._train(*inputs, targets)
        return self

    @torch.no_grad()
    def predict(self, graphs: Bool[np.ndarray, "N n n"]) -> Float[np.ndarray, " N"]:
        self.encoder_.eval()
        inputs = (part.split(1024) for part in self._inputs(graphs, node_measures(graphs)))
        found = torch.cat([self.encoder_(*batch) for batch in zip(*inputs, strict=True)])
        return found.double().numpy() * self.label_scale_ + self.label_centre_

    def _train(self, measures: Tensor, adjacency: Tensor, targets: Tensor) -> None:
        self.encoder_ = RelationalGraphEncoder(
            measures.shape[-1], dim=self.dim, num_layers=self.num_layers, dropout=self.dropout
        )
        fit_one_cycle(
            self.encoder_,
            (measures, adjacency),
            targets,
            num_epochs=self.num_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )

    def _inputs(
        self, graphs: Bool[np.ndarray, "N n n"], measures: NodeMeasures
    ) -> tuple[Tensor, Tensor]:
        scaled = (measures - self.centre_) / self.scale_
        return torch.from_numpy(scaled).float(), torch.from_numpy(graphs).float()


def node_measures(graphs: Bool[np.ndarray, "N n n"]) -> NodeMeasures:
    """Degree, clustering, mean and largest distance to others, and betweenness of all nodes."""
    steps = distances(graphs)
    num_nodes = graphs.shape[-1]
    columns = (
        degrees(graphs) / num_nodes,
        local_clustering(graphs),
        steps.sum(-1) / (num_nodes - 1),
        steps.max(-1),
        betweenness(graphs),
    )
    return np.stack(columns, axis=-1)
