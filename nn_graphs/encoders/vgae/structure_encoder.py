"""The encoder of StructureReps: features of neurons out of weights and places, convolved.

The published rows are combinations of arguments, with `has_neuron_features=False`:

| row | `has_edge_attention` | `convolution` | `encoding` |
|---|---|---|---|
| EA+TC+LF | True | "transformer" | `LaplacianEncoding(k)` |
| EA+GC+LF | True | "attention" | `LaplacianEncoding(k)` |
| GC+LF | False | "attention" | `LaplacianEncoding(k)` |
| GC+RF | False | "attention" | `RandomFeatures(k)` |

Biases are no part of them; what else the paper leaves open (sizes, norms, whether messages run
against edges, whether convolutions read weights) are arguments too. Eigenvectors and random numbers
do not go along with neurons that are put in another order, see `nn_graphs.graphs.positional`: all
other features do.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.dropout import Dropout, draws_generator
from nn_graphs.encoders.edge_readout import EdgeReadout
from nn_graphs.encoders.encoder_registry import registered
from nn_graphs.encoders.features import Counts, EncodedGraphs, GraphFeatures, Graphs, Reads
from nn_graphs.encoders.norms import NormName, make_norm
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.encoders.vgae.convolutions import AttentionConvolution, TransformerConvolution
from nn_graphs.encoders.vgae.edge_attention import EdgeAttention
from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.positional_encoding import PositionalEncoding
from nn_graphs.graphs.topology import EdgeChannels
from nn_graphs.ranges import NonNegative, PositiveInt, Probability, in_ranges

Convolution = Literal["transformer", "attention"]
CONVOLUTIONS = {"transformer": TransformerConvolution, "attention": AttentionConvolution}


@registered("structure")
@in_ranges
class StructureEncoder(nn.Module):
    """Edge Attention, positional encodings, and convolutions by attention.

    Args:
        templates: the architectures of the training networks; their sizes are used.
        statistics: what weights and biases are normalised by; None: nothing.
        dim: size of the vectors of neurons and edges, `num_heads` times that of a head.
        num_layers: convolutions.
        num_heads: of each.
        convolution: which kind.
        has_edge_attention: neurons have features made of the weights of their edges.
        encoding: neurons have features of their place in the graph; None: no such.
        has_random_signs: in training, an encoding with signs is given random ones.
        has_neuron_features: neurons have the features of the other encoders too: their bias, and
            which input or output, or of which layer, they are.
        has_edge_features: convolutions read weights.
        is_bidirectional: messages also run against the edges.
        attention_dim, noise_scale: of Edge Attention.
        norm: between convolutions, see `nn_graphs.encoders.norms`.
        dropout: of attention, and between convolutions.

    Raises:
        NNGraphsError: heads that do not divide `dim`, no features, or unknown names.
    """

    def __init__(
        self,
        templates: Sequence[GraphTemplate] | GraphDims,
        statistics: WeightStatistics | None = None,
        *,
        dim: PositiveInt = 32,
        num_layers: PositiveInt = 3,
        num_heads: PositiveInt = 4,
        convolution: Convolution = "transformer",
        has_edge_attention: bool = True,
        encoding: PositionalEncoding | None = None,
        has_random_signs: bool = True,
        has_neuron_features: bool = True,
        has_edge_features: bool = True,
        is_bidirectional: bool = True,
        attention_dim: PositiveInt = 16,
        noise_scale: NonNegative = 0.1,
        norm: NormName = "layer",
        dropout: Probability = 0.0,
    ):
        super().__init__()
        _check(convolution, dim, num_heads)
        self.node_dim = self.edge_dim = dim
        self.num_heads, self.attention_dim = num_heads, attention_dim
        self.encoding, self.has_random_signs = encoding, has_random_signs
        self.has_neuron_features, self.has_edge_features = has_neuron_features, has_edge_features
        self.is_bidirectional = is_bidirectional
        self.features = GraphFeatures(
            GraphDims.of(templates),
            statistics,
            node_dim=dim if has_neuron_features else None,
            edge_dim=None,
            fourier_sigma=None,
            num_probes=0,
            has_activation_embedding=False,
        )
        num_values = self.features.dims.num_edge_values
        self.num_channels = num_values * (2 if is_bidirectional else 1)
        self.edge_attention = (
            EdgeAttention(self.num_channels, hidden_dim=attention_dim, noise_scale=noise_scale)
            if has_edge_attention
            else None
        )
        in_dim = self._num_features()
        self.layers = nn.ModuleList(
            CONVOLUTIONS[convolution](
                dim if number else in_dim,
                dim // num_heads,
                num_heads=num_heads,
                edge_dim=self.num_channels if has_edge_features else None,
                dropout=dropout,
            )
            for number in range(num_layers)
        )
        self.norms = nn.ModuleList(make_norm(norm, dim) for _ in range(num_layers - 1))
        self.dropout = Dropout(dropout)
        self.edge_readout = EdgeReadout(num_values, dim)

    def forward(self, graphs: Graphs, *, reads: Reads = "edges") -> EncodedGraphs:
        graphs = self.features.dims.centred(graphs)
        topology = graphs.topology.bidirectional if self.is_bidirectional else graphs.topology
        weights = self.features.normalised_weights(graphs)
        edges = EdgeChannels(topology, weights)
        nodes = self._node_features(graphs, edges)
        for number, layer in enumerate(self.layers):
            if number:
                nodes = self.dropout(F.elu(self.norms[number - 1](topology, nodes)))
            nodes = layer(topology, nodes, edges if self.has_edge_features else None)
        if reads != "edges":
            return EncodedGraphs(graphs, nodes)
        return EncodedGraphs(graphs, nodes, self.edge_readout(graphs.topology, weights, nodes))

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts:
        """Numbers that a layer reads: vectors of neurons, weights and attention of edges."""
        directed = num_edges * (2 if self.is_bidirectional else 1)
        weights = num_edges * self.features.dims.num_edge_values
        return num_nodes * self.node_dim + directed * self.num_heads + weights

    def extra_repr(self) -> str:
        return f"encoding={self.encoding}"

    def _num_features(self) -> int:
        counts = (
            self.num_channels if self.edge_attention is not None else 0,
            self.encoding.num_features if self.encoding is not None else 0,
            self.node_dim if self.has_neuron_features else 0,
        )
        if not any(counts):
            raise NNGraphsError(
                "make a StructureEncoder",
                found="neurons would have no features.",
                do="Choose has_edge_attention, has_neuron_features, or an encoding.",
            )
        return sum(counts)

    def _node_features(
        self, graphs: Graphs, edges: EdgeChannels
    ) -> Float[Tensor, "*B num_nodes in_dim"]:
        features = []
        if self.edge_attention is not None:
            features.append(self.edge_attention(edges))
        if self.encoding is not None:
            has_draws = self.training and self.has_random_signs
            device = graphs.node_features.device
            generator = draws_generator(device) if has_draws else None
            features.append(self.encoding(graphs, generator=generator))
        if self.has_neuron_features:
            features.append(self.features.nodes(graphs))
        return torch.cat(features, dim=-1)


def _check(convolution: str, dim: int, num_heads: int) -> None:
    check_known(convolution, get_args(Convolution), asked=f"convolve by {convolution!r}")
    if dim % num_heads:
        raise NNGraphsError(
            f"make vectors of {dim} numbers of {num_heads} heads",
            found=f"{num_heads} does not divide {dim}.",
            do="Choose another dim, or number of heads.",
        )
