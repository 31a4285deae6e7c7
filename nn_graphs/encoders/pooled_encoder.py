"""An encoder whose graphs are vectors: what a network is to whoever compares networks."""

from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.encoder_registry import registered
from nn_graphs.encoders.features import Counts, Graphs
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.statistics import GraphDims


@registered("pooled")
class PooledEncoder(nn.Module):
    """An encoder with a pooling behind it: neural graphs to one vector each.

    Args:
        encoder: any encoder of neural graphs.
        pooling: how a graph's vectors become one.
    """

    def __init__(self, encoder: nn.Module, pooling: Pooling):
        super().__init__()
        self.encoder, self.pooling = encoder, pooling

    @property
    def dims(self) -> GraphDims:
        """Sizes that it was made for."""
        return self.pooling.dims

    def forward(self, graphs: Graphs) -> Float[Tensor, "num_graphs out_dim"]:
        return self.embed(graphs)

    def embed(self, graphs: Graphs) -> Float[Tensor, "num_graphs out_dim"]:
        """One vector per graph; its size is `pooling.out_dim`."""
        return self.pooling(self.encoder(graphs, reads=self.pooling.reads))

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts | None:
        """What the encoder says, if it says anything."""
        count = getattr(self.encoder, "values_per_graph", None)
        return None if count is None else count(num_nodes, num_edges)
