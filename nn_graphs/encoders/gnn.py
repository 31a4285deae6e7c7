"""NG-GNN: principal neighbourhood aggregation with FiLM-modulated messages and edge updates.

Kofinas et al., ICLR 2024, sec. 4 (on PNA, Corso et al., NeurIPS 2020, and FiLM, Brockschmidt,
ICML 2020). Two differences from the public code: which norm stands between the layers is a choice
(theirs is `published`, see `nn_graphs.encoders.norms`), and degrees are counted in the directions
that messages really take.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

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
from nn_graphs.encoders.mapped import MappedEdges, compose
from nn_graphs.encoders.norms import NormName, make_norm
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.errors import check_known
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.topology import EdgeValues, Topology, on_edges
from nn_graphs.networks.activations import Activation
from nn_graphs.ranges import Count, PositiveFloat, PositiveInt, Probability, in_ranges

STD_EPS = 1e-5
Aggregator = Literal["mean", "min", "max", "std", "sum"]
Scaler = Literal["identity", "amplification", "attenuation"]
Modulation = Literal["film", "gate", "none"]
StdForm = Literal["smooth", "published"]
JumpingKnowledge = Literal["none", "cat", "max"]
STATISTICS: tuple[Aggregator, ...] = ("mean", "min", "max", "std")  # in the topology's order


@registered("ng_gnn")
@in_ranges
class NGGNN(nn.Module):
    """The NG-GNN encoder.

    Args:
        templates: the architectures of the training networks; their sizes and degrees are used.
            Sizes alone will do where weights are loaded: the mean degree is one of them.
        statistics: what weights and biases are normalised by; None: nothing.
        dim: size of node and edge vectors.
        num_layers: message passing layers; edges are updated after all but the last.
        dropout: behind every layer but the last.
        fourier_sigma: deviation of the Fourier frequencies; None: plain linear maps.
        is_bidirectional: messages also run against the edges, and edges carry reverse features.
        num_probes: probe features; 0: none.
        has_activation_embedding: tell neurons their activation function.
        has_residuals: add what a layer takes to what it gives, but for the last (not published).
        norm: between layers, see `nn_graphs.encoders.norms`.
        aggregators, scalers: statistics of the messages that reach a neuron, and what each of them
            is multiplied by.
        activation: behind norms and within edge updates, by its name.
        modulation: what edges do to messages: "film" scales and shifts them, "gate" scales them by
            sigmoids, "none" adds a linear map of the edge.
        has_edge_updates: between layers; without them edges stay as they begin.
        has_reverse_features: describe edges by the weights in both directions; None: where messages
            run in both.
        jumping_knowledge: read, instead of the last layer, all of them, side by side ("cat") or the
            largest of each channel ("max"), through a linear map; the last layer then has a norm
            and an activation too, as published.
        std_form: of messages, "smooth" is the root of their variance and a small number,
            "published" that of the variance, or 0 where it is tiny, as torch-geometric has it.
        has_forward_degrees: count as degrees the edges from the inputs alone, as the published code
            does whichever way messages take.
        inputs: what is left out of the graphs' features, see `InputSettings`.

    Raises:
        NNGraphsError: an unknown norm, activation, aggregator, scaler, modulation or jumping
            knowledge.
    """

    def __init__(
        self,
        templates: Sequence[GraphTemplate] | GraphDims,
        statistics: WeightStatistics | None = None,
        *,
        dim: PositiveInt = 32,
        num_layers: PositiveInt = 4,
        dropout: Probability = 0.2,
        fourier_sigma: PositiveFloat | None = 3.0,
        is_bidirectional: bool = True,
        num_probes: Count = 0,
        has_activation_embedding: bool = False,
        has_residuals: bool = False,
        norm: NormName = "graph",
        aggregators: Sequence[Aggregator] = STATISTICS,
        scalers: Sequence[Scaler] = ("identity", "amplification"),
        activation: str = "silu",
        modulation: Modulation = "film",
        has_edge_updates: bool = True,
        has_reverse_features: bool | None = None,
        jumping_knowledge: JumpingKnowledge = "none",
        std_form: StdForm = "smooth",
        has_forward_degrees: bool = False,
        inputs: InputSettings = ALL_INPUTS,
    ):
        super().__init__()
        asked = f"jump by {jumping_knowledge!r}"
        check_known(jumping_knowledge, get_args(JumpingKnowledge), asked=asked)
        self.node_dim = self.edge_dim = dim
        self.activation = Activation(activation)
        self.jumping_knowledge = jumping_knowledge
        self.has_jumps = jumping_knowledge != "none"
        self.has_residuals = has_residuals
        self.is_bidirectional = is_bidirectional
        self.features = GraphFeatures(
            GraphDims.of(templates),
            statistics,
            node_dim=dim,
            edge_dim=dim,
            fourier_sigma=fourier_sigma,
            has_reverse_features=(
                is_bidirectional if has_reverse_features is None else has_reverse_features
            ),
            weights_on="forward",
            num_probes=num_probes,
            has_activation_embedding=has_activation_embedding,
            inputs=inputs,
        )
        mean_log_degree = _mean_log_degree(
            templates, is_bidirectional=is_bidirectional and not has_forward_degrees
        )
        self.layers = nn.ModuleList(
            PNALayer(
                dim,
                mean_log_degree=mean_log_degree,
                aggregators=aggregators,
                scalers=scalers,
                modulation=modulation,
                std_form=std_form,
            )
            for _ in range(num_layers)
        )
        num_norms = num_layers if self.has_jumps else num_layers - 1
        self.norms = nn.ModuleList(make_norm(norm, dim) for _ in range(num_norms))
        self.edge_updates = nn.ModuleList(
            EdgeUpdate(dim, self.activation)
            for _ in range(num_layers - 1 if has_edge_updates else 0)
        )
        self.dropout = Dropout(dropout)
        if self.has_jumps:
            self.jump = nn.Linear(dim * (num_layers if jumping_knowledge == "cat" else 1), dim)

    def forward(self, graphs: Graphs, *, reads: Reads = "edges") -> EncodedGraphs:
        graphs = self.features.dims.centred(graphs)
        topology = graphs.topology.bidirectional if self.is_bidirectional else graphs.topology
        nodes, edges = self.features(graphs, topology)
        edges = MappedEdges(edges)
        *layers, last = self.layers
        seen = []
        for number, layer in enumerate(layers):
            change = self._behind(number, topology, layer(topology, nodes, edges))
            nodes = nodes + change if self.has_residuals else change
            seen.append(nodes)
            if number == len(layers) - 1 and reads == "outputs" and not self.has_jumps:
                topology = topology.into_outputs()
                edges = edges.into_outputs(topology)
            if len(self.edge_updates):
                edges = self.edge_updates[number](topology, nodes, edges)
        nodes = last(topology, nodes, edges)
        if self.has_jumps:
            nodes = self._jumped([*seen, self._behind(len(layers), topology, nodes)])
        own = self.features.own_edges(edges.vectors(), topology) if reads == "edges" else None
        return EncodedGraphs(graphs, nodes, own)

    def _behind(self, number: int, topology: Topology, nodes: Tensor) -> Tensor:
        """Norm, activation and dropout, which follow a layer."""
        return self.dropout(self.activation(self.norms[number](topology, nodes)))

    def _jumped(self, seen: list[Tensor]) -> Tensor:
        """What is read of the neurons' vectors behind each layer."""
        is_cat = self.jumping_knowledge == "cat"
        return self.jump(torch.cat(seen, -1) if is_cat else torch.stack(seen).amax(0))

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts:
        """Numbers in what is passed from layer to layer: a vector per directed edge."""
        return (2 if self.is_bidirectional else 1) * num_edges * self.edge_dim


class PNALayer(nn.Module):
    """One layer: modulated messages, statistics of them, each also scaled by degree.

    Args:
        dim: size of node and edge vectors.
        mean_log_degree: of the neurons of the training networks.
        aggregators, scalers, modulation, std_form: see `NGGNN`.

    Raises:
        NNGraphsError: an unknown aggregator, scaler, modulation or form of the deviation.
    """

    def __init__(
        self,
        dim: PositiveInt,
        *,
        mean_log_degree: float,
        aggregators: Sequence[Aggregator] = STATISTICS,
        scalers: Sequence[Scaler] = ("identity", "amplification"),
        modulation: Modulation = "film",
        std_form: StdForm = "smooth",
    ):
        super().__init__()
        for names, known in ((aggregators, Aggregator), (scalers, Scaler)):
            for name in names:
                check_known(name, get_args(known), asked=f"collect messages by {name!r}")
        check_known(modulation, get_args(Modulation), asked=f"modulate messages by {modulation!r}")
        self.aggregators, self.scalers = tuple(aggregators), tuple(scalers)
        check_known(std_form, get_args(StdForm), asked=f"take deviations by {std_form!r}")
        self.modulation_kind, self.std_form, self.dim = modulation, std_form, dim
        self.register_buffer("mean_log_degree", torch.tensor(mean_log_degree, dtype=torch.float64))
        self.message = nn.Linear((3 if modulation == "none" else 2) * dim, dim)
        self.modulation = nn.Linear(dim, (2 if modulation == "film" else 1) * dim)
        self.update = nn.Linear((1 + len(self.aggregators) * len(self.scalers)) * dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self,
        topology: Topology,
        nodes: Float[Tensor, "*B num_nodes dim"],
        edges: MappedEdges,
    ) -> Float[Tensor, "*B num_nodes dim"]:
        target_weight, source_weight = self.message.weight.split(self.dim, dim=1)[:2]
        to_target = F.linear(nodes, target_weight, self.message.bias)
        from_source = F.linear(nodes, source_weight)
        ends = on_edges(torch.add, topology.targets(to_target), topology.sources(from_source))
        messages = self._modulated(ends, edges)
        degree = topology.in_degree.to(nodes.dtype)
        statistics = dict(
            zip(STATISTICS, topology.reduce_statistics(messages, eps=STD_EPS), strict=True)
        )
        statistics["sum"] = statistics["mean"] * degree
        if self.std_form == "published":
            statistics["std"] = _published_std(statistics["std"])
        chosen = [statistics[name] for name in self.aggregators]
        scaled = [self._scaled(values, name, degree) for name in self.scalers for values in chosen]
        return self.out(self.update(torch.cat([nodes, *scaled], dim=-1)))

    def _modulated(self, ends: EdgeValues, edges: MappedEdges) -> EdgeValues:
        """Messages, of what both ends of an edge say and of its vector."""
        weight, bias = self.modulation.weight, self.modulation.bias
        if self.modulation_kind == "gate":
            return on_edges(_gated, edges.map(weight, bias), ends)
        if self.modulation_kind == "none":
            own = self.message.weight[:, 2 * self.dim :]
            return on_edges(torch.add, edges.map(*compose(own, None, self.modulation)), ends)
        scale, shift = (
            edges.map(*parts) for parts in zip(weight.chunk(2), bias.chunk(2), strict=True)
        )
        return on_edges(torch.addcmul, shift, scale, ends)

    def _scaled(self, values: Tensor, scaler: Scaler, degree: Tensor) -> Tensor:
        if scaler == "identity":
            return values
        if scaler == "amplification":
            return values * ((degree + 1).log() / self.mean_log_degree)
        return values * (self.mean_log_degree / (degree.clamp_min(1) + 1).log())


class EdgeUpdate(nn.Module):
    """`W_1 SiLU(W_e e + W_s x_source + W_t x_target)`, or with another activation."""

    def __init__(self, dim: int, activation: Activation):
        super().__init__()
        self.activation = activation
        self.from_edge, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.from_source, self.from_target = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(
        self,
        topology: Topology,
        nodes: Float[Tensor, "*B num_nodes dim"],
        edges: MappedEdges,
    ) -> MappedEdges:
        from_edge, constant = edges.map_apart(self.from_edge.weight, self.from_edge.bias)
        from_source = topology.sources(self.from_source(nodes))
        from_target = topology.targets(self.from_target(nodes) + constant)
        hidden = on_edges(self._activated_sum, from_edge, from_source, from_target)
        return MappedEdges(hidden, self.out)

    def _activated_sum(self, from_edge: Tensor, from_source: Tensor, from_target: Tensor) -> Tensor:
        return self.activation(from_edge + (from_source + from_target))


def _published_std(smooth: Tensor) -> Tensor:
    """The root of the variance, 0 where that is no more than `STD_EPS`."""
    variance = smooth.square() - STD_EPS
    return torch.where(variance > STD_EPS, variance.clamp_min(STD_EPS).sqrt(), 0.0)


def _gated(gate: Tensor, ends: Tensor) -> Tensor:
    return gate.sigmoid() * ends


def _mean_log_degree(
    templates: Sequence[GraphTemplate] | GraphDims, *, is_bidirectional: bool
) -> float:
    """Mean of log(degree + 1) over the neurons of the training architectures; unknown: 1."""
    if isinstance(templates, GraphDims):
        return 1.0
    total = count = 0.0
    for template in templates:
        edge_index = template.structure().edge_index
        ends = edge_index.flatten() if is_bidirectional else edge_index[1]
        degree = torch.bincount(ends, minlength=template.num_nodes)
        total += (degree.double() + 1).log().sum().item()
        count += template.num_nodes
    return max(total / count, math.log(2) * 1e-3)
