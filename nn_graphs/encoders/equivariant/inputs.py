"""Input features of weight space layers: normalised values, and positions of inputs and outputs."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.parts.node_groups import NeuronKind


class NormalisedValues(nn.Module):
    """Biases and weights of networks of one architecture, normalised by layer.

    The values of a kernel are features of its edge; they are scaled, but not moved.

    Args:
        template: the architecture.
        statistics: what they are normalised by; None: nothing.
    """

    def __init__(self, template: GraphTemplate, statistics: WeightStatistics | None):
        super().__init__()
        self.dims = dims = GraphDims.of([template])
        structure = template.structure()
        statistics = statistics or WeightStatistics.identity(dims)
        nodes = dims.layer_row(structure)
        edges = nodes[structure.edge_index[1]]
        self.register_buffer("bias_mean", statistics.bias_mean[nodes].unsqueeze(-1))
        self.register_buffer("bias_std", statistics.bias_std[nodes].unsqueeze(-1))
        statistics = statistics.around_zero() if dims.kernel_size else statistics
        self.register_buffer("weight_mean", statistics.weight_mean[edges].unsqueeze(-1))
        self.register_buffer("weight_std", statistics.weight_std[edges].unsqueeze(-1))

    def forward(
        self, graphs: NeuralGraphStack
    ) -> tuple[Float[Tensor, "B num_nodes values"], Float[Tensor, "B num_edges values"]]:
        """As many values for a neuron as for an edge, all but the first of them 0."""
        nodes = (graphs.node_features - self.bias_mean) / self.bias_std
        edges = (graphs.edge_features - self.weight_mean) / self.weight_std
        return nn.functional.pad(nodes, (0, self.dims.num_edge_values - 1)), edges


class PositionEncoding(nn.Module):
    """Which input a weight comes from and which output a weight or bias belongs to, as channels.

    Inputs, and outputs, lie evenly in [-1, 1]; a position x is told by sin and cos of pi f x with
    frequencies f from 1 to max_frequency / 2, and by itself (Zhou et al., NeurIPS 2023).
    Hidden neurons have zeros, so that their permutations change nothing.

    Args:
        template: the architecture.
        max_frequency, num_bands: of the sines.
    """

    def __init__(self, template: GraphTemplate, *, max_frequency: float, num_bands: int):
        super().__init__()
        self.dim = 2 * num_bands + 1
        structure = template.structure()
        nodes = torch.zeros(template.num_nodes, self.dim)
        for kind in (NeuronKind.INPUT, NeuronKind.OUTPUT):
            is_here = structure.kind_id == kind.value
            positions = torch.linspace(-1, 1, template.num_neurons(kind))
            encoded = _sines(positions, max_frequency=max_frequency, num_bands=num_bands)
            nodes[is_here] = encoded[structure.neuron_id[is_here]]
        source, target = structure.edge_index
        self.register_buffer("nodes", nodes)
        self.register_buffer("edges", nodes[source] + nodes[target])

    def forward(
        self, nodes: Float[Tensor, "B num_nodes dim"], edges: Float[Tensor, "B num_edges dim"]
    ) -> tuple[Tensor, Tensor]:
        """The same values with the positions behind them."""
        return _append(nodes, self.nodes), _append(edges, self.edges)


def _sines(
    positions: Float[Tensor, "count"], *, max_frequency: float, num_bands: int
) -> Float[Tensor, "count channels"]:
    column = positions.unsqueeze(-1)
    phases = math.pi * column * torch.linspace(1, max_frequency / 2, num_bands)
    return torch.cat([phases.sin(), phases.cos(), column], dim=-1)


def _append(values: Tensor, constants: Tensor) -> Tensor:
    return torch.cat([values, constants.expand(len(values), -1, -1)], dim=-1)
