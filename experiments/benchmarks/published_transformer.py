"""NG-T as the published code computes it, in our own words: the plain twin of `NGT`.

Diao & Loynd, ICLR 2023; Kofinas et al., ICLR 2024, sec. 4. Queries, keys, values and factors of
values are formed for all pairs of neurons, `[B, N, N, 4 * attention_dim]`, joined by an edge or
not, and so are the updates of edges. (The public code also compiles each layer by TorchScript,
which torch has given up.)
"""

from collections.abc import Mapping, Sequence

import torch
from benchmarks.published_features import DenseFeatures
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.public_checkpoints import renamed

NAMES = (  # ours, the twin's
    (r"encoder\.node_updates\.(\d+)\.", r"layers.\1."),
    (r"encoder\.edge_updates\.(\d+)\.", r"layers.\1.edge_update."),
    (r"encoder\.", ""),
    (r"head\.mlp\.", "head."),
)


class PublishedTransformer(nn.Module):
    """Weights and biases of `B` networks of one layout to class logits `[B, out_dim]`.

    Args:
        layer_layout: widths from input to output.
        node_dim, edge_dim, attention_dim, node_hidden_dim, edge_hidden_dim: sizes, as in `NGT`.
        head_dim: hidden size of the classifier.
        num_layers, num_heads: of the transformer; the last layer does not update edges.
        dropout: behind attention and behind the update networks.
        sigma: deviation of the Fourier frequencies.
        out_dim: number of classes.
    """

    def __init__(
        self,
        layer_layout: Sequence[int],
        *,
        node_dim: int = 64,
        edge_dim: int = 32,
        attention_dim: int = 128,
        node_hidden_dim: int = 128,
        edge_hidden_dim: int = 64,
        head_dim: int = 128,
        num_layers: int = 4,
        num_heads: int = 8,
        dropout: float = 0.2,
        sigma: float = 1.0,
        out_dim: int = 10,
    ):
        super().__init__()
        self.num_outputs = layer_layout[-1]
        self.features = DenseFeatures(
            layer_layout, node_dim=node_dim, edge_dim=edge_dim, sigma=sigma, has_reverse=False
        )
        self.layers = nn.ModuleList(
            Layer(
                node_dim,
                edge_dim,
                attention_dim=attention_dim,
                node_hidden_dim=node_hidden_dim,
                edge_hidden_dim=edge_hidden_dim,
                num_heads=num_heads,
                dropout=dropout,
                has_edge_update=number < num_layers - 1,
            )
            for number in range(num_layers)
        )
        self.head = nn.Sequential(
            nn.Linear(self.num_outputs * node_dim, head_dim),
            nn.ReLU(),
            nn.Linear(head_dim, out_dim),
        )

    def forward(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
        nodes, pairs = self.features(weights, biases)
        for layer in self.layers:
            nodes, pairs = layer(nodes, pairs)
        return self.head(nodes[:, -self.num_outputs :].flatten(1))

    def load_ours(self, state: Mapping[str, Tensor]) -> None:
        """Takes the parameters of a `GraphModel` of `NGT`, pooling by "cat" and `GraphHead`."""
        state = renamed(state, NAMES)
        for number, layer in enumerate(self.layers):
            for name, num_parts in (("from_node", 3), ("from_edge", 4)):
                key = f"layers.{number}.attention.{name}.weight"
                state[key] = heads_first(state[key], num_parts, layer.attention.num_heads)
        self.load_state_dict(state)


class Layer(nn.Module):
    """Attention and feed-forward networks on neurons, then the update of all pairs."""

    def __init__(
        self,
        node_dim: int,
        edge_dim: int,
        *,
        attention_dim: int,
        node_hidden_dim: int,
        edge_hidden_dim: int,
        num_heads: int,
        dropout: float,
        has_edge_update: bool,
    ):
        super().__init__()
        self.attention = PairAttention(node_dim, edge_dim, attention_dim, num_heads)
        self.attended = nn.Linear(node_dim, node_dim)
        self.feed_forward = _feed_forward(node_dim, node_hidden_dim)
        self.norms = nn.ModuleList(nn.LayerNorm(node_dim) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.edge_update = (
            EdgeUpdate(node_dim, edge_dim, edge_hidden_dim, dropout) if has_edge_update else None
        )

    def forward(self, nodes: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        attended = self.attended(self.attention(nodes, pairs))
        nodes = self.norms[0](nodes + self.dropout(attended))
        nodes = self.norms[1](nodes + self.dropout(self.feed_forward(nodes)))
        return nodes, pairs if self.edge_update is None else self.edge_update(nodes, pairs)


class PairAttention(nn.Module):
    """Attention of every neuron to every neuron, with q, k and v of every pair."""

    def __init__(self, node_dim: int, edge_dim: int, attention_dim: int, num_heads: int):
        super().__init__()
        self.num_heads, self.scale = num_heads, attention_dim**-0.5
        self.from_node = nn.Linear(node_dim, 3 * attention_dim, bias=False)
        self.from_edge = nn.Linear(edge_dim, 4 * attention_dim, bias=False)
        self.out = nn.Linear(attention_dim, node_dim)

    def forward(self, nodes: Tensor, pairs: Tensor) -> Tensor:
        query, key, value = self._split(self.from_node(nodes)).chunk(3, dim=-1)
        pair_query, pair_key, pair_value, factor = self._split(self.from_edge(pairs)).chunk(
            4, dim=-1
        )
        queries = query.unsqueeze(3) + pair_query  # [B, heads, i, j, dim]
        keys = key.unsqueeze(2) + pair_key
        values = value.unsqueeze(2) * factor + pair_value
        scores = self.scale * torch.einsum("bhijd,bhijd->bhij", queries, keys)
        attended = torch.einsum("bhij,bhijd->bhid", scores.softmax(-1), values)
        return self.out(attended.transpose(1, 2).flatten(2))

    def _split(self, values: Tensor) -> Tensor:
        """`[B, ..., heads * dim]` to `[B, heads, ..., dim]`."""
        return values.unflatten(-1, (self.num_heads, -1)).movedim(-2, 1)


class EdgeUpdate(nn.Module):
    """Each pair from both its directions and both its ends, then a feed-forward network."""

    def __init__(self, node_dim: int, edge_dim: int, hidden_dim: int, dropout: float):
        super().__init__()
        self.from_edges = nn.Linear(2 * edge_dim, hidden_dim)
        self.from_target = nn.Linear(node_dim, hidden_dim)
        self.from_source = nn.Linear(node_dim, hidden_dim)
        self.mixed = nn.Linear(hidden_dim, edge_dim)
        self.feed_forward = _feed_forward(edge_dim, hidden_dim)
        self.norms = nn.ModuleList(nn.LayerNorm(edge_dim) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Tensor, pairs: Tensor) -> Tensor:
        hidden = self.from_edges(torch.cat([pairs, pairs.transpose(1, 2)], dim=-1))
        hidden = hidden + self.from_target(nodes).unsqueeze(2)
        hidden = hidden + self.from_source(nodes).unsqueeze(1)
        pairs = self.norms[0](pairs + self.dropout(self.mixed(F.gelu(hidden))))
        return self.norms[1](pairs + self.dropout(self.feed_forward(pairs)))


def _feed_forward(dim: int, hidden_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, hidden_dim, bias=False), nn.GELU(), nn.Linear(hidden_dim, dim)
    )


def heads_first(weight: Tensor, num_parts: int, num_heads: int) -> Tensor:
    """Rows in the order heads, parts (q, k, ...) instead of parts, heads."""
    return weight.unflatten(0, (num_parts, num_heads, -1)).transpose(0, 1).flatten(0, 2)
