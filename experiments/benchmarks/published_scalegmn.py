"""ScaleGMN with messages of products over torch-geometric edge lists: the plain twin of `ScaleGMN`.

Kalogeropoulos et al., NeurIPS 2024, as the public code does it, in our own words: of every network
a torch-geometric `Data` whose edges are taken out of a dense matrix of all pairs, these batched;
every edge of both directions with a value of its own, messages by gather and scatter
(`MessagePassing`); the nets of neurons that may be multiplied and of those that may not both
evaluated for all, and chosen by masks. For networks whose neurons allow signs alone.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from benchmarks.published_gnn import as_batch, edges_in_both_directions
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import degree


class PublishedScaleGMN(nn.Module):
    """Weights and biases of `B` networks of one layout to class logits `[B, out_dim]`.

    Args:
        layer_layout: widths from input to output.
        dim: size of node vectors.
        num_layers: message passing layers.
        hidden_dim: of the head.
        out_dim: number of classes.
    """

    def __init__(
        self,
        layer_layout: Sequence[int],
        *,
        dim: int = 64,
        num_layers: int = 4,
        hidden_dim: int = 256,
        out_dim: int = 10,
    ):
        super().__init__()
        self.layout, num_hidden = tuple(layer_layout), len(layer_layout) - 2
        num_layer_rows = num_hidden + 2
        self.register_buffer("weight_std", torch.ones(num_layer_rows))
        self.register_buffer("bias_std", torch.ones(num_layer_rows))
        num_positions = layer_layout[0] + num_hidden + layer_layout[-1]
        self.positions = nn.Parameter(torch.randn(num_positions, dim))
        self.bias_in = nn.Linear(1, dim, bias=False)
        edge_index = edges_in_both_directions(layer_layout)
        self.register_buffer("edge_index", edge_index, persistent=False)
        layers = torch.arange(len(layer_layout)).repeat_interleave(torch.tensor(layer_layout))
        self.register_buffer("layer", layers, persistent=False)
        self.register_buffer("position", self._positions(layers), persistent=False)
        self.layers = nn.ModuleList(ScaleConvolution(dim) for _ in range(num_layers))
        self.readout = Perceptron(dim, dim)
        self.head = nn.Sequential(
            nn.Linear(num_layer_rows * dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, out_dim),
        )

    def _positions(self, layers: Tensor) -> Tensor:
        first, last = self.layout[0], len(self.layout) - 1
        hidden = first - 1 + layers
        place = torch.where(layers == 0, torch.arange(len(layers)), hidden)
        outputs = first + last - 1 + torch.arange(len(layers)) - (len(layers) - self.layout[-1])
        return torch.where(layers == last, outputs, place)

    def forward(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
        batch = as_batch(*self._dense(weights, biases), self.edge_index)
        count, layers = batch.num_graphs, self.layer.repeat(batch.num_graphs)
        is_hidden = ((layers > 0) & (layers < len(self.layout) - 1)).unsqueeze(1).float()
        position = self.positions[self.position.repeat(count)]
        nodes = self.bias_in(batch.x)
        nodes = is_hidden * nodes * position + (1 - is_hidden) * (nodes + position)
        is_forward = torch.arange(self.edge_index.shape[1]) < self.edge_index.shape[1] // 2
        directions = is_forward.repeat(count), (~is_forward).repeat(count)
        for layer in self.layers:
            nodes = nodes + layer(nodes, batch.edge_index, batch.edge_attr, directions, is_hidden)
        found = is_hidden * self.readout(nodes.abs()) + (1 - is_hidden) * self.readout(nodes)
        rows = found.unflatten(0, (count, -1)).split(self.layout, dim=1)
        return self.head(torch.cat([row.mean(1) for row in rows], dim=-1))

    def _dense(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Nodes, and the value of every pair of neurons, in both directions."""
        count, size = len(biases[0]), sum(self.layout)
        starts = [0, *accumulate(self.layout)]
        pairs = biases[0].new_zeros(count, size, size, 1)
        nodes = biases[0].new_zeros(count, size, 1)
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True), start=1):
            source = slice(starts[number - 1], starts[number])
            target = slice(starts[number], starts[number + 1])
            values = weight / self.weight_std[number]
            pairs[:, source, target] = values
            pairs[:, target, source] = values.transpose(1, 2)
            nodes[:, target] = bias / self.bias_std[number]
        return nodes, pairs

    def load_ours(self, state: Mapping[str, Tensor]) -> None:
        """Takes the parameters of a `GraphModel` of `ScaleGMN` that pools by "cat_mean"."""
        names = {
            "encoder.features.weight_std": "weight_std",
            "encoder.features.bias_std": "bias_std",
            "encoder.features.positions": "positions",
            "encoder.features.bias_embedding.": "bias_in.",
            "encoder.layers.": "layers.",
            "encoder.node_readout.net.": "readout.",
            "head.mlp.": "head.",
        }
        found = {
            name.replace(ours, twin): value
            for name, value in state.items()
            for ours, twin in names.items()
            if name.startswith(ours)
        }
        self.load_state_dict(found)


class ScaleConvolution(MessagePassing):
    """Products of weights and vectors, and a net of them."""

    def __init__(self, dim: int):
        super().__init__(aggr="sum", node_dim=0)
        self.from_source = nn.Linear(dim, 2 * dim, bias=False)
        self.update_net = ScaleUpdate(3 * dim, dim)
        self._register_load_state_dict_pre_hook(_rename_update)

    def forward(
        self,
        nodes: Tensor,
        edge_index: Tensor,
        edges: Tensor,
        directions: tuple[Tensor, Tensor],
        is_hidden: Tensor,
    ) -> Tensor:
        received = []
        for sent, chosen in zip(self.from_source(nodes).chunk(2, dim=-1), directions, strict=True):
            ends = edge_index[:, chosen]
            total = self.propagate(ends, x=sent, edge_attr=edges[chosen])
            arriving = degree(ends[1], num_nodes=len(nodes)).clamp_min(1)
            received.append(total / arriving.to(total.dtype).sqrt().unsqueeze(1))
        values = torch.cat([nodes, *received], dim=-1)
        of_hidden = self.update_net(values, values.abs(), has_bias=False)
        of_fixed = self.update_net(values, values, has_bias=True)
        return is_hidden * of_hidden + (1 - is_hidden) * of_fixed

    def message(self, x_j: Tensor, edge_attr: Tensor) -> Tensor:
        return edge_attr * x_j


class ScaleUpdate(nn.Module):
    """A linear map times a perceptron of what the sign does not change."""

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim, bias=False)
        self.fixed_bias = nn.Parameter(torch.zeros(out_dim))
        self.gate = Perceptron(in_dim, out_dim)

    def forward(self, values: Tensor, seen: Tensor, *, has_bias: bool) -> Tensor:
        moved = self.linear(values)
        return (moved + self.fixed_bias if has_bias else moved) * self.gate(seen)


class Perceptron(nn.Module):
    """Linear, layer norm, SiLU, linear."""

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        self.first, self.norm = nn.Linear(in_dim, out_dim), nn.LayerNorm(out_dim)
        self.last = nn.Linear(out_dim, out_dim)

    def forward(self, values: Tensor) -> Tensor:
        return self.last(F.silu(self.norm(self.first(values))))


def _rename_update(state: dict, prefix: str, *_: object) -> None:
    """`update` is a method of `MessagePassing`."""
    for name in [name for name in state if name.startswith(f"{prefix}update.")]:
        state[name.replace(f"{prefix}update.", f"{prefix}update_net.", 1)] = state.pop(name)
