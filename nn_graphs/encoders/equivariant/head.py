"""The invariant head of weight space layers."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.equivariant.linear import InvariantPooling
from nn_graphs.encoders.equivariant.spaces import ParameterSpaces
from nn_graphs.encoders.features import EncodedGraphs, Reads
from nn_graphs.encoders.mlp import make_mlp


class InvariantHead(nn.Module):
    """Outputs per network: averages of every parameter space, then linear layers with relu between.

    Args:
        spaces: those of the encoder, which decide what stays apart: with inputs and outputs that
            may be permuted their neurons are averaged too.
        dim: channels of the encoder.
        hidden_dims: sizes of the hidden layers; none: one linear map.
        dropout: behind every hidden layer.
        out_dim: number of outputs.
    """

    reads: Reads = "edges"

    def __init__(
        self,
        spaces: ParameterSpaces,
        *,
        dim: int,
        hidden_dims: Sequence[int],
        dropout: float,
        out_dim: int,
    ):
        super().__init__()
        self.spaces = spaces
        self.pooling = InvariantPooling(spaces.spaces, dim=dim)
        self.mlp = make_mlp([self.pooling.out_dim, *hidden_dims, out_dim], dropout=dropout)

    def forward(self, encoded: EncodedGraphs) -> Float[Tensor, "B out_dim"]:
        return self.mlp(self.pooling(self.spaces.split(encoded.nodes, encoded.edges)))
