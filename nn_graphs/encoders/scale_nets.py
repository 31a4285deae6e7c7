"""Functions of neurons' vectors that follow every sign and scale of the neurons, or see none.

Kalogeropoulos et al., NeurIPS 2024 (ScaleGMN), sec. 4. An equivariant net is a linear map without
bias times a function of the canonical vector. One net serves all neurons here, where the public
code evaluates one for hidden and one for other neurons and chooses by masks: neurons that may not
be multiplied go into the function as they are, and have a bias.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.dropout import Dropout
from nn_graphs.encoders.neuron_factors import NeuronFactors

Invariants = Literal["absolute", "symmetrised"]
"""How signs are forgotten: `|x|`, or `r(x) + r(-x)` of a net r."""


class GateNet(nn.Module):
    """Linear, layer norm, SiLU, dropout, linear: the one kind of perceptron in ScaleGMN."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, *, dropout: float = 0.0):
        super().__init__()
        self.first, self.norm = nn.Linear(in_dim, hidden_dim), nn.LayerNorm(hidden_dim)
        self.dropout, self.last = Dropout(dropout), nn.Linear(hidden_dim, out_dim)

    def forward(self, values: Float[Tensor, "*rows in_dim"]) -> Float[Tensor, "*rows out_dim"]:
        return self.behind_first(self.first(values))

    def behind_first(self, hidden: Float[Tensor, "*rows hidden"]) -> Float[Tensor, "*rows out_dim"]:
        """The rest of the net, where the first linear map was taken in parts."""
        return self.last(self.dropout(F.silu(self.norm(hidden))))


class Canonical(nn.Module):
    """Vectors without what may be multiplied: `NeuronFactors.canonical`, or symmetrised.

    Args:
        dim: of the vectors.
        invariants: how signs are forgotten.
    """

    def __init__(self, dim: int, invariants: Invariants = "absolute"):
        super().__init__()
        self.net = GateNet(dim, dim, dim) if invariants == "symmetrised" else None

    def forward(
        self, values: Float[Tensor, "*rows dim"], factors: NeuronFactors
    ) -> Float[Tensor, "*rows dim"]:
        if self.net is None:
            return factors.canonical(values)
        values = factors.of_unit_scale(values)
        if factors.signs is None:
            return values
        change = F.linear(values, self.net.first.weight)
        bias = self.net.first.bias
        both = self.net.behind_first(bias + change) + self.net.behind_first(bias - change)
        return torch.where(factors.signs, both, values)


class InvariantNet(nn.Module):
    """A net of canonical vectors."""

    def __init__(
        self, in_dim: int, hidden_dim: int, out_dim: int, *, invariants: Invariants = "absolute"
    ):
        super().__init__()
        self.canonical = Canonical(in_dim, invariants)
        self.net = GateNet(in_dim, hidden_dim, out_dim)

    def forward(
        self, values: Float[Tensor, "*rows in_dim"], factors: NeuronFactors
    ) -> Float[Tensor, "*rows out_dim"]:
        return self.net(self.canonical(values, factors))


class EquivariantNet(nn.Module):
    """`(W x + b) * f(x)` with f an invariant net, and b only where nothing may be multiplied."""

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int,
        out_dim: int,
        *,
        dropout: float = 0.0,
        invariants: Invariants = "absolute",
    ):
        super().__init__()
        self.canonical = Canonical(in_dim, invariants)
        self.gate = GateNet(in_dim, hidden_dim, out_dim, dropout=dropout)
        self.linear = nn.Linear(in_dim, out_dim, bias=False)
        self.fixed_bias = nn.Parameter(torch.zeros(out_dim))

    def forward(
        self, values: Float[Tensor, "*rows in_dim"], factors: NeuronFactors
    ) -> Float[Tensor, "*rows out_dim"]:
        moved = self.linear(values) + self.fixed_bias * factors.is_fixed
        return moved * self.gate(self.canonical(values, factors))
