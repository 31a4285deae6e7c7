"""Networks with other parameters, made of values that a head reads on neurons and edges."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.features import Graphs
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import NeuralGraphStack


class NewParameters(nn.Module):
    """What heads of new parameters have in common: units, factors, copies, what must stay.

    Values are in units of a layer's deviation, times a learned factor per layer that starts at
    0.01. What no parameter sets, a constant edge or a missing bias, stays.

    Args:
        dims: sizes of the graphs.
        statistics: whose deviations are units; None: units of 1.
        is_residual: values are changes of the parameters, rather than the parameters.
        num_copies: networks that are written for each network.

    Raises:
        NNGraphsError: there are no copies; (forward) several are asked for of a mixed batch.
    """

    def __init__(
        self,
        dims: GraphDims,
        statistics: WeightStatistics | None,
        *,
        is_residual: bool,
        num_copies: int,
    ):
        super().__init__()
        if num_copies < 1:
            raise NNGraphsError(
                f"write {num_copies} networks for each network",
                found="there must be one to be read.",
                do="Give num_copies of at least 1.",
            )
        self.dims, self.is_residual, self.num_copies = dims, is_residual, num_copies
        self.bias_factor = nn.Parameter(torch.full((dims.num_layers - 1,), 0.01))
        self.weight_factor = nn.Parameter(torch.full((dims.num_layers - 1,), 0.01))
        statistics = statistics or WeightStatistics.identity(dims)
        self.register_buffer("bias_std", statistics.bias_std.clone())
        self.register_buffer("weight_std", statistics.weight_std.clone())

    def forward(
        self,
        graphs: Graphs,
        nodes: Float[Tensor, "*B num_nodes copies"],
        edges: Float[Tensor, "*B num_edges outputs"],
    ) -> Graphs:
        """The graphs with new features; of a stack, the copies of each graph in a row.

        Args:
            graphs: whose parameters are written anew.
            nodes: a value per neuron and copy.
            edges: all values of an edge for the first copy, then for the next.
        """
        structure = graphs.structure
        rows = self.dims.layer_row(structure)
        targets = rows[structure.edge_index[1]]
        node_scale = self.bias_factor[(rows - 1).clamp_min(0)] * self.bias_std[rows]
        edge_scale = self.weight_factor[targets - 1] * self.weight_std[targets]
        nodes = self._apart(nodes * node_scale[:, None])
        edges = self._apart(edges * edge_scale[:, None])
        graphs = self._repeated(graphs)
        if self.is_residual:
            nodes, edges = graphs.node_features + nodes, graphs.edge_features + edges
        is_weight = (structure.edge_kind_id == 0)[:, None]
        return graphs.with_features(
            torch.where(structure.has_bias[:, None], nodes, graphs.node_features),
            torch.where(is_weight, edges, graphs.edge_features),
        )

    def _apart(self, values: Float[Tensor, "*B rows outputs"]) -> Tensor:
        """The values of each copy as those of a graph."""
        if self.num_copies == 1:
            return values
        return values.unflatten(-1, (self.num_copies, -1)).movedim(-2, 1).flatten(0, 1)

    def _repeated(self, graphs: Graphs) -> Graphs:
        if self.num_copies == 1:
            return graphs
        if not isinstance(graphs, NeuralGraphStack):
            raise NNGraphsError(
                f"write {self.num_copies} networks for each network",
                found="they are a batch of graphs that may be of several architectures.",
                do="Give a stack of graphs of one template, or take num_copies=1.",
            )
        return graphs.with_features(
            graphs.node_features.repeat_interleave(self.num_copies, dim=0),
            graphs.edge_features.repeat_interleave(self.num_copies, dim=0),
        )
