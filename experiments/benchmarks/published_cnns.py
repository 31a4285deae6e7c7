"""NG-GNN and NG-T on convolutional networks as the published code computes them, in our own words.

Kofinas et al., ICLR 2024, sec. 3 and the public code for the CNN Wild Park: every network becomes a
matrix of all pairs of neurons with a kernel of the largest size each, edges are found from it, the
edges of a batch are put into a dense matrix of all networks again, Fourier features and linear maps
run over all its pairs, positions and activations are added network by network, and, for NG-GNN,
one torch-geometric `Data` per network is made of the result. As in `published_gnn`, norms see one
graph. NG-T attends to padding, so that it equals ours on networks of one size only.
"""

from collections.abc import Mapping

import torch
from benchmarks.published_features import value_embedding
from benchmarks.published_gnn import NAMES as GNN_NAMES
from benchmarks.published_gnn import EdgeUpdate, ModulatedPNA
from benchmarks.published_transformer import NAMES as TRANSFORMER_NAMES
from benchmarks.published_transformer import Layer, heads_first
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Batch, Data
from torch_geometric.nn import LayerNorm
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.utils import to_dense_adj, to_dense_batch

from nn_graphs.encoders.features import NUM_PUBLISHED_ACTIVATIONS
from nn_graphs.encoders.public_checkpoints import renamed
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.kernels import padded_kernels
from nn_graphs.graphs.parts.node_groups import NeuronKind


def dense_sample(template: GraphTemplate, params: Tensor, kernel_size: tuple[int, ...]) -> Data:
    """One network, through a dense matrix of kernels of all pairs of its neurons."""
    tensors = template.parameters.unflatten(params)
    num_nodes, size = template.num_nodes, torch.Size(kernel_size).numel()
    nodes = torch.zeros(num_nodes, 1)
    pairs = torch.zeros(num_nodes, num_nodes, size)
    is_edge = torch.zeros(num_nodes, num_nodes, dtype=torch.bool)
    for group in template.groups:
        if group.bias is not None:
            nodes[group.start : group.stop, 0] = tensors[group.bias.name]
    for block in template.blocks:
        source, target = (end + template.groups[number].start for end, number in _ends(block))
        if block.is_dense:
            kernels = tensors[block.weight.name].reshape(block.num_edges, block.kernel_size)
            pairs[source, target] = padded_kernels(kernels, block.kernel, kernel_size)
        else:
            pairs[source, target, size // 2] = block.constant
        is_edge[source, target] = True
    edge_index = is_edge.nonzero().T
    return Data(
        x=nodes,
        edge_index=edge_index,
        edge_attr=pairs[edge_index[0], edge_index[1]],
        layer_layout=[group.width for group in template.groups],
        activations=[group.activation.activation_id for group in template.groups],
        kinds=[group.kind for group in template.groups],
    )


def _ends(block: EdgeBlock) -> list[tuple[Tensor, int]]:
    source, target = block.ends()
    return [(source, block.source), (target, block.target)]


class DenseCNNFeatures(nn.Module):
    """Vectors of neurons `[B, N, node_dim]` and of all pairs `[B, N, N, edge_dim]`, and the mask.

    Args:
        dims: the largest sizes of the networks.
        node_dim, edge_dim: sizes of the vectors.
        sigma: deviation of the Fourier frequencies.
    """

    def __init__(self, dims: GraphDims, *, node_dim: int, edge_dim: int, sigma: float):
        super().__init__()
        self.dims = dims
        self.bias_embedding = value_embedding(1, node_dim, sigma)
        self.weight_embedding = value_embedding(dims.num_edge_values, edge_dim, sigma)
        self.node_in = nn.Linear(node_dim, node_dim)
        self.edge_in = nn.Linear(edge_dim, edge_dim)
        self.positions = nn.Parameter(torch.randn(dims.num_positions, node_dim))
        self.activation_embedding = nn.Embedding(NUM_PUBLISHED_ACTIVATIONS, node_dim)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        nodes, mask = to_dense_batch(batch.x, batch.batch)
        pairs = to_dense_adj(batch.edge_index, batch.batch, batch.edge_attr)
        nodes = self.node_in(self.bias_embedding(nodes))
        pairs = self.edge_in(self.weight_embedding(pairs))
        extra = torch.zeros_like(nodes)
        for number in range(batch.num_graphs):
            own = self._positions_and_activations(batch[number])
            extra[number, : len(own)] = own
        return nodes + extra, pairs, mask

    def _positions_and_activations(self, graph: Data) -> Tensor:
        parts, hidden = [], 0
        first_output = self.dims.num_inputs + self.dims.num_hidden_layers
        layers = zip(graph.layer_layout, graph.activations, graph.kinds, strict=True)
        for width, activation, kind in layers:
            if kind is NeuronKind.INPUT:
                parts.append(self.positions[:width])
            elif kind is NeuronKind.OUTPUT:
                parts.append(self.positions[first_output : first_output + width])
            else:
                place = self.positions[self.dims.num_inputs + hidden]
                parts.append(
                    (place + self.activation_embedding.weight[activation]).expand(width, -1)
                )
                hidden += 1
        return torch.cat(parts)


class PublishedCNNGNN(nn.Module):
    """A torch-geometric batch of `dense_sample`s to one output each.

    Args:
        dims: the largest sizes of the networks.
        in_degree: histogram of the numbers of messages that neurons get.
        dim: size of node and edge vectors.
        num_layers: message passing layers.
        sigma: deviation of the Fourier frequencies.
        std: the deviation among the aggregations.
    """

    def __init__(
        self,
        dims: GraphDims,
        in_degree: Tensor,
        *,
        dim: int = 64,
        num_layers: int = 4,
        sigma: float = 3.0,
        std: str | Aggregation = "std",
    ):
        super().__init__()
        self.dims = dims
        self.features = DenseCNNFeatures(dims, node_dim=dim, edge_dim=dim, sigma=sigma)
        self.convolutions = nn.ModuleList(
            ModulatedPNA(dim, in_degree=in_degree, std=std) for _ in range(num_layers)
        )
        self.norms = nn.ModuleList(LayerNorm(dim, mode="graph") for _ in range(num_layers - 1))
        self.edge_updates = nn.ModuleList(EdgeUpdate(dim) for _ in range(num_layers - 1))
        self.head = nn.Sequential(
            nn.Linear(dims.num_outputs * dim, dim),
            nn.ReLU(),
            nn.Linear(dim, dim),
            nn.ReLU(),
            nn.Linear(dim, 1),
        )

    def forward(self, batch: Batch) -> Tensor:
        sparse, mask = self._sparse(batch)
        nodes, edges = sparse.x, sparse.edge_attr
        *convolutions, last = self.convolutions
        for convolution, norm, update in zip(
            convolutions, self.norms, self.edge_updates, strict=True
        ):
            nodes = F.silu(norm(convolution(nodes, sparse.edge_index, edges), sparse.batch))
            edges = update(nodes, sparse.edge_index, edges)
        nodes = to_dense_batch(last(nodes, sparse.edge_index, edges), sparse.batch)[0]
        outputs = [
            row[kept][-self.dims.num_outputs :] for row, kept in zip(nodes, mask, strict=True)
        ]
        return self.head(torch.stack(outputs).flatten(1))

    def _sparse(self, batch: Batch) -> tuple[Batch, Tensor]:
        nodes, pairs, mask = self.features(batch)
        graphs = []
        for number in range(batch.num_graphs):
            source, target = edge_index = batch[number].edge_index
            edges = pairs[number, source, target]
            graphs.append(
                Data(x=nodes[number][mask[number]], edge_index=edge_index, edge_attr=edges)
            )
        return Batch.from_data_list(graphs), mask

    def load_ours(self, state: Mapping[str, Tensor]) -> None:
        """Takes the parameters of a `GraphModel` of `NGGNN`, pooling by "cat" and `GraphHead`."""
        own = self.state_dict()
        state = {k: v for k, v in renamed(state, GNN_NAMES).items() if k in own}
        kept = {name: v for name, v in own.items() if name.endswith("avg_deg_lin")}
        for name in state:
            if name.endswith("avg_deg_log"):
                state[name] = state[name].reshape(1)
        self.load_state_dict(state | kept)


class PublishedCNNTransformer(nn.Module):
    """A torch-geometric batch of `dense_sample`s to one output each; sizes as in `NGT`."""

    def __init__(
        self,
        dims: GraphDims,
        *,
        node_dim: int,
        edge_dim: int,
        attention_dim: int,
        node_hidden_dim: int,
        edge_hidden_dim: int,
        num_layers: int,
        num_heads: int,
        sigma: float = 1.0,
    ):
        super().__init__()
        self.dims = dims
        self.features = DenseCNNFeatures(dims, node_dim=node_dim, edge_dim=edge_dim, sigma=sigma)
        self.layers = nn.ModuleList(
            Layer(
                node_dim,
                edge_dim,
                attention_dim=attention_dim,
                node_hidden_dim=node_hidden_dim,
                edge_hidden_dim=edge_hidden_dim,
                num_heads=num_heads,
                dropout=0.0,
                has_edge_update=number < num_layers - 1,
            )
            for number in range(num_layers)
        )
        head_dim = dims.num_outputs * node_dim
        self.head = nn.Sequential(nn.Linear(head_dim, node_dim), nn.ReLU(), nn.Linear(node_dim, 1))

    def forward(self, batch: Batch) -> Tensor:
        nodes, pairs, mask = self.features(batch)
        for layer in self.layers:
            nodes, pairs = layer(nodes, pairs)
        outputs = [
            row[kept][-self.dims.num_outputs :] for row, kept in zip(nodes, mask, strict=True)
        ]
        return self.head(torch.stack(outputs).flatten(1))

    def load_ours(self, state: Mapping[str, Tensor]) -> None:
        """Takes the parameters of a `GraphModel` of `NGT`, pooling by "cat" and `GraphHead`."""
        own = self.state_dict()
        state = {k: v for k, v in renamed(state, TRANSFORMER_NAMES).items() if k in own}
        for number, layer in enumerate(self.layers):
            for name, num_parts in (("from_node", 3), ("from_edge", 4)):
                key = f"layers.{number}.attention.{name}.weight"
                state[key] = heads_first(state[key], num_parts, layer.attention.num_heads)
        self.load_state_dict(state)
