"""DWSNet: deep weight space networks, linear layers that commute with permutations of neurons.

Navon et al., ICML 2023. Inputs and outputs of the networks stay in place, so they are features of
their own. Differences from the public code: averages where it takes maxima or attends by default,
values normalised per layer (there: per weight, which breaks the symmetry), dropout in training only
(there: always), and any architecture with a template, not chains of at least three layers alone.
What was trained with the public code is a `PublishedDWSNet`.
"""

from torch import nn

from nn_graphs.encoders.dropout import Dropout
from nn_graphs.encoders.equivariant.inputs import NormalisedValues
from nn_graphs.encoders.equivariant.layers import EquivariantLayers
from nn_graphs.encoders.equivariant.spaces import ParameterSpaces
from nn_graphs.encoders.features import EncodedGraphs, Graphs, Reads
from nn_graphs.encoders.statistics import WeightStatistics
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.ranges import PositiveInt, Probability, in_ranges


@in_ranges
class DWSNet(nn.Module):
    """The DWSNet encoder, for stacks of graphs of one architecture.

    Args:
        template: the architecture.
        statistics: what weights and biases are normalised by; None: nothing.
        dim: channels of every layer.
        num_layers: equivariant linear layers, each followed by relu and dropout.
        dropout: rate of single values.
        has_batch_norm: batch normalisation behind every layer but the last.

    Raises:
        NNGraphsError: (forward) the graphs are of another architecture, or a mixed batch.
    """

    def __init__(
        self,
        template: GraphTemplate,
        statistics: WeightStatistics | None = None,
        *,
        dim: PositiveInt = 32,
        num_layers: PositiveInt = 5,
        dropout: Probability = 0.0,
        has_batch_norm: bool = True,
    ):
        super().__init__()
        self.node_dim = self.edge_dim = dim
        self.spaces = ParameterSpaces(template)
        self.values = NormalisedValues(template, statistics)
        self.layers = EquivariantLayers(
            self.spaces.spaces,
            dims=[self.values.dims.num_edge_values, *[dim] * num_layers],
            dropout=Dropout(dropout),
            has_batch_norm=has_batch_norm,
        )

    def forward(self, graphs: Graphs, *, reads: Reads = "edges") -> EncodedGraphs:
        """Vectors of all neurons and edges, which depend on each other, whatever is read."""
        graphs = self.values.dims.centred(graphs)
        self.spaces.check(graphs)
        values = self.layers(self.spaces.split(*self.values(graphs)))
        return EncodedGraphs(graphs, *self.spaces.join(values))
