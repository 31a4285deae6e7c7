"""Statistics that normalise weights and biases: one mean and deviation per layer, never per weight.

A mean per weight would break the permutation symmetry (it is what the public code calls
`normalize: True`); they come from training networks alone and are stored with the model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_structure import GraphStructure
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.parts.kernels import common_kernel_size
from nn_graphs.graphs.parts.node_groups import NeuronKind

CONSTANT = 1e-12  # values whose variance is this share of their mean square do not vary


@dataclass(frozen=True)
class GraphDims:
    """Sizes that an encoder is built for; of several architectures, the largest.

    Attributes:
        num_inputs: input neurons.
        num_hidden_layers: groups of hidden neurons.
        num_outputs: output neurons.
        kernel_size: the smallest size that every kernel fits in; of linear maps alone `()`.
        num_activations: so many of the known activations, from the first one, hold all of theirs.
        is_plain: whether all networks are linear maps, activations and skips alone, which run at
            points by their graphs.
    """

    num_inputs: int
    num_hidden_layers: int
    num_outputs: int
    kernel_size: tuple[int, ...] = ()
    num_activations: int = 1
    is_plain: bool = True

    @classmethod
    def of(cls, templates: "Sequence[GraphTemplate] | GraphDims") -> "GraphDims":
        """The sizes of templates; where these alone are known, they stand for templates."""
        if isinstance(templates, GraphDims):
            return templates
        return cls(
            num_inputs=max(t.num_neurons(NeuronKind.INPUT) for t in templates),
            num_hidden_layers=max(t.num_hidden_groups for t in templates),
            num_outputs=max(t.num_neurons(NeuronKind.OUTPUT) for t in templates),
            kernel_size=common_kernel_size([template.kernel_size for template in templates]),
            num_activations=max(map(_num_activations, templates)),
            is_plain=all(template.is_plain for template in templates),
        )

    def check_probes(self) -> None:
        """Makes sure that the networks can be run at points.

        Raises:
            NNGraphsError: some have more than linear maps, activations and skips.
        """
        if not self.is_plain:
            raise NNGraphsError(
                "probe the networks, that is, run them at learned inputs",
                found="some have kernels, norms or gates, or read parts of a layer: of such "
                "networks the zoo has the graphs, and not what runs them at points.",
                do="Choose an encoder without probes (num_probes=0), which reads the graphs alone.",
            )

    @property
    def num_edge_values(self) -> int:
        """Values of an edge: 1, or those of the largest kernel."""
        return math.prod(self.kernel_size)

    def centred(self, graphs: NeuralGraph | NeuralGraphStack) -> NeuralGraph | NeuralGraphStack:
        """The graphs with kernels of the common size; stacks are brought to it.

        Raises:
            NNGraphsError: the graphs have kernels of another size.
        """
        if self.kernel_size and isinstance(graphs, NeuralGraphStack) and graphs.kernel_size is None:
            graphs = graphs.template.centred(graphs, self.kernel_size)
        num_edges, found = graphs.structure.edge_index.shape[-1], graphs.edge_features.shape[-2:]
        if found != (num_edges, self.num_edge_values):
            raise NNGraphsError(
                f"encode graphs of {num_edges} edges with kernels of {list(self.kernel_size)}",
                found=f"their edge features are {list(found)}.",
                do=f"Centre the kernels: template.centred(graphs, {self.kernel_size}).",
            )
        return graphs

    @property
    def num_layers(self) -> int:
        """Rows of a table by layer: the inputs, the hidden layers, the outputs."""
        return self.num_hidden_layers + 2

    @property
    def num_positions(self) -> int:
        """Rows of a table by position: every input, every hidden layer, every output."""
        return self.num_inputs + self.num_hidden_layers + self.num_outputs

    def layer_row(self, structure: GraphStructure) -> Int[Tensor, "num_nodes"]:
        """Each neuron's row in a table by layer: hidden layers count from the front."""
        is_output = structure.kind_id == NeuronKind.OUTPUT.value
        hidden = structure.layer_id.clamp_max(self.num_layers - 2)
        return torch.where(is_output, self.num_layers - 1, hidden)

    def position_row(self, structure: GraphStructure) -> Int[Tensor, "num_nodes"]:
        """Each neuron's row in a table by position."""
        is_input = structure.kind_id == NeuronKind.INPUT.value
        is_output = structure.kind_id == NeuronKind.OUTPUT.value
        hidden = self.num_inputs + self.layer_row(structure) - 1
        output = self.num_inputs + self.num_hidden_layers + structure.neuron_id
        return torch.where(is_input, structure.neuron_id, torch.where(is_output, output, hidden))


@dataclass(frozen=True)
class WeightStatistics:
    """Mean and standard deviation of the biases of each layer and of the weights into it.

    Every tensor is `[num_layers]`; the row of the inputs is mean 0, deviation 1.
    """

    bias_mean: Float[Tensor, "num_layers"]
    bias_std: Float[Tensor, "num_layers"]
    weight_mean: Float[Tensor, "num_layers"]
    weight_std: Float[Tensor, "num_layers"]

    @classmethod
    def identity(cls, dims: GraphDims) -> "WeightStatistics":
        """Statistics that leave weights as they are."""
        zeros, ones = torch.zeros(dims.num_layers), torch.ones(dims.num_layers)
        return cls(zeros, ones, zeros.clone(), ones.clone())

    @classmethod
    def measure(
        cls,
        dims: GraphDims,
        populations: Sequence[tuple[GraphTemplate, Float[Tensor, "_ _"]]],
    ) -> "WeightStatistics":
        """Statistics of training networks: architectures, each with its `[N, num_params]`."""
        biases, weights = _Moments(dims.num_layers), _Moments(dims.num_layers)
        for template, params in populations:
            structure = template.structure(params.device)
            rows = dims.layer_row(structure)
            is_weight = structure.edge_kind_id == 0
            graphs = template.stack(params)
            biases.add(
                graphs.node_features.squeeze(-1)[:, structure.has_bias], rows[structure.has_bias]
            )
            targets = rows[structure.edge_index[1]]
            edges = template.edge_of_value.to(params.device)
            is_read, rows_read = is_weight[edges], targets[edges]
            weights.add(graphs.edge_features.squeeze(-1)[:, is_read], rows_read[is_read])
        return cls(*biases.mean_and_std(), *weights.mean_and_std())

    def around_zero(self) -> "WeightStatistics":
        """The same for weights, with their root mean square as deviation from 0."""
        zeros = torch.zeros_like(self.weight_mean)
        return replace(
            self, weight_mean=zeros, weight_std=torch.hypot(self.weight_mean, self.weight_std)
        )

    def per_parameter(
        self, template: GraphTemplate, dims: GraphDims
    ) -> tuple[Float[Tensor, "num_params"], Float[Tensor, "num_params"]]:
        """Mean and deviation of every entry of the flat parameter vector."""
        structure = template.structure()
        rows = dims.layer_row(structure)
        targets = rows[structure.edge_index[1]][template.edge_of_value]
        spread = [
            NeuralGraphStack(template, bias[rows].view(1, -1, 1), weight[targets].view(1, -1, 1))
            for bias, weight in (
                (self.bias_mean, self.weight_mean),
                (self.bias_std, self.weight_std),
            )
        ]
        mean, std = (stack.params[0] for stack in spread)
        return mean, torch.where(std > 0, std, 1.0)


def _num_activations(template: GraphTemplate) -> int:
    """One more than the largest id of an activation of hidden neurons."""
    hidden = (group for group in template.groups if group.kind is NeuronKind.HIDDEN)
    return 1 + max((group.activation.activation_id for group in hidden), default=0)


class _Moments:
    """Sums of values and of their squares, by row."""

    def __init__(self, num_rows: int):
        self.count, self.total, self.squares = torch.zeros(3, num_rows, dtype=torch.float64)

    def add(self, values: Float[Tensor, "N places"], rows: Int[Tensor, "places"]) -> None:
        doubled, rows = values.double().cpu(), rows.cpu()
        self.count.index_add_(0, rows, torch.full_like(rows, len(values), dtype=torch.float64))
        self.total.index_add_(0, rows, doubled.sum(0))
        self.squares.index_add_(0, rows, doubled.square().sum(0))

    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation; 1 where all values are the same, up to rounding."""
        count = self.count.clamp_min(1)
        mean, square = self.total / count, self.squares / count
        variance = square - mean.square()
        is_constant = variance <= CONSTANT * square
        return mean.float(), torch.where(is_constant, 1.0, variance).sqrt().float()
