"""The input stage of the encoders: weights and biases of neural graphs to vectors.

Kofinas et al., ICLR 2024, sec. 3 and app. C: random Fourier features of the (normalised) values, a
learned embedding of a neuron's position, and probe features, the activations of the networks at
learned inputs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.mapped import compose
from nn_graphs.encoders.probe_generators import GeneratedPoints, ProbeForm
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.execution import execute
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.graphs.topology import EdgeValues, Topology
from nn_graphs.networks.activations import ACTIVATION_NAMES
from nn_graphs.ranges import Count, PositiveFloat, PositiveInt, in_ranges

Graphs = NeuralGraph | NeuralGraphStack
Counts = int | Int[Tensor, "num_graphs"]
"""Of all graphs of a stack the same, or of each graph of a batch."""

Reads = Literal["outputs", "nodes", "edges", "states"]
"""What is read of encoded graphs: the vectors of output neurons, of all neurons, also of edges.

"states": of encoders that keep such, vectors of neurons that follow their signs and scales.
"""

NUM_FREQUENCIES = 128
NUM_PUBLISHED_ACTIVATIONS = 7  # none, relu, gelu, silu, tanh, sigmoid, leaky_relu: the first ids


@dataclass(frozen=True)
class EncodedGraphs:
    """What an encoder makes of neural graphs.

    Attributes:
        graphs: the graphs themselves, one layered stack or an edge-list batch.
        nodes: `[*B, num_nodes, node_dim]`; where output neurons alone are read, other neurons may
            have received nothing in the last layer.
        edges: `[*B, num_edges, edge_dim]`, in the order of `graphs.edge_features`; None where
            they are not read.
        graph: `[num_graphs, node_dim]`, of encoders that give graphs a vector of their own.
    """

    graphs: Graphs
    nodes: Float[Tensor, "*B num_nodes node_dim"]
    edges: Float[Tensor, "*B num_edges edge_dim"] | None = None
    graph: Float[Tensor, "num_graphs node_dim"] | None = None


@in_ranges
@dataclass(frozen=True)
class InputSettings:
    """What encoders are told of weights, biases and neurons: all that ablations take away.

    Attributes:
        is_normalised: weights and biases are in units of their layer's deviation, else as they are
            (the published runs on CNNs have them as they are).
        has_biases, has_weights: False: zeros stand in their place; probe features stay.
        has_positions: neurons are told which input or output they are, or in which layer.
        num_frequencies: of Fourier features.
        num_activations: rows of the table of activations, by their ids; None: the seven of the
            published table, and more where the architectures have others.
        probes: where there are probe features, how their inputs are learned: "free", each for
            itself, or by a "deep_linear" generator, as in ProbeGen.
    """

    is_normalised: bool = True
    has_biases: bool = True
    has_weights: bool = True
    has_positions: bool = True
    num_frequencies: PositiveInt = NUM_FREQUENCIES
    num_activations: int | None = None
    probes: ProbeForm = "free"

    def table_size(self, dims: GraphDims) -> int:
        """Rows of the table of activations.

        Raises:
            NNGraphsError: the architectures have activations that would not be in it.
        """
        size = self.num_activations
        if size is None:
            return max(NUM_PUBLISHED_ACTIVATIONS, dims.num_activations)
        if size < dims.num_activations:
            raise NNGraphsError(
                f"make a table of {size} activations",
                found=f"the architectures have the activation {dims.num_activations - 1} "
                f"({ACTIVATION_NAMES[dims.num_activations - 1]}).",
                do=f"Choose num_activations={dims.num_activations}, or null.",
            )
        return size


ALL_INPUTS = InputSettings()


class FourierFeatures(nn.Module):
    """`[cos(2 pi B x), sin(2 pi B x)]` with a fixed `B ~ N(0, sigma^2)` (Tancik et al., 2020)."""

    def __init__(self, in_dim: int, *, sigma: float, num_frequencies: int = NUM_FREQUENCIES):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(num_frequencies, in_dim) * sigma)

    def forward(self, values: Float[Tensor, "*B in_dim"]) -> Float[Tensor, "*B features"]:
        return fourier_features(values, self.frequencies)


def fourier_features(
    values: Float[Tensor, "*B in_dim"], frequencies: Float[Tensor, "num_frequencies in_dim"]
) -> Float[Tensor, "*B features"]:
    """`[cos(2 pi B x), sin(2 pi B x)]` of values x and frequencies B."""
    quarter_turn = frequencies.new_full((len(frequencies),), math.pi / 2)
    turns = torch.cat([quarter_turn, torch.zeros_like(quarter_turn)])  # cos x = sin(x + pi/2)
    frequencies = (2 * math.pi * frequencies).repeat(2, 1)
    if frequencies.shape[1] == 1:  # no matrix product, which would take a pass of its own
        return torch.addcmul(turns, values, frequencies.squeeze(1)).sin()
    return F.linear(values, frequencies, turns).sin()


def value_embedding(
    in_dim: int, out_dim: int, *, sigma: float | None, num_frequencies: int = NUM_FREQUENCIES
) -> nn.Sequential:
    """A linear map of values, or of their Fourier features where `sigma` is given."""
    if sigma is None:
        return nn.Sequential(nn.Linear(in_dim, out_dim))
    features = FourierFeatures(in_dim, sigma=sigma, num_frequencies=num_frequencies)
    return nn.Sequential(features, nn.Linear(2 * num_frequencies, out_dim))


class ProbeFeatures(nn.Module):
    """Activations of all neurons at learned inputs, shared by all networks.

    Args:
        dims: sizes of the graphs.
        num_probes: how many inputs.
        out_dim: size of the vectors.
        form: how inputs are learned, see `InputSettings`.
    """

    def __init__(self, dims: GraphDims, *, num_probes: int, out_dim: int, form: ProbeForm = "free"):
        super().__init__()
        dims.check_probes()
        self.dims = dims
        if form == "free":
            self.probes = nn.Parameter(torch.empty(num_probes, dims.num_inputs).uniform_(-1, 1))
        else:
            self.generator = GeneratedPoints(num_probes, dims.num_inputs)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(num_probes, out_dim), nn.LayerNorm(out_dim))
            for _ in range(dims.num_layers)
        )

    def forward(self, graphs: Graphs) -> Float[Tensor, "*B num_nodes out_dim"]:
        probes = self.queries()[:, : num_network_inputs(graphs)]
        activations = execute(graphs, probes)  # [*B, num_nodes, num_probes]
        rows = self.dims.layer_row(graphs.structure)
        total = 0.0
        for row, projection in enumerate(self.projections):
            is_here = (rows == row).unsqueeze(-1)
            total = total + torch.where(is_here, projection(activations), 0.0)
        return total

    def queries(self) -> Float[Tensor, "num_probes num_inputs"]:
        """The inputs, at which each network is run."""
        return self.generator() if hasattr(self, "generator") else self.probes


def num_network_inputs(graphs: Graphs) -> int:
    """Input neurons of the networks, or of the one that has most."""
    if isinstance(graphs, NeuralGraphStack):
        return graphs.template.num_neurons(NeuronKind.INPUT)
    is_input = graphs.kind_id == NeuronKind.INPUT.value
    return int(graphs.neuron_id[is_input].max()) + 1


class GraphFeatures(nn.Module):
    """Initial vectors of neurons and directed edges.

    An edge is told by its weight, or by all values of its kernel, in the middle of the largest one;
    these are scaled, but not moved, so that the zeros around a kernel stay what they are.

    Args:
        dims: sizes of the graphs.
        statistics: what weights and biases are normalised by; None: nothing.
        node_dim, edge_dim: sizes of the vectors; None: neurons (without probes and activations),
            or edges, have none.
        fourier_sigma: deviation of the Fourier frequencies; None: plain linear maps.
        has_reverse_features: describe an edge from i to j by the weights [i to j, j to i, both].
        weights_on: the messages that carry a weight as their own, those along edges ("forward"),
            or, as in the published transformer, those against them ("backward").
        num_probes: learned probe inputs; 0: none.
        has_activation_embedding: add a learned vector of each hidden neuron's activation.
        inputs: what is left out, and other settings of ablations.
    """

    def __init__(
        self,
        dims: GraphDims,
        statistics: WeightStatistics | None,
        *,
        node_dim: PositiveInt | None,
        edge_dim: PositiveInt | None,
        fourier_sigma: PositiveFloat | None,
        has_reverse_features: bool = False,
        weights_on: Literal["forward", "backward"] = "forward",
        num_probes: Count,
        has_activation_embedding: bool,
        inputs: InputSettings = ALL_INPUTS,
    ):
        super().__init__()
        self.dims, self.weights_on, self.inputs = dims, weights_on, inputs
        self.has_reverse_features = has_reverse_features
        embedding = partial(
            value_embedding, sigma=fourier_sigma, num_frequencies=inputs.num_frequencies
        )
        if statistics is None or not inputs.is_normalised:
            statistics = WeightStatistics.identity(dims)
        if dims.kernel_size:
            statistics = statistics.around_zero()
        for name, value in vars(statistics).items():
            self.register_buffer(name, value.clone())
        if node_dim is not None:
            self.bias_embedding = embedding(1, node_dim)
        if edge_dim is not None:
            channels = (3 if has_reverse_features else 1) * dims.num_edge_values
            self.weight_embedding = embedding(channels, edge_dim)
        if node_dim is not None:
            self.node_in = nn.Linear(node_dim, node_dim)
        if edge_dim is not None:
            self.edge_in = nn.Linear(edge_dim, edge_dim)
        if node_dim is not None and inputs.has_positions:
            self.positions = nn.Parameter(torch.randn(dims.num_positions, node_dim))
        self.probe_features = (
            ProbeFeatures(dims, num_probes=num_probes, out_dim=node_dim, form=inputs.probes)
            if num_probes
            else None
        )
        self.activation_embedding = (
            nn.Embedding(inputs.table_size(dims), node_dim) if has_activation_embedding else None
        )

    def forward(self, graphs: Graphs, topology: Topology) -> tuple[Tensor, EdgeValues]:
        """Vectors of neurons `[*B, num_nodes, node_dim]` and of the topology's directed edges."""
        return self.nodes(graphs), self.edges(graphs, topology)

    def nodes(self, graphs: Graphs) -> Float[Tensor, "*B num_nodes node_dim"]:
        structure = graphs.structure
        nodes = self.bias_embedding(self._normalised_biases(graphs))
        if self.probe_features is not None:
            nodes = nodes + self.probe_features(graphs)
        nodes = self.node_in(nodes)
        if self.inputs.has_positions:
            nodes = nodes + self.positions[self.dims.position_row(structure)]
        if self.activation_embedding is not None:
            is_hidden = (structure.kind_id == NeuronKind.HIDDEN.value).unsqueeze(-1)
            nodes = nodes + self.activation_embedding(structure.activation_id) * is_hidden
        return nodes

    def edges(self, graphs: Graphs, topology: Topology) -> EdgeValues:
        weights = self.normalised_weights(graphs)
        own, mirrored = ((0, 2), (1, 2)) if self.has_reverse_features else ((0,), ())
        fill = self._embed_edges(weights.new_zeros(weights.shape[-1]), own)
        own = self._embed_edges(weights, own)
        if not topology.is_bidirectional:
            return topology.join(own, None, fill=fill)
        mirrored = self._embed_edges(weights, mirrored) if mirrored else fill.expand_as(own)
        halves = (own, mirrored) if self.weights_on == "forward" else (mirrored, own)
        return topology.join(*halves, fill=fill)

    def own_edges(self, edges: EdgeValues, topology: Topology) -> Tensor:
        """Of the vectors of directed edges, those of the messages that carry the weights."""
        forward, backward = topology.split(edges)
        return forward if self.weights_on == "forward" else backward

    def normalised_weights(self, graphs: Graphs) -> Float[Tensor, "*B num_edges values"]:
        """Weights in units of their layer's deviation; constants as they are."""
        structure = graphs.structure
        rows = self.dims.layer_row(structure)[structure.edge_index[1]]
        weights = graphs.edge_features
        normalised = (weights - self.weight_mean[rows, None]) / self.weight_std[rows, None]
        if not self.inputs.has_weights:
            normalised = torch.zeros_like(normalised)
        return torch.where((structure.edge_kind_id == 0).unsqueeze(-1), normalised, weights)

    def _embed_edges(
        self, values: Float[Tensor, "*B values"], channels: Sequence[int]
    ) -> Float[Tensor, "*B edge_dim"]:
        """Vectors of edges that have their values in these channels, and zeros in the others."""
        *features, linear = self.weight_embedding
        weight, bias = compose(self.edge_in.weight, self.edge_in.bias, linear)
        if not features:
            return F.linear(values, self._columns(weight, channels), bias)
        frequencies = self._columns(features[0].frequencies, channels)
        return F.linear(fourier_features(values, frequencies), weight, bias)

    def _columns(self, weight: Float[Tensor, "out_dim in_dim"], channels: Sequence[int]) -> Tensor:
        """What a linear map of all channels is to values that stand in some of them."""
        return weight.unflatten(1, (-1, self.dims.num_edge_values))[:, list(channels)].sum(1)

    def _normalised_biases(self, graphs: Graphs) -> Float[Tensor, "*B num_nodes 1"]:
        if not self.inputs.has_biases:
            return torch.zeros_like(graphs.node_features)
        structure = graphs.structure
        rows = self.dims.layer_row(structure)
        normalised = (graphs.node_features - self.bias_mean[rows, None]) / self.bias_std[rows, None]
        return torch.where(structure.has_bias.unsqueeze(-1), normalised, 0.0)
