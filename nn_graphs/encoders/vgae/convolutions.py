"""The message-passing layers of StructureReps, over topologies: equal to torch-geometric's.

`TransformerConvolution` is `TransformerConv` (Shi et al., IJCAI 2021), `AttentionConvolution` is
`GATConv` (Velickovic et al., ICLR 2018), with several heads behind each other. What an edge adds to
a message is never made into a vector per edge: by linearity its weight meets a vector of the
neuron, so that an edge costs a few numbers per head.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.dropout import Dropout
from nn_graphs.graphs.topology import EdgeChannels, EdgeValues, Topology, attend, on_edges

NEGATIVE_SLOPE = 0.2

Nodes = Float[Tensor, "*B num_nodes _"]
Edges = EdgeChannels | EdgeValues


class TransformerConvolution(nn.Module):
    """`W_s x_i + sum_j alpha_ij (W_v x_j + W_e e_ij)`, `alpha = softmax(q_i . (k_j + W_e e_ij))`.

    Products are divided by the root of `head_dim`. Keys have no bias: it would add the same to all
    scores of a neuron, and change nothing.

    Args:
        in_dim: of neurons.
        head_dim: of each head; the result has `num_heads * head_dim`.
        num_heads: attention heads.
        edge_dim: numbers of an edge; None: edges are not read.
        dropout: of attention.
    """

    def __init__(
        self,
        in_dim: int,
        head_dim: int,
        *,
        num_heads: int = 1,
        edge_dim: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, head_dim
        dim = num_heads * head_dim
        self.query, self.value = nn.Linear(in_dim, dim), nn.Linear(in_dim, dim)
        self.key = nn.Linear(in_dim, dim, bias=False)
        self.edge = None if edge_dim is None else nn.Linear(edge_dim, dim, bias=False)
        self.skip = nn.Linear(in_dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, topology: Topology, nodes: Nodes, edges: Edges | None) -> Nodes:
        """
        Args:
            topology: whose messages are passed.
            nodes: `[*B, num_nodes, in_dim]`.
            edges: with `edge_dim` channels; None where they are not read.
        """
        query = self.query(nodes) * self.head_dim**-0.5
        reads = {} if self.edge is None else {"edges": edges, "asked": self._asked(nodes)}
        heard = attend(
            topology,
            query,
            self.key(nodes),
            self.value(nodes),
            num_heads=self.num_heads,
            dropout=self.dropout,
            **reads,
        )
        received = heard.values
        if self.edge is not None:
            received = received + F.linear(heard.edges, torch.block_diag(*self._edge_matrices()))
        return received + self.skip(nodes)

    def _edge_matrices(self) -> Float[Tensor, "num_heads head_dim edge_dim"]:
        return self.edge.weight.unflatten(0, (self.num_heads, -1))

    def _asked(self, nodes: Nodes) -> Nodes:
        """What edges are multiplied by, `q_i . W_e e_ij = (W_e^T q_i) . e_ij`, per head.

        Two linear maps of a neuron, one behind the other, are applied as one.
        """
        by_head = self._edge_matrices().mT * self.head_dim**-0.5  # [num_heads, edge_dim, head_dim]
        weight = by_head @ self.query.weight.unflatten(0, (self.num_heads, -1))
        bias = by_head @ self.query.bias.view(self.num_heads, -1, 1)
        return F.linear(nodes, weight.flatten(0, 1), bias.flatten())


class AttentionConvolution(nn.Module):
    """`b + sum_j alpha_ij W x_j`, with the neuron itself among those it hears.

    `alpha = softmax LeakyReLU(a_s . W x_j + a_t . W x_i + a_e . W_e e_ij)`. What a neuron says to
    itself has, for an edge, the mean of the edges that reach it (zeros where none does).

    Args:
        in_dim: of neurons.
        head_dim: of each head; the result has `num_heads * head_dim`.
        num_heads: attention heads.
        edge_dim: numbers of an edge; None: edges are not read.
        dropout: of attention.
    """

    def __init__(
        self,
        in_dim: int,
        head_dim: int,
        *,
        num_heads: int = 1,
        edge_dim: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.num_heads = num_heads
        dim = num_heads * head_dim
        self.linear = nn.Linear(in_dim, dim, bias=False)
        self.edge = None if edge_dim is None else nn.Linear(edge_dim, dim, bias=False)
        names = ["source", "target"] + ([] if edge_dim is None else ["edge"])
        self.attention = nn.ParameterDict(
            {name: nn.Parameter(torch.empty(num_heads, head_dim)) for name in names}
        )
        self.bias = nn.Parameter(torch.zeros(dim))
        self.dropout = Dropout(dropout)
        for weight in (*self.attention.values(), self.linear.weight):
            nn.init.xavier_uniform_(weight)

    def forward(self, topology: Topology, nodes: Nodes, edges: Edges | None) -> Nodes:
        """
        Args:
            topology: whose messages are passed.
            nodes: `[*B, num_nodes, in_dim]`.
            edges: with `edge_dim` channels; None where they are not read.
        """
        values = self.linear(nodes)
        source, target = (self._scores(values, name) for name in ("source", "target"))
        scores = on_edges(torch.add, topology.targets(target), topology.sources(source))
        own = source + target
        if isinstance(edges, EdgeChannels):
            edges = edges.parts
        if self.edge is not None:
            by_edge = self._scores(self.edge.weight.mT, "edge").mT  # a_e . W_e is a vector a head
            scores = on_edges(lambda s, e: s + F.linear(e, by_edge), scores, edges)
            own = own + F.linear(topology.reduce_mean(edges), by_edge)
        scores = on_edges(_leaky, scores)
        weights, own = _softmax_with_itself(topology, scores, _leaky(own))
        received = topology.reduce_attended(on_edges(self.dropout, weights), values)
        own = self.dropout(own).repeat_interleave(values.shape[-1] // self.num_heads, dim=-1)
        return received + own * values + self.bias

    def _scores(self, values: Tensor, name: str) -> Tensor:
        """Per head, the product with an attention vector."""
        return (values.unflatten(-1, (self.num_heads, -1)) * self.attention[name]).sum(-1)


def _leaky(scores: Tensor) -> Tensor:
    return F.leaky_relu(scores, NEGATIVE_SLOPE)


def _softmax_with_itself(
    topology: Topology, scores: EdgeValues, own: Nodes
) -> tuple[EdgeValues, Nodes]:
    """Softmax over the messages that reach a neuron and one more, its own."""
    largest = torch.where(topology.in_degree > 0, topology.reduce_max(scores), own)
    largest = torch.maximum(largest, own).detach()
    weights = on_edges(lambda s, m: (s - m).exp(), scores, topology.targets(largest))
    own = (own - largest).exp()
    total = topology.reduce_sum(weights) + own
    return on_edges(torch.div, weights, topology.targets(total)), own / total
