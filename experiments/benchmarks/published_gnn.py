"""NG-GNN as the published code computes it, in our own words: the plain twin of `NGGNN`.

Kofinas et al., ICLR 2024, sec. 4. Vectors are made for all pairs of neurons, those of real edges
are taken out into one torch-geometric `Data` per network, these are batched, and messages go
through gather and scatter (`MessagePassing`, `DegreeScalerAggregation`).

It differs in results, not in work, where `NGGNN` does: norms see one graph unless told otherwise,
and degrees count the directions that messages take. An unused dense copy of the last edge vectors
is left out.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import torch
from benchmarks.published_features import DenseFeatures
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Batch, Data
from torch_geometric.nn import LayerNorm, MessagePassing
from torch_geometric.nn.aggr import Aggregation, DegreeScalerAggregation
from torch_geometric.utils import degree

from nn_graphs.encoders.public_checkpoints import renamed

NAMES = (  # ours, the twin's
    (r"encoder\.layers\.(\d+)\.mean_log_degree", r"convolutions.\1.aggr_module.avg_deg_log"),
    (r"encoder\.layers\.(\d+)\.(message|update)", r"convolutions.\1.\2_in"),
    (r"encoder\.layers\.", "convolutions."),
    (r"encoder\.", ""),
    (r"head\.mlp\.", "head."),
)


class PublishedGNN(nn.Module):
    """Weights and biases of `B` networks of one layout to class logits `[B, out_dim]`.

    Args:
        layer_layout: widths from input to output.
        dim: size of node and edge vectors.
        num_layers: message passing layers.
        dropout: behind every layer but the last.
        sigma: deviation of the Fourier frequencies.
        out_dim: number of classes.
        std: the deviation among the aggregations; torch-geometric's is a difference of moments.
        norm_sees_batch: norms take all graphs of the batch together, as in the published code.
    """

    def __init__(
        self,
        layer_layout: Sequence[int],
        *,
        dim: int = 32,
        num_layers: int = 4,
        dropout: float = 0.2,
        sigma: float = 3.0,
        out_dim: int = 10,
        std: str | Aggregation = "std",
        norm_sees_batch: bool = False,
    ):
        super().__init__()
        self.norm_sees_batch = norm_sees_batch
        self.num_outputs = layer_layout[-1]
        self.features = DenseFeatures(
            layer_layout, node_dim=dim, edge_dim=dim, sigma=sigma, has_reverse=True
        )
        edge_index = edges_in_both_directions(layer_layout)
        self.register_buffer("edge_index", edge_index, persistent=False)
        in_degree = degree(edge_index[1], dtype=torch.long).bincount()
        self.convolutions = nn.ModuleList(
            ModulatedPNA(dim, in_degree=in_degree, std=std) for _ in range(num_layers)
        )
        self.norms = nn.ModuleList(LayerNorm(dim, mode="graph") for _ in range(num_layers - 1))
        self.edge_updates = nn.ModuleList(EdgeUpdate(dim) for _ in range(num_layers - 1))
        self.dropout = dropout
        self.head = nn.Sequential(
            nn.Linear(self.num_outputs * dim, dim),
            nn.ReLU(),
            nn.Linear(dim, dim),
            nn.ReLU(),
            nn.Linear(dim, out_dim),
        )

    def forward(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
        batch = as_batch(*self.features(weights, biases), self.edge_index)
        nodes, edges = batch.x, batch.edge_attr
        *convolutions, last = self.convolutions
        for convolution, norm, update in zip(
            convolutions, self.norms, self.edge_updates, strict=True
        ):
            graph_ids = None if self.norm_sees_batch else batch.batch
            nodes = norm(convolution(nodes, batch.edge_index, edges), graph_ids)
            nodes = F.dropout(F.silu(nodes), p=self.dropout, training=self.training)
            edges = update(nodes, batch.edge_index, edges)
        nodes = last(nodes, batch.edge_index, edges).unflatten(0, (batch.num_graphs, -1))
        return self.head(nodes[:, -self.num_outputs :].flatten(1))

    def load_ours(self, state: Mapping[str, Tensor]) -> None:
        """Takes the parameters of a `GraphModel` of `NGGNN`, pooling by "cat" and `GraphHead`."""
        kept = {name: v for name, v in self.state_dict().items() if name.endswith("avg_deg_lin")}
        state = renamed(state, NAMES) | kept
        for name in state:
            if name.endswith("avg_deg_log"):
                state[name] = state[name].reshape(1)
        self.load_state_dict(state)


class ModulatedPNA(MessagePassing):
    """Mean, min, max and deviation of modulated messages, each also scaled by the degree."""

    def __init__(self, dim: int, *, in_degree: Tensor, std: str | Aggregation):
        aggregation = DegreeScalerAggregation(
            ["mean", "min", "max", std], ["identity", "amplification"], in_degree
        )
        super().__init__(aggr=aggregation, node_dim=0)
        self.message_in = nn.Linear(2 * dim, dim)
        self.modulation = nn.Linear(dim, 2 * dim)
        self.update_in = nn.Linear(9 * dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, nodes: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
        collected = self.propagate(edge_index, x=nodes, edge_attr=edges)
        return self.out(self.update_in(torch.cat([nodes, collected], dim=-1)))

    def message(self, x_i: Tensor, x_j: Tensor, edge_attr: Tensor) -> Tensor:
        scale, shift = self.modulation(edge_attr).chunk(2, dim=-1)
        return scale * self.message_in(torch.cat([x_i, x_j], dim=-1)) + shift


class EdgeUpdate(nn.Module):
    """`W_1 SiLU(W_e e + W_s x_source + W_t x_target)`."""

    def __init__(self, dim: int):
        super().__init__()
        self.from_edge, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.from_source, self.from_target = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, nodes: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
        source, target = edge_index
        hidden = self.from_edge(edges)
        hidden = hidden + self.from_source(nodes)[source] + self.from_target(nodes)[target]
        return self.out(F.silu(hidden))


def as_batch(nodes: Tensor, pairs: Tensor, edge_index: Tensor) -> Batch:
    """One `Data` per network, with the vectors of its edges taken from those of all pairs."""
    source, target = edge_index
    graphs = [
        Data(x=x, edge_index=edge_index, edge_attr=matrix[source, target])
        for x, matrix in zip(nodes, pairs, strict=True)
    ]
    return Batch.from_data_list(graphs)


def edges_in_both_directions(layer_layout: Sequence[int]) -> Tensor:
    """`[2, num_edges]`: all edges from input to output, then all of them reversed."""
    layers = [torch.arange(*ends) for ends in pairwise(accumulate(layer_layout, initial=0))]
    blocks = [torch.cartesian_prod(before, after) for before, after in pairwise(layers)]
    forward = torch.cat(blocks).T
    return torch.cat([forward, forward.flip(0)], dim=1)
