"""Heads: from encoded neural graphs to outputs per graph, or to new parameters."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.features import Counts, EncodedGraphs, Graphs, Reads
from nn_graphs.encoders.mlp import make_mlp
from nn_graphs.encoders.new_parameters import NewParameters
from nn_graphs.encoders.pooled_encoder import PooledEncoder
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics


class GraphModel(nn.Module):
    """An encoder with a head behind it: neural graphs in, the head's outputs out."""

    def __init__(self, encoder: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, graphs: Graphs):
        return self.head(self.encoder(graphs, reads=self.head.reads))

    def as_encoder(self) -> PooledEncoder | None:
        """What makes vectors of graphs, in front of the head; None where the head reads no such."""
        pooled = getattr(self.head, "pooled", None)
        return None if pooled is None else pooled(self.encoder)

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts | None:
        """Numbers that the encoder passes from layer to layer for a graph of some size.

        None where the encoder does not say, for instance because it needs the batch as a whole.
        """
        count = getattr(self.encoder, "values_per_graph", None)
        return None if count is None else count(num_nodes, num_edges)


class GraphHead(nn.Module):
    """Outputs per graph, e.g. class logits: pooling, then linear layers with relu between.

    Args:
        pooling: how a graph's vectors become one.
        hidden_dims: sizes of the hidden layers.
        out_dim: number of outputs.
    """

    def __init__(self, pooling: Pooling, *, hidden_dims: Sequence[int], out_dim: int):
        super().__init__()
        self.pooling = pooling
        self.reads = pooling.reads
        self.mlp = make_mlp([pooling.out_dim, *hidden_dims, out_dim])

    def forward(self, encoded: EncodedGraphs) -> Float[Tensor, "B out_dim"]:
        return self.mlp(self.pooling(encoded))

    def pooled(self, encoder: nn.Module) -> PooledEncoder:
        """An encoder with this head's pooling: what is read before the linear layers."""
        return PooledEncoder(encoder, self.pooling)


class NodeHead(nn.Module):
    """Outputs per neuron, `[*B, num_nodes, out_dim]`: linear, relu, linear."""

    reads: Reads = "nodes"

    def __init__(self, node_dim: int, *, out_dim: int = 1):
        super().__init__()
        self.mlp = make_mlp([node_dim, node_dim, out_dim])

    def forward(self, encoded: EncodedGraphs) -> Float[Tensor, "*B num_nodes out_dim"]:
        return self.mlp(encoded.nodes)


class EdgeHead(nn.Module):
    """Outputs per weight, `[*B, num_edges, out_dim]`: linear, relu, linear."""

    reads: Reads = "edges"

    def __init__(self, edge_dim: int, *, out_dim: int = 1):
        super().__init__()
        self.mlp = make_mlp([edge_dim, edge_dim, out_dim])

    def forward(self, encoded: EncodedGraphs) -> Float[Tensor, "*B num_edges out_dim"]:
        return self.mlp(encoded.edges)


class ParameterHead(nn.Module):
    """New parameters for every network, equivariantly: its graph with other weights and biases.

    Each bias is read from the vector of its own neuron and each weight from that of its own edge
    (the public code reads biases from the neuron two places before); the rest is `NewParameters`.

    Args:
        node_dim, edge_dim: sizes of the encoder's vectors.
        dims: sizes of the graphs.
        statistics: outputs are in units of these deviations; None: in units of 1.
        is_residual: put out the change of the parameters, rather than the parameters.
        num_copies: networks that are written for each network, in a row; several for stacks alone.
    """

    reads: Reads = "edges"

    def __init__(
        self,
        node_dim: int,
        edge_dim: int,
        *,
        dims: GraphDims,
        statistics: WeightStatistics | None = None,
        is_residual: bool = True,
        num_copies: int = 1,
    ):
        super().__init__()
        self.new = NewParameters(dims, statistics, is_residual=is_residual, num_copies=num_copies)
        self.node_head = NodeHead(node_dim, out_dim=num_copies)
        self.edge_head = EdgeHead(edge_dim, out_dim=num_copies * dims.num_edge_values)

    def forward(self, encoded: EncodedGraphs) -> Graphs:
        return self.new(encoded.graphs, self.node_head(encoded), self.edge_head(encoded))
