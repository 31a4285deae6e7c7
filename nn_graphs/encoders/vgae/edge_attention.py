"""Edge Attention: features of neurons made of the weights of their edges.

StructureReps, app. A1.2, equations 1 to 3. The paper leaves the noise n open; ours adds normal
numbers to the weights, in training alone.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.dropout import normal_noise
from nn_graphs.graphs.topology import EdgeValues, Topology, on_edges

NEGATIVE_SLOPE = 0.2


class EdgeAttention(nn.Module):
    """`x_j = sum_i alpha_ij e_ij` over the messages that reach neuron j; zeros where none does.

    `alpha` is the softmax over these of `LeakyReLU(a . p_ij)`, where
    `p = Theta_lin [LeakyReLU(Theta e + b), e, n(e)]`, in every line as published.

    Args:
        edge_dim: numbers of an edge, and of a neuron in the result.
        hidden_dim: of the transformed edge, `Theta`, and of the projection, `Theta_lin`.
        noise_scale: deviation of the noise; 0: n(e) = e, as outside of training.
    """

    def __init__(self, edge_dim: int, *, hidden_dim: int = 16, noise_scale: float = 0.1):
        super().__init__()
        self.noise_scale = noise_scale
        self.transform = nn.Linear(edge_dim, hidden_dim)
        self.project = nn.Linear(hidden_dim + 2 * edge_dim, hidden_dim, bias=False)
        self.attention = nn.Parameter(torch.empty(hidden_dim))
        nn.init.normal_(self.attention, std=hidden_dim**-0.5)

    def forward(
        self, topology: Topology, edges: EdgeValues
    ) -> Float[Tensor, "*B num_nodes edge_dim"]:
        weights = topology.softmax(on_edges(self._scores, edges))
        return topology.reduce_weighted(weights, edges)

    def _scores(self, edges: Tensor) -> Tensor:
        """`LeakyReLU(a . p)` of one part of the edges, `[.., 1]`; `a . Theta_lin` is a vector."""
        transformed = F.leaky_relu(self.transform(edges), NEGATIVE_SLOPE)
        parts = transformed, edges, self._noised(edges)
        vectors = (self.attention @ self.project.weight).split([part.shape[-1] for part in parts])
        scores = sum(part @ vector for part, vector in zip(parts, vectors, strict=True))
        return F.leaky_relu(scores, NEGATIVE_SLOPE).unsqueeze(-1)

    def _noised(self, edges: Tensor) -> Tensor:
        if not self.training or not self.noise_scale:
            return edges
        return edges + self.noise_scale * normal_noise(edges)
