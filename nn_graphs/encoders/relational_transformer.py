"""NG-T: the relational transformer on neural graphs.

Diao & Loynd, ICLR 2023, as modified by Kofinas et al., ICLR 2024, sec. 4: queries, keys and values
of a pair of neurons are sums of parts from the neurons and from the edge between them, values are
also modulated by the edge.

`attention="all_pairs"` is the published function: every neuron attends to all neurons of its graph,
itself included, whether an edge joins them or not; graphs of different size are masked (the public
code attends to padding). `attention="edges"` attends along real edges only, in both directions.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.dropout import Dropout
from nn_graphs.encoders.encoder_registry import registered
from nn_graphs.encoders.features import (
    ALL_INPUTS,
    Counts,
    EncodedGraphs,
    GraphFeatures,
    Graphs,
    InputSettings,
    Reads,
)
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.topology import EdgeValues, Topology, on_edges
from nn_graphs.ranges import Count, PositiveFloat, PositiveInt, Probability, in_ranges


@registered("ng_t")
@in_ranges
class NGT(nn.Module):
    """The NG-T encoder.

    Args:
        templates: the architectures of the training networks; their sizes are used.
        statistics: what weights and biases are normalised by; None: nothing.
        attention: "all_pairs" or "edges", see the module.
        node_dim, edge_dim: sizes of node and edge vectors.
        attention_dim: size of queries, keys and values of all heads together.
        node_hidden_dim, edge_hidden_dim: hidden sizes of the update networks.
        num_layers, num_heads: of the transformer.
        dropout: behind attention and behind the update networks.
        fourier_sigma: deviation of the Fourier frequencies; None: plain linear maps.
        has_reverse_features: describe pairs by the weights in both directions.
        has_last_edge_update: update edges in the last layer too; heads that read edges need it.
        has_cls_token: give every graph one more node, with a learned vector, whose last vector is
            that of the graph; for "all_pairs" only.
        num_probes: probe features; 0: none.
        has_activation_embedding: tell neurons their activation function.
        has_modulation: edges scale the values of the neurons that are attended to.
        has_layer_norms: behind every update.
        has_edge_updates: between layers; without them pairs stay as they begin.
        inputs: what is left out of the graphs' features, see `InputSettings`.

    Raises:
        NNGraphsError: an unknown attention, a token without all pairs, heads of unequal size.
    """

    def __init__(
        self,
        templates: Sequence[GraphTemplate] | GraphDims,
        statistics: WeightStatistics | None = None,
        *,
        attention: Literal["all_pairs", "edges"] = "all_pairs",
        node_dim: PositiveInt = 64,
        edge_dim: PositiveInt = 32,
        attention_dim: PositiveInt = 128,
        node_hidden_dim: PositiveInt = 128,
        edge_hidden_dim: PositiveInt = 64,
        num_layers: PositiveInt = 4,
        num_heads: PositiveInt = 8,
        dropout: Probability = 0.2,
        fourier_sigma: PositiveFloat | None = 1.0,
        has_reverse_features: bool = False,
        has_last_edge_update: bool = False,
        has_cls_token: bool = False,
        num_probes: Count = 0,
        has_activation_embedding: bool = False,
        has_modulation: bool = True,
        has_layer_norms: bool = True,
        has_edge_updates: bool = True,
        inputs: InputSettings = ALL_INPUTS,
    ):
        super().__init__()
        _check(attention, has_cls_token=has_cls_token, dim=attention_dim, num_heads=num_heads)
        self.attention = attention
        self.node_dim, self.edge_dim = node_dim, edge_dim
        self.features = GraphFeatures(
            GraphDims.of(templates),
            statistics,
            node_dim=node_dim,
            edge_dim=edge_dim,
            fourier_sigma=fourier_sigma,
            has_reverse_features=has_reverse_features,
            weights_on="backward",
            num_probes=num_probes,
            has_activation_embedding=has_activation_embedding,
            inputs=inputs,
        )
        self.node_updates = nn.ModuleList(
            NodeUpdate(
                node_dim,
                edge_dim,
                attention_dim=attention_dim,
                hidden_dim=node_hidden_dim,
                num_heads=num_heads,
                dropout=dropout,
                has_modulation=has_modulation,
                has_layer_norms=has_layer_norms,
            )
            for _ in range(num_layers)
        )
        num_edge_updates = num_layers if has_last_edge_update else num_layers - 1
        self.edge_updates = nn.ModuleList(
            EdgeUpdate(
                node_dim,
                edge_dim,
                hidden_dim=edge_hidden_dim,
                dropout=dropout,
                has_layer_norms=has_layer_norms,
            )
            for _ in range(num_edge_updates if has_edge_updates else 0)
        )
        self.cls_token = nn.Parameter(torch.randn(node_dim)) if has_cls_token else None

    def forward(self, graphs: Graphs, *, reads: Reads = "edges") -> EncodedGraphs:
        graphs = self.features.dims.centred(graphs)
        base, has_token = graphs.topology, self.cls_token is not None
        topology = base.bidirectional
        if self.attention == "all_pairs":
            topology = base.complete(graphs.num_graphs, has_virtual_node=has_token)
        nodes, edges = self.features(graphs, topology)
        nodes = topology.unflatten(base.flatten(nodes)[0])
        if has_token:
            nodes = torch.cat([self.cls_token.expand(len(nodes), 1, -1), nodes[:, 1:]], dim=1)
        last = len(self.node_updates) - 1
        for number, node_update in enumerate(self.node_updates):
            nodes = node_update(topology, nodes, edges)
            has_update = number < len(self.edge_updates) and (number < last or reads == "edges")
            opposite = topology.opposite(edges) if has_update else None
            if number == last - 1 and reads == "outputs":
                topology = topology.into_outputs()
                edges = topology.chosen(edges)
                opposite = topology.chosen(opposite) if has_update else None
            if has_update:
                edges = self.edge_updates[number](topology, nodes, edges, opposite)
        graph = nodes[:, 0] if has_token else None
        nodes = base.unflatten(topology.flatten(nodes)[0])
        return EncodedGraphs(
            graphs,
            nodes,
            self._own_edges(graphs, topology, edges) if reads == "edges" else None,
            graph,
        )

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts:
        """Numbers in what is passed from layer to layer: a vector per pair or directed edge."""
        num_pairs = num_nodes**2 if self.attention == "all_pairs" else 2 * num_edges
        return num_pairs * self.edge_dim

    def _own_edges(self, graphs: Graphs, topology: Topology, edges: EdgeValues) -> Tensor:
        own = self.features.own_edges(edges, topology)
        return own.reshape(*graphs.edge_features.shape[:-1], self.edge_dim)


def _check(attention: str, *, has_cls_token: bool, dim: int, num_heads: int) -> None:
    asked = f"build an NG-T with attention={attention!r}"
    if attention not in ("all_pairs", "edges"):
        raise NNGraphsError(asked, found="it is unknown.", do="Use 'all_pairs' or 'edges'.")
    if has_cls_token and attention != "all_pairs":
        raise NNGraphsError(
            f"{asked} and a cls token",
            found="no edge joins the token to the neurons.",
            do="Use attention='all_pairs', or another pooling.",
        )
    if dim % num_heads:
        raise NNGraphsError(
            f"divide {dim} channels of attention among {num_heads} heads",
            found=f"{dim % num_heads} are left over.",
            do="Use an attention_dim that is a multiple of num_heads.",
        )


class RelationalAttention(nn.Module):
    """Attention with q_ij = q_i + A e_ij, k_ij = k_j + C e_ij, v_ij = v_j * S e_ij + B e_ij.

    Without modulation S e_ij is 1.
    """

    def __init__(
        self,
        node_dim: PositiveInt,
        edge_dim: PositiveInt,
        *,
        attention_dim: PositiveInt,
        num_heads: PositiveInt,
        has_modulation: bool = True,
    ):
        super().__init__()
        self.num_heads, self.scale = num_heads, attention_dim**-0.5
        self.num_parts = 4 if has_modulation else 3
        self.from_node = _linear(node_dim, 3 * attention_dim, bias=False)
        self.from_edge = _linear(edge_dim, self.num_parts * attention_dim, bias=False)
        self.out = _linear(attention_dim, node_dim)

    def forward(
        self,
        topology: Topology,
        nodes: Float[Tensor, "*B num_nodes node_dim"],
        edges: EdgeValues,
    ) -> Float[Tensor, "*B num_nodes node_dim"]:
        query, key, value = self.from_node(nodes).chunk(3, dim=-1)
        edge_query, edge_key, edge_value, *factor = self.from_edge.weight.chunk(self.num_parts)
        scores = on_edges(
            partial(self._scores, edge_query * self.scale, edge_key),
            topology.targets(query * self.scale),
            topology.sources(key),
            edges,
        )
        attention = topology.softmax(scores)
        modulated = on_edges(
            partial(self._modulated_values, factor[0] if factor else None),
            attention,
            topology.sources(value),
            edges,
        )
        gathered = topology.reduce_sum(modulated)
        gathered = gathered + self._edge_values(
            edge_value, topology.reduce_weighted(attention, edges)
        )
        return self.out(gathered)

    def _scores(
        self, edge_query: Tensor, edge_key: Tensor, query: Tensor, key: Tensor, edges: Tensor
    ) -> Tensor:
        """`[..., num_heads]` from queries and keys `[..., attention_dim]` and edges."""
        products = (query + F.linear(edges, edge_query)) * (key + F.linear(edges, edge_key))
        return products.unflatten(-1, (self.num_heads, -1)).sum(-1)

    def _modulated_values(
        self, edge_factor: Tensor | None, attention: Tensor, value: Tensor, edges: Tensor
    ) -> Tensor:
        """`[..., attention_dim]` from attention `[..., num_heads]`, values and edges."""
        if edge_factor is not None:
            value = value * F.linear(edges, edge_factor)
        values = value.unflatten(-1, (self.num_heads, -1))
        return (attention.unsqueeze(-1) * values).flatten(-2)

    def _edge_values(self, weight: Tensor, gathered: Tensor) -> Tensor:
        """B times the edges that each head gathered: once a neuron, rather than once a pair."""
        per_head = gathered.unflatten(-1, (self.num_heads, -1))
        heads = weight.unflatten(0, (self.num_heads, -1))
        return torch.einsum("...he,hde->...hd", per_head, heads).flatten(-2)


class PostNormUpdate(nn.Module):
    """A change and a feed-forward network, each with a skip and a layer norm behind it."""

    def _add_update(
        self, dim: int, *, hidden_dim: int, dropout: float, has_layer_norms: bool
    ) -> None:
        self.feed_forward = _feed_forward(dim, hidden_dim)
        make_norm = nn.LayerNorm if has_layer_norms else nn.Identity
        self.norms = nn.ModuleList(make_norm(dim) for _ in range(2))
        self.dropout = Dropout(dropout)

    def _updated(
        self, values: Float[Tensor, "*shape dim"], change: Float[Tensor, "*shape dim"]
    ) -> Float[Tensor, "*shape dim"]:
        values = self.norms[0](values + self.dropout(change))
        return self.norms[1](values + self.dropout(self.feed_forward(values)))


class NodeUpdate(PostNormUpdate):
    """Attention, and an update of neurons by what it gathers."""

    def __init__(
        self,
        node_dim: PositiveInt,
        edge_dim: PositiveInt,
        *,
        attention_dim: PositiveInt,
        hidden_dim: PositiveInt,
        num_heads: PositiveInt,
        dropout: Probability,
        has_modulation: bool,
        has_layer_norms: bool,
    ):
        super().__init__()
        self.attention = RelationalAttention(
            node_dim,
            edge_dim,
            attention_dim=attention_dim,
            num_heads=num_heads,
            has_modulation=has_modulation,
        )
        self.attended = _linear(node_dim, node_dim)
        self._add_update(
            node_dim, hidden_dim=hidden_dim, dropout=dropout, has_layer_norms=has_layer_norms
        )

    def forward(
        self,
        topology: Topology,
        nodes: Float[Tensor, "*B num_nodes node_dim"],
        edges: EdgeValues,
    ) -> Float[Tensor, "*B num_nodes node_dim"]:
        return self._updated(nodes, self.attended(self.attention(topology, nodes, edges)))


class EdgeUpdate(PostNormUpdate):
    """An update of edges by both their directions and both their ends."""

    def __init__(
        self,
        node_dim: PositiveInt,
        edge_dim: PositiveInt,
        *,
        hidden_dim: PositiveInt,
        dropout: Probability,
        has_layer_norms: bool,
    ):
        super().__init__()
        self.from_edges = _linear(2 * edge_dim, hidden_dim)
        self.from_target = _linear(node_dim, hidden_dim)
        self.from_source = _linear(node_dim, hidden_dim)
        self.mixed = _linear(hidden_dim, edge_dim)
        self._add_update(
            edge_dim, hidden_dim=hidden_dim, dropout=dropout, has_layer_norms=has_layer_norms
        )

    def forward(
        self,
        topology: Topology,
        nodes: Float[Tensor, "*B num_nodes node_dim"],
        edges: EdgeValues,
        opposite: EdgeValues,
    ) -> EdgeValues:
        return on_edges(
            self._update,
            edges,
            opposite,
            topology.targets(self.from_target(nodes)),
            topology.sources(self.from_source(nodes)),
        )

    def _update(
        self, edges: Tensor, opposite: Tensor, from_target: Tensor, from_source: Tensor
    ) -> Tensor:
        both = torch.cat([edges, opposite], dim=-1)
        hidden = self.from_edges(both) + (from_target + from_source)
        return self._updated(edges, self.mixed(F.gelu(hidden)))


def _feed_forward(dim: int, hidden_dim: int) -> nn.Sequential:
    first = _linear(dim, hidden_dim, bias=False)
    return nn.Sequential(first, nn.GELU(), _linear(hidden_dim, dim))


def _linear(in_dim: int, out_dim: int, *, bias: bool = True) -> nn.Linear:
    """A linear map with Xavier-uniform weights and zero biases, as published."""
    linear = nn.Linear(in_dim, out_dim, bias=bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
