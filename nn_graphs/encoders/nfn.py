"""NFN: permutation equivariant neural functionals, in the variants NP and HNP.

Zhou et al., NeurIPS 2023. HNP layers keep inputs and outputs in place. NP layers treat them as if
they could be permuted like hidden neurons, which takes fewer maps; their positions are told to the
network as sines, once, in the input. Differences from the public code: an output or input alone
counts as fixed (terms that would be the same are left out), dropout takes whole channels of biases
too, and values can be normalised per layer (there: per weight, or, as published, not at all).
"""

from collections.abc import Sequence
from typing import Literal, get_args

from torch import nn

from nn_graphs.encoders.equivariant.inputs import NormalisedValues, PositionEncoding
from nn_graphs.encoders.equivariant.layers import ChannelDropout, EquivariantLayers
from nn_graphs.encoders.equivariant.spaces import ParameterSpaces
from nn_graphs.encoders.features import (
    NUM_FREQUENCIES,
    Counts,
    EncodedGraphs,
    FourierFeatures,
    Graphs,
    Reads,
)
from nn_graphs.encoders.statistics import WeightStatistics
from nn_graphs.errors import check_known
from nn_graphs.graphs.builder import without_fixed_neurons
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.ranges import PositiveFloat, Probability, in_ranges

Variant = Literal["np", "hnp"]


@in_ranges
class NFN(nn.Module):
    """The NFN encoder, for stacks of graphs of one architecture.

    Args:
        template: the architecture.
        statistics: what weights and biases are normalised by; None: nothing, as published.
        variant: "np": all neurons may be permuted, or "hnp": the hidden ones.
        dims: channels behind every equivariant linear layer, which relu and dropout follow.
        dropout: rate of channels.
        has_batch_norm: batch normalisation behind every layer but the last; published without.
        fourier_sigma: deviation of the Fourier frequencies of values (256 features); None: the
            values themselves. The published 10 and 3 are for weights that are not normalised.
        num_bands: frequencies of the positions of inputs and outputs; 0: no positions.
        max_frequency: twice the largest of them.

    Raises:
        NNGraphsError: the variant is unknown; (forward) the graphs are of another architecture,
            or a mixed batch.
    """

    def __init__(
        self,
        template: GraphTemplate,
        statistics: WeightStatistics | None = None,
        *,
        variant: Variant,
        dims: Sequence[int] = (512, 512, 512),
        dropout: Probability = 0.0,
        has_batch_norm: bool = False,
        fourier_sigma: PositiveFloat | None = 10.0,
        num_bands: int = 6,
        max_frequency: float = 10.0,
    ):
        super().__init__()
        check_variant(variant)
        self.node_dim = self.edge_dim = dims[-1]
        self.has_batch_norm, self.largest_dim = has_batch_norm, max(dims)
        self.spaces = ParameterSpaces(
            without_fixed_neurons(template) if variant == "np" else template
        )
        self.values = NormalisedValues(template, statistics)
        num_values = self.values.dims.num_edge_values
        self.fourier = (
            None if fourier_sigma is None else FourierFeatures(num_values, sigma=fourier_sigma)
        )
        self.positions = (
            PositionEncoding(template, max_frequency=max_frequency, num_bands=num_bands)
            if num_bands
            else None
        )
        in_dim = num_values if self.fourier is None else 2 * NUM_FREQUENCIES
        in_dim += self.positions.dim if self.positions is not None else 0
        self.layers = EquivariantLayers(
            self.spaces.spaces,
            dims=[in_dim, *dims],
            dropout=ChannelDropout(dropout),
            has_batch_norm=has_batch_norm,
        )

    def forward(self, graphs: Graphs, *, reads: Reads = "edges") -> EncodedGraphs:
        """Vectors of all neurons and edges, which depend on each other, whatever is read."""
        graphs = self.values.dims.centred(graphs)
        self.spaces.check(graphs)
        nodes, edges = self.values(graphs)
        if self.fourier is not None:
            nodes, edges = self.fourier(nodes), self.fourier(edges)
        if self.positions is not None:
            nodes, edges = self.positions(nodes, edges)
        values = self.layers(self.spaces.split(nodes, edges))
        return EncodedGraphs(graphs, *self.spaces.join(values))

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts | None:
        """Numbers in what is passed from layer to layer: a vector per parameter.

        None where batch norm needs the whole batch.
        """
        return None if self.has_batch_norm else (num_nodes + num_edges) * self.largest_dim


def check_variant(variant: str) -> None:
    """Raises `NNGraphsError` for an unknown variant."""
    check_known(variant, get_args(Variant), asked=f"make an NFN of the variant {variant!r}")
