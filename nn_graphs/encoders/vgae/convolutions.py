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
from nn_graphs.graphs.topology import EdgeValues, Topology, on_edges

NEGATIVE_SLOPE = 0.2

Nodes = Float[Tensor, "*B num_nodes _"]


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

    def forward(self, topology: Topology, nodes: Nodes, edges: EdgeValues | None) -> Nodes:
        """
        Args:
            topology: whose messages are passed.
            nodes: `[*B, num_nodes, in_dim]`.
            edges: `[.., edge_dim]`; None where edges are not read.
        """
        query = self.query(nodes) * self.head_dim**-0.5
        scores = topology.dot_products(query, self.key(nodes), num_heads=self.num_heads)
        if self.edge is not None:
            scores = on_edges(torch.add, scores, self._edge_scores(topology, query, edges))
        weights = on_edges(self.dropout, topology.softmax(scores))
        received = topology.reduce_attended(weights, self.value(nodes))
        if self.edge is not None:
            received = received + self._edge_values(topology.reduce_weighted(weights, edges))
        return received + self.skip(nodes)

    def _edge_matrix(self) -> Float[Tensor, "num_heads head_dim edge_dim"]:
        return self.edge.weight.unflatten(0, (self.num_heads, -1))

    def _edge_scores(self, topology: Topology, query: Nodes, edges: EdgeValues) -> EdgeValues:
        """`q_i . W_e e_ij`, as `(W_e^T q_i) . e_ij`, per head."""
        by_head = query.unflatten(-1, (self.num_heads, -1))
        asked = torch.einsum("...hd,hde->...he", by_head, self._edge_matrix()).flatten(-2)
        return on_edges(_head_products, topology.targets(asked), edges)

    def _edge_values(self, sums: Nodes) -> Nodes:
        """`W_e` of the sum of a neuron's edges, per head."""
        by_head = sums.unflatten(-1, (self.num_heads, -1))
        return torch.einsum("...he,hde->...hd", by_head, self._edge_matrix()).flatten(-2)


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

    def forward(self, topology: Topology, nodes: Nodes, edges: EdgeValues | None) -> Nodes:
        """
        Args:
            topology: whose messages are passed.
            nodes: `[*B, num_nodes, in_dim]`.
            edges: `[.., edge_dim]`; None where edges are not read.
        """
        values = self.linear(nodes)
        source, target = (self._scores(values, name) for name in ("source", "target"))
        scores = on_edges(torch.add, topology.targets(target), topology.sources(source))
        own = source + target
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


def _head_products(vectors: Tensor, edges: Tensor) -> Tensor:
    """Per head, the product of a neuron's vector with the edge's one, `[.., num_heads]`."""
    by_head = vectors.unflatten(-1, (-1, edges.shape[-1]))
    return torch.einsum("...hv,...v->...h", by_head, edges)


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
