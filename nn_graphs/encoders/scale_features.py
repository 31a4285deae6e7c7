"""What ScaleGMN begins with: vectors of neurons and values of edges that follow signs and scales.

Biases and weights are measured in units of their layer, and never moved; a learned vector of a
neuron's position is a factor where the neuron may be multiplied, and a summand where it may not.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.features import ALL_INPUTS, Graphs, num_network_inputs
from nn_graphs.encoders.neuron_factors import NeuronFactors
from nn_graphs.encoders.probe_generators import ProbeForm, make_points
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.execution import execute
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.node_groups import NeuronKind


class ScaleFeatures(nn.Module):
    """The input stage of ScaleGMN.

    Args:
        dims: sizes of the graphs.
        statistics: what weights and biases are measured in; None: units of 1.
        dim: size of neurons' vectors.
        num_probes: inputs at which neurons' values are read too; 0: none.
        probes: how these inputs are learned, see `InputSettings`.
        has_activation_embedding: tell neurons their activation function.
    """

    def __init__(
        self,
        dims: GraphDims,
        statistics: WeightStatistics | None,
        *,
        dim: int,
        num_probes: int = 0,
        probes: ProbeForm = "free",
        has_activation_embedding: bool = False,
    ):
        super().__init__()
        self.dims = dims
        statistics = statistics or WeightStatistics.identity(dims)
        self.register_buffer("weight_std", statistics.around_zero().weight_std.clone())
        self.register_buffer("bias_std", torch.hypot(statistics.bias_mean, statistics.bias_std))
        self.bias_embedding = nn.Linear(1, dim, bias=False)
        self.positions = nn.Parameter(torch.randn(dims.num_positions, dim))
        self.activation_embedding = (
            nn.Embedding(ALL_INPUTS.table_size(dims), dim) if has_activation_embedding else None
        )
        self.points = None
        if num_probes:
            self.points = make_points(probes, num_probes, dims.num_inputs)
            self.projections = nn.ModuleList(
                nn.Linear(num_probes, dim, bias=False) for _ in range(dims.num_layers)
            )

    def weights(self, graphs: Graphs) -> Float[Tensor, "*B num_edges values"]:
        """Weights in units of their layer's root mean square; constants as they are."""
        structure = graphs.structure
        rows = self.dims.layer_row(structure)[structure.edge_index[1]]
        weights = graphs.edge_features
        is_weight = (structure.edge_kind_id == 0).unsqueeze(-1)
        return torch.where(is_weight, weights / self.weight_std[rows, None], weights)

    def biases(self, graphs: Graphs) -> Float[Tensor, "*B num_nodes 1"]:
        """Biases in units of their layer's root mean square; 0 where there are none."""
        return graphs.node_features / self.bias_std[self.dims.layer_row(graphs.structure), None]

    def nodes(
        self,
        graphs: Graphs,
        biases: Float[Tensor, "*B num_nodes 1"],
        factors: NeuronFactors,
        sizes: Float[Tensor, "*B num_nodes 1"] | None = None,
    ) -> Float[Tensor, "*B num_nodes dim"]:
        """Vectors of neurons.

        Args:
            graphs: whose neurons these are.
            biases: in some units.
            factors: by what neurons may be multiplied.
            sizes: what activations at probes are divided by; None: by nothing.
        """
        structure = graphs.structure
        position = self.positions[self.dims.position_row(structure)]
        if self.activation_embedding is not None:
            is_hidden = (structure.kind_id == NeuronKind.HIDDEN.value).unsqueeze(-1)
            position = position + self.activation_embedding(structure.activation_id) * is_hidden
        nodes = self.bias_embedding(biases)
        if self.points is not None:
            nodes = nodes + self._probed(graphs, sizes)
        return torch.where(factors.is_fixed, nodes + position, nodes * position)

    def queries(self) -> Float[Tensor, "num_probes num_inputs"] | None:
        """The inputs at which each network is run; None: nowhere."""
        return None if self.points is None else self.points()

    def _probed(self, graphs: Graphs, sizes: Tensor | None) -> Float[Tensor, "*B num_nodes dim"]:
        """Linear maps, one per layer, of what neurons are at the probes."""
        activations = execute(graphs, self.points()[:, : num_network_inputs(graphs)])
        if sizes is not None:
            activations = activations / sizes
        rows, total = self.dims.layer_row(graphs.structure), 0.0
        for row, projection in enumerate(self.projections):
            total = total + torch.where((rows == row).unsqueeze(-1), projection(activations), 0.0)
        return total


def neuron_sizes(
    graphs: Graphs,
    weights: Float[Tensor, "*B num_edges values"],
    biases: Float[Tensor, "*B num_nodes 1"],
    factors: NeuronFactors,
    *,
    is_mean: bool = True,
) -> Float[Tensor, "*B num_nodes 1"]:
    """A positive number for every neuron that grows with its scale; 1 where it has none.

    The mean, over a neuron's bias and its edges, of absolute values, each times the size of the
    neuron that the edge comes from: nothing overflows, however small weights are. A neuron that
    nothing reaches has the size 1.

    Args:
        graphs: of the neurons.
        weights, biases: in any units.
        factors: which neurons have scales.
        is_mean: else the sum.
    """
    strength = weights.abs().sum(-1, keepdim=True)
    count = 1 + graphs.topology.in_degree if is_mean else None
    of_graphs = _sizes_of_stack if isinstance(graphs, NeuralGraphStack) else _sizes_of_batch
    return of_graphs(graphs, strength, biases.abs(), factors, count)


def balanced(
    graphs: Graphs,
    weights: Float[Tensor, "*B num_edges values"],
    sizes: Float[Tensor, "*B num_nodes 1"],
) -> Float[Tensor, "*B num_edges values"]:
    """Weights of the same networks with neurons of these sizes brought to the size 1."""
    source, target = graphs.structure.edge_index
    return weights * sizes[..., source, :] / sizes[..., target, :]


def _sizes_of_stack(
    graphs: NeuralGraphStack,
    strength: Tensor,
    biases: Tensor,
    factors: NeuronFactors,
    count: Tensor | None,
) -> Tensor:
    topology, sizes = graphs.topology, []
    for number, group in enumerate(topology.groups):
        total = biases[:, group.start : group.stop]
        blocks = topology.blocks_into(number)
        for block in blocks:
            reached = _reached(block, strength, sizes[block.source])
            total = total + F.pad(reached, (0, 0, 0, group.width - reached.shape[1]))
        if count is not None:
            total = total / count[group.start : group.stop]
        sizes.append(_positive(total, factors.scales[:, group.start : group.stop]))
    return torch.cat(sizes, dim=1)


def _reached(block: EdgeBlock, strength: Tensor, sizes: Tensor) -> Float[Tensor, "B targets 1"]:
    """Sums over the edges of a block, of their strength times the size of their source."""
    values = strength[:, block.start : block.stop]
    sources = sizes[:, : block.num_sources]
    if not block.is_dense:
        return values * sources
    return values.squeeze(-1).unflatten(1, (block.num_targets, -1)) @ sources


def _sizes_of_batch(
    graphs: Graphs,
    strength: Tensor,
    biases: Tensor,
    factors: NeuronFactors,
    count: Tensor | None,
) -> Tensor:
    """Layer by layer, as networks are run along edge lists."""
    topology, structure = graphs.topology, graphs.structure
    sizes = torch.ones_like(biases)
    edge_layer = structure.layer_id[topology.target]
    for layer in range(1, int(structure.layer_id.max()) + 1):
        nodes = (structure.layer_id == layer).nonzero().squeeze(1)
        edges = (edge_layer == layer).nonzero().squeeze(1)
        messages = strength[edges] * sizes[topology.source[edges]]
        total = biases.index_add(0, topology.target[edges], messages)[nodes]
        if count is not None:
            total = total / count[nodes]
        sizes = sizes.index_copy(0, nodes, _positive(total, factors.scales[nodes]))
    return sizes


def _positive(sizes: Tensor, scales: Tensor) -> Tensor:
    return torch.where(scales & (sizes > 0), sizes, 1.0)


def check_factors(templates: Sequence[GraphTemplate], asked: str) -> None:
    """Raises where no neuron of any architecture may be multiplied.

    Raises:
        NNGraphsError: none may.
    """
    if not any(any(template.factors) for template in templates):
        activations = sorted({str(g.activation) for t in templates for g in t.groups[1:-1]})
        raise NNGraphsError(
            asked,
            found="no hidden neuron of these networks may change its sign or scale (activations: "
            f"{', '.join(activations) or 'none'}).",
            do="Choose networks with relu, tanh or sine, or an encoder of permutations alone: "
            "NGGNN, ProductGNN.",
        )
