"""Vectors on edges that are a linear map of stored values, applied together with the next map.

An edge update ends in a linear map, and whatever reads the updated edges begins with one. Two maps
in a row are one, whose matrix is found at the cost of a few neurons rather than of all edges.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.graphs.topology import EdgeValues, Topology, on_edges


@dataclass(frozen=True)
class MappedEdges:
    """The edge vectors `linear(values)`; with linear None, the values themselves."""

    values: EdgeValues
    linear: nn.Linear | None = None

    def map(
        self, weight: Float[Tensor, "out_dim dim"], bias: Float[Tensor, "out_dim"] | None
    ) -> EdgeValues:
        """A linear map of the edge vectors."""
        if self.linear is not None:
            weight, bias = compose(weight, bias, self.linear)
        return on_edges(lambda values: F.linear(values, weight, bias), self.values)

    def map_apart(
        self, weight: Float[Tensor, "out_dim dim"], bias: Float[Tensor, "out_dim"]
    ) -> tuple[EdgeValues, Float[Tensor, "out_dim"]]:
        """A linear map of the edge vectors in two terms: what varies with the edge, and the rest.

        Whoever adds a value per neuron to it adds the rest there, at no cost per edge.
        """
        if self.linear is not None:
            weight, bias = compose(weight, bias, self.linear)
        return on_edges(lambda values: F.linear(values, weight), self.values), bias

    def vectors(self) -> EdgeValues:
        """The edge vectors."""
        return self.values if self.linear is None else on_edges(self.linear, self.values)

    def into_outputs(self, topology: Topology) -> "MappedEdges":
        """Those of the messages of `topology`, which is another one's `into_outputs()`."""
        return MappedEdges(topology.chosen(self.values), self.linear)


def compose(
    weight: Float[Tensor, "out_dim dim"], bias: Float[Tensor, "out_dim"] | None, first: nn.Linear
) -> tuple[Float[Tensor, "out_dim in_dim"], Float[Tensor, "out_dim"] | None]:
    """Weight and bias of a linear map behind another."""
    moved = None if first.bias is None else weight @ first.bias
    if bias is not None:
        moved = bias if moved is None else bias + moved
    return weight @ first.weight, moved
