"""DWSNet as the public code has it, so that its checkpoints can be read (`public_dws.py`).

Navon et al., ICML 2023; AvivNavon/DWSNets. `DWSNet` is ours, which takes any architecture: linear
maps, and averages. Differences from the public code: dropout in training only (there: always).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.dropout import Dropout
from nn_graphs.encoders.equivariant.inputs import NormalisedValues
from nn_graphs.encoders.equivariant.layers import SpaceBatchNorm
from nn_graphs.encoders.equivariant.set_maps import Reduction, reduce_axes
from nn_graphs.encoders.equivariant.space_maps import (
    ChainLayer,
    MapSettings,
    add_skips,
    chain_spaces,
    chain_tensors,
)
from nn_graphs.encoders.equivariant.spaces import ParameterSpaces
from nn_graphs.encoders.features import EncodedGraphs, Graphs, Reads
from nn_graphs.encoders.mlp import make_mlp
from nn_graphs.encoders.new_parameters import NewParameters
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.ranges import PositiveInt, Probability, in_ranges


@in_ranges
class PublishedDWSNet(nn.Module):
    """The published DWSNet encoder, for stacks of graphs of one chain of layers.

    Args:
        template: the architecture.
        statistics: what weights and biases are normalised by; None: nothing.
        dims: channels behind every layer.
        settings: of the maps; the last of several layers attends with one head.
        num_sampled: see `ChainLayer`.
        has_skip: whether the parameters themselves, mapped, are added to the last layer.
        has_layer_skips: see `ChainLayer`.
        has_batch_norm: batch normalisation behind every layer but the last, before relu.
        dropout: rate of single values, behind relu.

    Raises:
        NNGraphsError: the architecture is no chain of three and more linear maps with biases, or
            (forward) the graphs are of another, or a mixed batch.
    """

    def __init__(
        self,
        template: GraphTemplate,
        statistics: WeightStatistics | None = None,
        *,
        dims: Sequence[PositiveInt] = (32, 32, 32, 32, 32),
        settings: MapSettings = MapSettings(),  # noqa: B008 (frozen)
        num_sampled: PositiveInt | None = None,
        has_skip: bool = False,
        has_layer_skips: bool = False,
        has_batch_norm: bool = True,
        dropout: Probability = 0.0,
    ):
        super().__init__()
        self.node_dim = self.edge_dim = dims[-1]
        self.spaces = chain_spaces(template)
        self.values = NormalisedValues(template, statistics)
        tensors = chain_tensors(self.spaces)
        last = settings if len(dims) == 1 else replace(settings, num_heads=1)
        self.layers = nn.ModuleList(
            ChainLayer(
                tensors,
                in_dim=in_dim,
                out_dim=out_dim,
                settings=one,
                has_skips=has_layer_skips,
                num_sampled=num_sampled,
            )
            for (in_dim, out_dim), one in zip(
                pairwise([1, *dims]), [*[settings] * (len(dims) - 1), last], strict=True
            )
        )
        self.norms = nn.ModuleList(
            SpaceBatchNorm(len(tensors), dim=dim) if has_batch_norm else nn.Identity()
            for dim in dims[:-1]
        )
        self.dropout = Dropout(dropout)
        self.skip = nn.Linear(1, dims[-1], bias=settings.has_bias) if has_skip else None

    def forward(self, graphs: Graphs, *, reads: Reads = "edges") -> EncodedGraphs:
        """Vectors of all neurons and edges, which depend on each other, whatever is read."""
        graphs = self.values.dims.centred(graphs)
        self.spaces.check(graphs)
        values = self.spaces.split(*self.values(graphs))
        new = self.layers[0](values)
        for norm, layer in zip(self.norms, self.layers[1:], strict=True):
            new = layer([self.dropout(F.relu(part)) for part in norm(new)])
        if self.skip is not None:
            new = add_skips(self.skip, new, values, dim=1)
        return EncodedGraphs(graphs, *self.spaces.join(new))


class ReducedHead(nn.Module):
    """Outputs per network: relu, every tensor reduced over hidden neurons, then linear layers.

    Args:
        spaces: those of the encoder.
        dim: channels of the encoder.
        reduction: over hidden neurons.
        out_dim: number of outputs, also of the hidden layers.
        num_layers: linear layers.
        dropout: rate of single values, behind relu.
    """

    reads: Reads = "edges"

    def __init__(
        self,
        spaces: ParameterSpaces,
        *,
        dim: int,
        reduction: Reduction,
        out_dim: int,
        num_layers: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.spaces, self.reduction, self.dropout = spaces, reduction, Dropout(dropout)
        in_dim = sum(space.num_fixed for space in spaces.spaces) * dim
        self.mlp = make_mlp([in_dim, *[out_dim] * num_layers])

    def forward(self, encoded: EncodedGraphs) -> Float[Tensor, "B out_dim"]:
        values = self.spaces.split(encoded.nodes, encoded.edges)
        values = [self.dropout(F.relu(part)) for part in values]
        reduced = [reduce_axes(v, range(1, v.dim() - 1), self.reduction) for v in values]
        biases, (first, *hidden, last) = _halves(reduced)
        return self.mlp(torch.cat([*hidden, first, last, *biases], dim=-1))


def _halves(values: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Of biases and of weights."""
    return values[: len(values) // 2], values[len(values) // 2 :]


class ChangeHead(nn.Module):
    """New parameters: the encoder's one channel, times a factor per layer, is added to the old.

    Args:
        dims: sizes of the graphs.
    """

    reads: Reads = "edges"

    def __init__(self, dims: GraphDims):
        super().__init__()
        self.new = NewParameters(dims, None, is_residual=True, num_copies=1)

    def forward(self, encoded: EncodedGraphs) -> Graphs:
        return self.new(encoded.graphs, encoded.nodes, encoded.edges)
