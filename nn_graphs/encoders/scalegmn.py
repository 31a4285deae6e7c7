"""ScaleGMN: an encoder that no sign and no scale of neurons changes, nor a permutation.

Kalogeropoulos et al., NeurIPS 2024. Vectors of neurons follow the factors of their neurons through
all layers, and nothing else that is computed sees these. Differences from the public code:

- Messages may be products, `sum_j w_ij A x_j`, as in matrix-product graph metanetworks: on a stack
  one matrix product per block of edges, and no edge has a vector. With "nets" they are the
  published ones.
- Against edges of scaled neurons, the published messages carry the weight itself, which changes
  with the scales ("published"); its reciprocal, which would not, overflows where weights are tiny
  ("reciprocal"). Here networks are first brought to balanced form, in which both directions are
  exact and nothing is larger than a neuron has edges ("balanced", the default).
- One net serves all neurons (`scale_nets`); layers are residual; sums are over the root of how many
  messages arrive; inputs and outputs are told apart by learned vectors, however many there are.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.encoder_registry import registered
from nn_graphs.encoders.features import Counts, EncodedGraphs, Graphs, Reads
from nn_graphs.encoders.neuron_factors import NeuronFactors
from nn_graphs.encoders.probe_generators import ProbeForm
from nn_graphs.encoders.scale_features import (
    ScaleFeatures,
    balanced,
    check_factors,
    neuron_sizes,
)
from nn_graphs.encoders.scale_head import ScaleParameterHead, halves_at_ends
from nn_graphs.encoders.scale_nets import (
    Canonical,
    EquivariantNet,
    GateNet,
    InvariantNet,
    Invariants,
)
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.errors import check_known
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.topology import EdgeValues, Topology, on_edges

MessageForm = Literal["products", "nets"]
SumForm = Literal["rooted", "plain"]
ScaleForm = Literal["balanced", "published", "reciprocal"]


@registered("scalegmn")
class ScaleGMN(nn.Module):
    """The ScaleGMN encoder; with messages in both directions, ScaleGMN-B.

    Vectors of neurons that heads read are invariant; heads of parameters read the states, which
    follow the factors (`parameter_head`).

    Args:
        templates: the architectures of the training networks; their sizes are used.
        statistics: what weights and biases are measured in; None: units of 1.
        dim: size of the vectors of neurons and edges.
        hidden_dim: of the nets; None: `dim`.
        num_layers: message passing layers.
        dropout: in the nets that update neurons.
        is_bidirectional: messages also run against the edges.
        messages: "products" of weights and vectors of neurons, or "nets" of vectors of edges, which
            are updated between layers.
        scale_form: what is done about scales: networks are "balanced" first; or they are forgotten
            within every layer, and messages against edges carry weights ("published"), or one
            over them ("reciprocal").
        sums: of messages that reach a neuron, over the root of how many there are ("rooted"), or as
            the network itself sums ("plain"). Then, with products, means over layers stay what
            they are where hidden neurons are replaced by copies that share their weights (evenly,
            unless messages run along edges alone and scales are "published"), so that networks of
            other widths may be read.
        invariants: how signs are forgotten: "absolute" values, or "symmetrised" by a net.
        num_probes: inputs at which neurons' values are read too, of networks at points; 0: none.
        probes: how these inputs are learned: "free", or by a "deep_linear" generator.
        has_activation_embedding: tell neurons their activation function.

    Raises:
        NNGraphsError: no neuron of any template may change its sign or scale; an unknown option.
    """

    parameter_head = ScaleParameterHead

    def __init__(
        self,
        templates: Sequence[GraphTemplate] | GraphDims,
        statistics: WeightStatistics | None = None,
        *,
        dim: int = 64,
        hidden_dim: int | None = None,
        num_layers: int = 4,
        dropout: float = 0.0,
        is_bidirectional: bool = True,
        messages: MessageForm = "products",
        scale_form: ScaleForm = "balanced",
        sums: SumForm = "rooted",
        invariants: Invariants = "absolute",
        num_probes: int = 0,
        probes: ProbeForm = "free",
        has_activation_embedding: bool = False,
    ):
        super().__init__()
        for given, known in (
            (messages, MessageForm),
            (scale_form, ScaleForm),
            (sums, SumForm),
            (invariants, Invariants),
        ):
            check_known(given, get_args(known), asked=f"make a ScaleGMN of {given!r}")
        if not isinstance(templates, GraphDims):
            check_factors(templates, "make a ScaleGMN")
        hidden_dim = dim if hidden_dim is None else hidden_dim
        self.node_dim = self.edge_dim = dim
        self.is_bidirectional = is_bidirectional
        self.messages, self.scale_form, self.sums = messages, scale_form, sums
        self.features = ScaleFeatures(
            GraphDims.of(templates),
            statistics,
            dim=dim,
            num_probes=num_probes,
            probes=probes,
            has_activation_embedding=has_activation_embedding,
        )
        num_values = self.features.dims.num_edge_values
        self.layers = nn.ModuleList(
            ScaleLayer(
                dim,
                hidden_dim,
                num_values=num_values,
                num_directions=2 if is_bidirectional else 1,
                messages=messages,
                dropout=dropout,
                invariants=invariants,
            )
            for _ in range(num_layers)
        )
        if messages == "nets":
            self.edge_embeddings = nn.ModuleList(
                nn.Linear(num_values, dim, bias=False) for _ in range(2 if is_bidirectional else 1)
            )
            self.edge_states = nn.ModuleList(
                EdgeStates(dim, hidden_dim, invariants=invariants) for _ in range(num_layers - 1)
            )
        self.node_readout = InvariantNet(dim, hidden_dim, dim, invariants=invariants)
        self.edge_readout = EdgeInvariants(dim, hidden_dim, num_values, invariants=invariants)

    def forward(self, graphs: Graphs, *, reads: Reads = "edges") -> EncodedGraphs:
        graphs = self.features.dims.centred(graphs)
        topology = graphs.topology.bidirectional if self.is_bidirectional else graphs.topology
        factors, sizes = NeuronFactors.of(graphs), None
        weights, biases = self.features.weights(graphs), self.features.biases(graphs)
        if self.scale_form == "balanced" and factors.scales is not None:
            is_mean = self.sums == "rooted"
            sizes = neuron_sizes(graphs, weights, biases, factors, is_mean=is_mean)
            weights, biases = balanced(graphs, weights, sizes), biases / sizes
            factors = factors.without_scales()
        nodes = self.features.nodes(graphs, biases, factors, sizes)
        edges = self._edges(graphs, topology, weights)
        of_targets = factors.of_targets(topology) if self.messages == "nets" else None
        for number, layer in enumerate(self.layers):
            updated = layer(topology, nodes, edges, factors, of_targets)
            if self.messages == "nets" and number < len(self.edge_states):
                edges = self.edge_states[number](topology, nodes, edges, factors)
            nodes = updated
        if reads == "states":
            return EncodedGraphs(graphs, nodes if sizes is None else nodes * sizes)
        found = self.node_readout(nodes, factors)
        if reads != "edges":
            return EncodedGraphs(graphs, found)
        own = self.edge_readout(graphs.topology, weights, nodes, factors)
        return EncodedGraphs(graphs, found, own)

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts:
        """Numbers in what is passed from layer to layer: vectors of neurons; of edges, or values.

        With "products" these are the numbers that products are taken with.
        """
        directions = 2 if self.is_bidirectional else 1
        if self.messages == "nets":
            return directions * num_edges * self.edge_dim
        num_values = self.features.dims.num_edge_values
        return num_nodes * self.node_dim + 2 * directions * num_edges * num_values

    def _edges(
        self, graphs: Graphs, topology: Topology, weights: Float[Tensor, "*B num_edges values"]
    ) -> EdgeValues:
        """What messages are multiplied by: values, over what sums are; or vectors."""
        along, against = self._shares(graphs, topology)
        reversed_weights = _reciprocal(weights) if self.scale_form == "reciprocal" else weights
        values = [weights * along, reversed_weights * against]
        if self.messages == "nets":
            values = [embed(v) for embed, v in zip(self.edge_embeddings, values, strict=False)]
        own, *mirrored = values[: 2 if self.is_bidirectional else 1]
        return topology.join(
            own, mirrored[0] if mirrored else None, fill=own.new_zeros(own.shape[-1])
        )

    def _shares(
        self, graphs: Graphs, topology: Topology
    ) -> tuple[Float[Tensor, "num_edges 1"], Float[Tensor, "num_edges 1"]]:
        """What each message along and against its edge counts in the sum at its neuron."""
        source, target = graphs.structure.edge_index
        fan_in = graphs.topology.in_degree
        fan_out = (topology.in_degree - fan_in).clamp_min(1)
        if self.sums == "rooted":
            return fan_in[target].rsqrt(), fan_out[source].rsqrt()
        return torch.ones_like(fan_in[target]), fan_in[target] / fan_out[source]


class ScaleLayer(nn.Module):
    """`x + U [x, messages along, messages against]` with U an equivariant net.

    Args:
        dim, hidden_dim: sizes.
        num_values: of an edge.
        num_directions: of messages.
        messages, dropout, invariants: see `ScaleGMN`.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        *,
        num_values: int,
        num_directions: int,
        messages: MessageForm,
        dropout: float,
        invariants: Invariants,
    ):
        super().__init__()
        self.num_values, self.num_directions = num_values, num_directions
        self.message = None
        if messages == "nets":
            self.from_edge, self.from_source = (nn.Linear(dim, dim, bias=False) for _ in range(2))
            self.message = EquivariantNet(dim, hidden_dim, dim, invariants=invariants)
            num_parts = 2
        else:
            width = num_directions * num_values * dim
            self.from_source = nn.Linear(dim, width, bias=False)
            num_parts = 1 + num_directions
        self.update = EquivariantNet(
            num_parts * dim, hidden_dim, dim, dropout=dropout, invariants=invariants
        )

    def forward(
        self,
        topology: Topology,
        nodes: Float[Tensor, "*B num_nodes dim"],
        edges: EdgeValues,
        factors: NeuronFactors,
        of_targets: tuple[NeuronFactors, ...] | None,
    ) -> Float[Tensor, "*B num_nodes dim"]:
        if self.message is None:
            received = self._products(topology, nodes, edges)
        else:
            sent = topology.sources(self.from_source(nodes))
            values = on_edges(lambda e, x: self.from_edge(e) * x, edges, sent)
            sent = tuple(self.message(*part) for part in zip(values, of_targets, strict=True))
            received = topology.reduce_sum(sent)
        return nodes + self.update(torch.cat([nodes, received], dim=-1), factors)

    def _products(self, topology: Topology, nodes: Tensor, factors: EdgeValues) -> Tensor:
        sent = self.from_source(nodes)
        is_both = self.num_directions == 2
        reduce = topology.reduce_products if is_both else topology.reduce_attended
        received = reduce(factors, sent)
        if self.num_values == 1:
            return received
        return (
            received.unflatten(-1, (self.num_directions, self.num_values, -1)).sum(-2).flatten(-2)
        )


class EdgeStates(nn.Module):
    """Vectors of edges from those before: `(W e) * f(x_source, x_target)`, of canonical vectors."""

    def __init__(self, dim: int, hidden_dim: int, *, invariants: Invariants):
        super().__init__()
        self.linear = nn.Linear(dim, dim, bias=False)
        self.canonical = Canonical(dim, invariants)
        self.gate = GateNet(2 * dim, hidden_dim, dim)

    def forward(
        self,
        topology: Topology,
        nodes: Float[Tensor, "*B num_nodes dim"],
        edges: EdgeValues,
        factors: NeuronFactors,
    ) -> EdgeValues:
        sources, targets = halves_at_ends(self.gate, topology, self.canonical(nodes, factors))
        return on_edges(
            lambda e, s, t: self.linear(e) * self.gate.behind_first(s + t), edges, sources, targets
        )


class EdgeInvariants(nn.Module):
    """Vectors of edges that see no factors, for heads that read edges.

    Of `(W_e w) * (W_s x_source)` and `W_t x_target`, both of which follow the target's factor.
    """

    def __init__(self, dim: int, hidden_dim: int, num_values: int, *, invariants: Invariants):
        super().__init__()
        self.from_weight = nn.Linear(num_values, dim, bias=False)
        self.from_source, self.from_target = (nn.Linear(dim, dim, bias=False) for _ in range(2))
        self.net = InvariantNet(2 * dim, hidden_dim, dim, invariants=invariants)

    def forward(
        self,
        topology: Topology,
        weights: Float[Tensor, "*B num_edges values"],
        nodes: Float[Tensor, "*B num_nodes dim"],
        factors: NeuronFactors,
    ) -> Float[Tensor, "*B num_edges dim"]:
        parts = topology.join(weights, None, fill=weights.new_zeros(weights.shape[-1]))
        sources = topology.sources(self.from_source(nodes))
        targets = topology.targets(self.from_target(nodes))
        ends = zip(parts, sources, targets, factors.of_targets(topology), strict=True)
        return topology.split(tuple(self._of_part(*part) for part in ends))[0]

    def _of_part(
        self, weights: Tensor, sources: Tensor, targets: Tensor, factors: NeuronFactors
    ) -> Tensor:
        carried = self.from_weight(weights) * sources
        return self.net(torch.cat([carried, targets.expand_as(carried)], dim=-1), factors)


def _reciprocal(weights: Tensor) -> Tensor:
    """One over weights, 0 where they are 0; of kernels, over their sum of squares."""
    squares = weights.square().sum(-1, keepdim=True)
    if weights.shape[-1] == 1:
        return torch.where(weights == 0, 0.0, 1 / torch.where(weights == 0, 1.0, weights))
    return torch.where(squares == 0, 0.0, weights / torch.where(squares == 0, 1.0, squares))
