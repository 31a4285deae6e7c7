"""The VGAE of StructureReps as one would write it with torch-geometric: its `Data`, its layers.

There is no public code; this is the plain way that ours is compared with. Features of places, edges
in both directions and pairs without an edge are made beforehand and lie in the list.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Batch, Data
from torch_geometric.nn import TransformerConv, global_mean_pool
from torch_geometric.utils import scatter, softmax

from nn_graphs.encoders.vgae.graph_autoencoder import MAX_LOG_VARIANCE, VGAE
from nn_graphs.encoders.vgae.structure_encoder import StructureEncoder
from nn_graphs.graphs.graph_template import NeuralGraphStack

NEGATIVE_SLOPE = 0.2


class PlainEdgeAttention(nn.Module):
    """Equations 1 to 3, line by line."""

    def __init__(self, edge_dim: int, hidden_dim: int, noise_scale: float):
        super().__init__()
        self.noise_scale = noise_scale
        self.transform = nn.Linear(edge_dim, hidden_dim)
        self.project = nn.Linear(hidden_dim + 2 * edge_dim, hidden_dim, bias=False)
        self.attention = nn.Parameter(torch.empty(hidden_dim))

    def forward(self, target: Tensor, edges: Tensor, num_nodes: int) -> Tensor:
        transformed = F.leaky_relu(self.transform(edges), NEGATIVE_SLOPE)
        noised = edges + self.noise_scale * torch.randn_like(edges) if self.training else edges
        projected = self.project(torch.cat([transformed, edges, noised], dim=-1))
        scores = F.leaky_relu(projected @ self.attention, NEGATIVE_SLOPE)
        weights = softmax(scores, target, num_nodes=num_nodes)
        return scatter(weights.unsqueeze(-1) * edges, target, dim_size=num_nodes, reduce="sum")


class PlainVGAE(nn.Module):
    """Losses of a batch of `Data`, with the parameters of one of our models.

    Args:
        ours: a VGAE around a `StructureEncoder` with transformer convolutions.
    """

    def __init__(self, ours: VGAE):
        super().__init__()
        encoder: StructureEncoder = ours.encoder
        self.kl_factor = ours.kl_factor
        attention = encoder.edge_attention
        self.edge_attention = PlainEdgeAttention(
            encoder.num_channels, encoder.attention_dim, attention.noise_scale
        )
        self.edge_attention.load_state_dict(attention.state_dict())
        self.layers = nn.ModuleList(_convolution(layer) for layer in encoder.layers)
        self.norms = nn.ModuleList(nn.LayerNorm(encoder.node_dim) for _ in encoder.norms)
        for mine, norm in zip(self.norms, encoder.norms, strict=True):
            mine.load_state_dict(norm.norm.state_dict())
        self.mean = nn.Linear(encoder.node_dim, ours.node_dim)
        self.log_variance = nn.Linear(encoder.node_dim, ours.node_dim)
        self.mean.load_state_dict(ours.mean.state_dict())
        self.log_variance.load_state_dict(ours.log_variance.state_dict())

    def forward(self, batch: Batch) -> Tensor:
        """The mean loss over graphs that have equally many edges."""
        features = self.edge_attention(batch.edge_index[1], batch.edge_attr, batch.num_nodes)
        nodes = torch.cat([features, batch.x], dim=-1)
        for number, layer in enumerate(self.layers):
            if number:
                nodes = F.elu(self.norms[number - 1](nodes))
            nodes = layer(nodes, batch.edge_index, batch.edge_attr)
        mean = self.mean(nodes)
        log_variance = self.log_variance(nodes).clamp_max(MAX_LOG_VARIANCE)
        noise = torch.randn_like(mean) if self.training else 0.0
        drawn = mean + (log_variance / 2).exp() * noise
        joined, apart = (
            (drawn[first] * drawn[second]).sum(-1)
            for first, second in (batch.joined_index, batch.apart_index)
        )
        excess = (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1, keepdim=True) / 2
        counts = torch.bincount(batch.batch).unsqueeze(1)
        divergence = (global_mean_pool(excess, batch.batch) / counts).mean()
        adjacency = F.softplus(-joined).mean() + F.softplus(apart).mean()
        return adjacency + self.kl_factor * divergence


def make_data_list(stack: NeuralGraphStack, ours: VGAE) -> list[Data]:
    """Each graph by itself, with all that does not change from epoch to epoch."""
    encoder: StructureEncoder = ours.encoder
    with torch.no_grad():
        places = encoder.encoding(stack)
        centred = encoder.features.dims.centred(stack)
        weights = encoder.features.normalised_weights(centred)
    source, target = stack.structure.edge_index
    edge_index = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    joined, apart = _pairs(stack.structure.edge_index, stack.template.num_nodes)
    zeros = torch.zeros_like(weights[0])
    return [
        Data(
            x=place.clone(),
            edge_index=edge_index.clone(),
            edge_attr=torch.cat([torch.cat([own, zeros], -1), torch.cat([zeros, own], -1)]),
            joined_index=joined.clone(),
            apart_index=apart.clone(),
        )
        for place, own in zip(places, weights, strict=True)
    ]


def _convolution(ours: nn.Module) -> TransformerConv:
    edge_dim = None if ours.edge is None else ours.edge.in_features
    layer = TransformerConv(
        ours.query.in_features, ours.head_dim, heads=ours.num_heads, edge_dim=edge_dim
    )
    with torch.no_grad():
        layer.lin_key.bias.zero_()  # it changes nothing, see ours
    for name in ("query", "key", "value", "skip", *(("edge",) if edge_dim else ())):
        own = getattr(ours, name).state_dict()
        getattr(layer, f"lin_{name}").load_state_dict(own, strict=name != "key")
    return layer


def _pairs(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Pairs of neurons with an edge, and those without, each once."""
    is_joined = torch.zeros(num_nodes, num_nodes, dtype=torch.bool)
    is_joined[edge_index[0], edge_index[1]] = is_joined[edge_index[1], edge_index[0]] = True
    upper = torch.ones_like(is_joined).triu(1)
    return (is_joined & upper).nonzero().T, (~is_joined & upper).nonzero().T
