"""Vectors of edges behind encoders that keep none: read off the weight and both neurons, once."""

from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.graphs.topology import Topology, on_edges


class EdgeReadout(nn.Module):
    """Vectors of edges, `W_e w + W_s x_source + W_t x_target`, for heads that read edges."""

    def __init__(self, num_values: int, dim: int):
        super().__init__()
        self.from_weight = nn.Linear(num_values, dim)
        self.from_source, self.from_target = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(
        self,
        topology: Topology,
        weights: Float[Tensor, "*B num_edges values"],
        nodes: Float[Tensor, "*B num_nodes dim"],
    ) -> Float[Tensor, "*B num_edges dim"]:
        own = self.from_weight(weights)
        parts = topology.join(own, None, fill=own.new_zeros(own.shape[-1]))
        sources = topology.sources(self.from_source(nodes))
        targets = topology.targets(self.from_target(nodes))
        return topology.split(on_edges(lambda e, s, t: e + (s + t), parts, sources, targets))[0]
