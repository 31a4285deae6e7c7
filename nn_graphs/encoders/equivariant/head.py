"""The heads of weight space layers: of outputs per network, and of new parameters."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.equivariant.linear import EquivariantLinear, InvariantPooling
from nn_graphs.encoders.equivariant.spaces import ParameterSpaces
from nn_graphs.encoders.features import EncodedGraphs, Graphs, Reads
from nn_graphs.encoders.mlp import make_mlp
from nn_graphs.encoders.new_parameters import NewParameters
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics


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


class EquivariantHead(nn.Module):
    """New parameters for every network: a last equivariant linear map, then `NewParameters`.

    Args:
        spaces: those of the encoder.
        dim: channels of the encoder.
        dims: sizes of the graphs.
        statistics, is_residual, num_copies: see `NewParameters`.
    """

    reads: Reads = "edges"

    def __init__(
        self,
        spaces: ParameterSpaces,
        *,
        dim: int,
        dims: GraphDims,
        statistics: WeightStatistics | None = None,
        is_residual: bool = True,
        num_copies: int = 1,
    ):
        super().__init__()
        self.spaces = spaces
        self.new = NewParameters(dims, statistics, is_residual=is_residual, num_copies=num_copies)
        self.num_values = dims.num_edge_values
        self.linear = EquivariantLinear(
            spaces.spaces, in_dim=dim, out_dim=num_copies * self.num_values
        )

    def forward(self, encoded: EncodedGraphs) -> Graphs:
        values = self.linear(self.spaces.split(encoded.nodes, encoded.edges))
        nodes, edges = self.spaces.join(values)
        return self.new(encoded.graphs, nodes[..., :: self.num_values], edges)
