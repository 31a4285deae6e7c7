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
NUM_ROWS = 8192  # edges whose hidden numbers stay in a core's cache


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
        direct = (of_edge + of_noised).unflatten(0, (count, -1))
        weights = self.transform.weight.unflatten(1, (count, -1)).unbind(1)
        scores = [
            _TransformedScores.apply(edges.values, weight, self.transform.bias, of_hidden)
            for weight in weights
        ]
        scores = torch.stack(scores, dim=-1) + edges.values @ direct.mT
        if self.training and self.noise_scale:
            scores = scores + self._product_with_noise(of_noised, scores)
        return F.leaky_relu(scores, NEGATIVE_SLOPE)

    def _product_with_noise(self, vector: Float[Tensor, "channels"], scores: Tensor) -> Tensor:
        """Of a vector with noise of each message, in the shape of `scores`."""
        return self.noise_scale * vector.norm() * normal_noise(scores)


class _TransformedScores(torch.autograd.Function):
    """`v . LeakyReLU(W e + b)` of edges, called with e, W, b and v.

    Edges are many, and hidden numbers of each too: they are made for so many at a time as stay in
    the cache, and made again for the gradient, of which they say no more than by their signs.
    """

    @staticmethod
    def forward(ctx, edges, weight, bias, vector):
        ctx.save_for_backward(edges, weight, bias, vector)
        parts = edges.reshape(-1, edges.shape[-1]).split(NUM_ROWS)
        scores = [_hidden(part, weight, bias) @ vector for part in parts]
        return torch.cat(scores).view(edges.shape[:-1])

    @staticmethod
    def backward(ctx, gradient):
        edges, weight, bias, vector = ctx.saved_tensors
        by_weight, by_bias, of_edges = torch.zeros_like(weight), torch.zeros_like(bias), []
        parts = edges.reshape(-1, edges.shape[-1]).split(NUM_ROWS)
        gradient = gradient.to(edges.dtype).reshape(-1, 1)
        for part, of_part in zip(parts, gradient.split(NUM_ROWS), strict=True):
            # By signs, and not by a comparison, which takes several times as long.
            signs = _hidden(part, weight, bias).sign()
            slopes = signs.mul_((1 - NEGATIVE_SLOPE) / 2).add_((1 + NEGATIVE_SLOPE) / 2)
            by_weight.addmm_(slopes.mT, of_part * part)
            by_bias.addmv_(slopes.mT, of_part.squeeze(1))
            if ctx.needs_input_grad[0]:
                of_edges.append(of_part * ((slopes * vector) @ weight))
        of_vector = (by_weight * weight).sum(1) + by_bias * bias
        of_edges = torch.cat(of_edges).view(edges.shape) if of_edges else None
        return of_edges, by_weight * vector.unsqueeze(1), by_bias * vector, of_vector


def _hidden(edges: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(_linear(edges, weight, bias), NEGATIVE_SLOPE, inplace=True)


def _linear(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear map; of single numbers no product of matrices, which would take longer."""
    if weight.shape[1] > 1:
        return F.linear(values, weight, bias)
    return torch.addcmul(bias, values, weight.squeeze(1))
