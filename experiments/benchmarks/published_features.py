"""The input stage as the published code computes it: every pair of neurons gets a vector.

Kofinas et al., ICLR 2024, sec. 3. Weights stand in a dense matrix `E [B, N, N, 1]` of all pairs of
neurons, zero where no edge is; random Fourier features and linear maps run over all of them.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from nn_graphs.graphs.graph_template import NeuralGraphStack

NUM_FREQUENCIES = 128


def as_tensors(graphs: NeuralGraphStack) -> tuple[list[Tensor], list[Tensor]]:
    """What the published loaders give: weights `[B, in, out, 1]` and biases `[B, out, 1]`."""
    tensors = graphs.template.parameters.unflatten(graphs.params)
    weights = [t.mT.unsqueeze(-1) for name, t in tensors.items() if name.endswith("weight")]
    biases = [t.unsqueeze(-1) for name, t in tensors.items() if name.endswith("bias")]
    return weights, biases


class DenseFeatures(nn.Module):
    """Vectors of neurons `[B, N, node_dim]` and of all pairs of neurons `[B, N, N, edge_dim]`.

    Args:
        layer_layout: widths from input to output.
        node_dim, edge_dim: sizes of the vectors.
        sigma: deviation of the Fourier frequencies.
        has_reverse: describe pair (i, j) by `[E_ij, E_ji, E_ij + E_ji]` instead of `E_ij`.
    """

    def __init__(
        self,
        layer_layout: Sequence[int],
        *,
        node_dim: int,
        edge_dim: int,
        sigma: float,
        has_reverse: bool,
    ):
        super().__init__()
        self.starts = list(accumulate(layer_layout, initial=0))
        self.has_reverse = has_reverse
        for name, value in (("mean", 0.0), ("std", 1.0)):
            for kind in ("bias", "weight"):
                self.register_buffer(f"{kind}_{name}", torch.full((len(layer_layout),), value))
        self.bias_embedding = value_embedding(1, node_dim, sigma)
        self.weight_embedding = value_embedding(3 if has_reverse else 1, edge_dim, sigma)
        self.node_in = nn.Linear(node_dim, node_dim)
        self.edge_in = nn.Linear(edge_dim, edge_dim)
        first, *hidden, last = layer_layout
        self.neurons_of_position = [1] * first + hidden + [1] * last
        self.positions = nn.Parameter(torch.randn(len(self.neurons_of_position), node_dim))

    def forward(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        nodes, pairs = self._dense(weights, biases)
        if self.has_reverse:
            mirrored = pairs.transpose(1, 2)
            pairs = torch.cat([pairs, mirrored, pairs + mirrored], dim=-1)
        nodes = self.node_in(self.bias_embedding(nodes))
        counts = torch.tensor(self.neurons_of_position, device=nodes.device)
        return nodes + self.positions.repeat_interleave(counts, dim=0), self.edge_in(
            self.weight_embedding(pairs)
        )

    def _dense(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Normalised biases `[B, N, 1]` and the matrix of normalised weights `[B, N, N, 1]`."""
        count, num_nodes = len(weights[0]), self.starts[-1]
        nodes = weights[0].new_zeros(count, num_nodes, 1)
        pairs = weights[0].new_zeros(count, num_nodes, num_nodes, 1)
        layers = [slice(*ends) for ends in pairwise(self.starts)]
        for number, (before, after) in enumerate(pairwise(layers), start=1):
            weight, bias = weights[number - 1], biases[number - 1]
            pairs[:, before, after] = (weight - self.weight_mean[number]) / self.weight_std[number]
            nodes[:, after] = (bias - self.bias_mean[number]) / self.bias_std[number]
        return nodes, pairs


class FourierFeatures(nn.Module):
    def __init__(self, in_dim: int, sigma: float):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(NUM_FREQUENCIES, in_dim) * sigma)

    def forward(self, values: Tensor) -> Tensor:
        phases = 2 * math.pi * values @ self.frequencies.T
        return torch.cat([phases.cos(), phases.sin()], dim=-1)


def value_embedding(in_dim: int, out_dim: int, sigma: float) -> nn.Sequential:
    return nn.Sequential(FourierFeatures(in_dim, sigma), nn.Linear(2 * NUM_FREQUENCIES, out_dim))
