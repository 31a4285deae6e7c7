"""Edge Attention: features of neurons made of the weights of their edges.

StructureReps, app. A1.2, equations 1 to 3. The paper leaves the noise n open; ours adds normal
numbers to the weights, in training alone. All that becomes of them is their product with a vector,
which is normal too, with the length of that vector as deviation: one number is drawn for each
message, whatever the size of its kernel.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.dropout import normal_noise
from nn_graphs.graphs.topology import EdgeChannels, attend_to_edges

NEGATIVE_SLOPE = 0.2


class EdgeAttention(nn.Module):
    """`x_j = sum_i alpha_ij e_ij` over the messages that reach neuron j; zeros where none does.

    `alpha` is the softmax over these of `LeakyReLU(a . p_ij)`, where
    `p = Theta_lin [LeakyReLU(Theta e + b), e, n(e)]`, in every line as published.

    Args:
        edge_dim: numbers of a message, and of a neuron in the result.
        hidden_dim: of the transformed message, `Theta`, and of the projection, `Theta_lin`.
        noise_scale: deviation of the noise; 0: n(e) = e, as outside of training.
    """

    def __init__(self, edge_dim: int, *, hidden_dim: int = 16, noise_scale: float = 0.1):
        super().__init__()
        self.noise_scale = noise_scale
        self.transform = nn.Linear(edge_dim, hidden_dim)
        self.project = nn.Linear(hidden_dim + 2 * edge_dim, hidden_dim, bias=False)
        self.attention = nn.Parameter(torch.empty(hidden_dim))
        nn.init.normal_(self.attention, std=hidden_dim**-0.5)

    def forward(self, edges: EdgeChannels) -> Float[Tensor, "*B num_nodes edge_dim"]:
        return attend_to_edges(edges, self._scores(edges))

    def _scores(self, edges: EdgeChannels) -> Float[Tensor, "*B num_edges num_directions"]:
        """`LeakyReLU(a . p)` of both messages of an edge; `a . Theta_lin` is a vector."""
        hidden_dim, count = len(self.attention), edges.num_directions
        whole = self.attention @ self.project.weight
        of_hidden, of_edge, of_noised = whole.split([hidden_dim, *[edges.num_channels] * 2])
        # Of a message's channels, those of its direction: the others are zeros.
        transform = self.transform.weight.unflatten(1, (count, -1)).transpose(0, 1).flatten(0, 1)
        hidden = _linear(edges.values, transform, self.transform.bias.repeat(count))
        hidden = F.leaky_relu(hidden, NEGATIVE_SLOPE, inplace=True)
        direct = (of_edge + of_noised).unflatten(0, (count, -1))
        scores = hidden @ torch.block_diag(*[of_hidden.unsqueeze(1)] * count)
        scores = scores + _linear(edges.values, direct, None)
        if self.training and self.noise_scale:
            scores = scores + self._product_with_noise(of_noised, scores)
        return F.leaky_relu(scores, NEGATIVE_SLOPE)

    def _product_with_noise(self, vector: Float[Tensor, "channels"], scores: Tensor) -> Tensor:
        """Of a vector with noise of each message, in the shape of `scores`."""
        return self.noise_scale * vector.norm() * normal_noise(scores)


def _linear(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear map; of single numbers no product of matrices, which would take longer."""
    if weight.shape[1] > 1:
        return F.linear(values, weight, bias)
    column = weight.squeeze(1)
    return values * column if bias is None else torch.addcmul(bias, values, column)
