"""Neural graphs: one network as a torch-geometric `Data`, or many of one architecture as a stack.

Neurons (channels) are nodes, weights (kernels) are edges from input to output, biases are node
features (Kofinas et al., ICLR 2024, sec. 3).
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_geometric.data import Data

from nn_graphs.graphs.topology import EdgeListTopology, LayeredTopology

if TYPE_CHECKING:
    from nn_graphs.graphs.template import GraphTemplate


class NeuronKind(Enum):
    """What a neuron is to its network; the value is its `kind_id`."""

    INPUT = 0
    HIDDEN = 1
    OUTPUT = 2


@dataclass(frozen=True)
class GraphStructure:
    """Everything about neural graphs but their weights.

    Attributes:
        edge_index: `[2, num_edges]`; row 0 = source, nearer the input.
        layer_id: `[num_nodes]`, 0 for inputs, growing along every edge; a second input or output
            of a network is a layer of its own.
        kind_id: `[num_nodes]`: 0 input, 1 hidden, 2 output neuron.
        neuron_id: `[num_nodes]`: which of its graph's inputs, hidden neurons or outputs it is.
        activation_id: `[num_nodes]`, position in `nn_graphs.networks.activations.ACTIVATIONS`.
        activation_parameter: `[num_nodes]`: omega_0 of a sine, slope of a leaky relu.
        offset: `[num_nodes]`, constant added behind the activation.
        has_bias: `[num_nodes]`, whether a parameter is this neuron's bias.
        edge_kind_id: `[num_edges]`: 0 a weight, 1 a constant that no parameter changes; of a norm,
            2 its gain, 3 its running mean, 4 its running variance.
        position_id: `[num_edges]`: which of the parallel edges of its two neurons it is: the place
            of the source that a linear map behind a flattening reads; 0 elsewhere.
    """

    edge_index: Int[Tensor, "2 num_edges"]
    layer_id: Int[Tensor, "num_nodes"]
    kind_id: Int[Tensor, "num_nodes"]
    neuron_id: Int[Tensor, "num_nodes"]
    activation_id: Int[Tensor, "num_nodes"]
    activation_parameter: Float[Tensor, "num_nodes"]
    offset: Float[Tensor, "num_nodes"]
    has_bias: Bool[Tensor, "num_nodes"]
    edge_kind_id: Int[Tensor, "num_edges"]
    position_id: Int[Tensor, "num_edges"]

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "GraphStructure":
        """On a device, with the floating-point fields in a precision."""
        moved = {
            name: value.to(device, dtype if value.is_floating_point() else value.dtype)
            for name, value in vars(self).items()
        }
        return GraphStructure(**moved)


STRUCTURE_FIELDS = tuple(GraphStructure.__dataclass_fields__)


class NeuralGraph(Data):
    """One neural graph, or a torch-geometric batch of them.

    Beside the fields of `GraphStructure` (in a batch, `edge_index` is offset as usual) it has

    - `x [num_nodes, node_dim]`, also `node_features`: the bias of each neuron, 0 where it has none;
    - `edge_attr [num_edges, edge_dim]`, also `edge_features`: the weight of each edge, or a kernel;
    - `is_value [num_edges, edge_dim]`, where kernels of several sizes have been brought to one:
      which values are the kernels' own, and not zeros around them.

    No field's name contains "index" or "batch" but `edge_index`, so that torch-geometric leaves the
    ids as they are when it batches graphs.

    Example:
        The INR 2-3-1 has 6 nodes and 9 edges: nodes 0 and 1 are the inputs, 2 to 4 hidden, 5 the
        output; `edge_index[:, :6]` runs from 0 and 1 to 2, 3 and 4, the rest from these to 5.
    """

    @classmethod
    def make(
        cls,
        structure: GraphStructure,
        *,
        node_features: Float[Tensor, "num_nodes node_dim"],
        edge_features: Float[Tensor, "num_edges edge_dim"],
    ) -> "NeuralGraph":
        fields = structure.tensors()
        return cls(
            x=node_features,
            edge_attr=edge_features,
            num_nodes=len(node_features),
            **fields,
        )

    @property
    def node_features(self) -> Float[Tensor, "num_nodes node_dim"]:
        return self.x

    @property
    def edge_features(self) -> Float[Tensor, "num_edges edge_dim"]:
        return self.edge_attr

    def output_values(
        self, nodes: Float[Tensor, "num_nodes dim"]
    ) -> Float[Tensor, "num_outputs dim"]:
        """Of values on all neurons, those on the output neurons of all graphs."""
        return nodes[self.kind_id == NeuronKind.OUTPUT.value]

    def with_features(self, node_features: Tensor, edge_features: Tensor) -> "NeuralGraph":
        """The same graph, or batch, with other biases and weights."""
        changed = copy(self)
        changed.x, changed.edge_attr = node_features, edge_features
        return changed

    @property
    def num_graphs(self) -> int:
        return 1

    @property
    def structure(self) -> GraphStructure:
        return GraphStructure(**{name: self[name] for name in STRUCTURE_FIELDS})

    @property
    def topology(self) -> EdgeListTopology:
        """Message passing over an edge list, of any mix of architectures."""
        graph_id = self.batch if "batch" in self and self.batch is not None else None
        if graph_id is None:
            graph_id = self.edge_index.new_zeros(self.num_nodes)
        return EdgeListTopology(self.structure, graph_id)


@dataclass(frozen=True)
class NeuralGraphStack:
    """`B` neural graphs of one architecture.

    Attributes:
        template: their architecture.
        node_features: `[B, num_nodes, node_dim]`.
        edge_features: `[B, num_edges, edge_dim]`; of kernels as their template makes them,
            `[B, num_values, 1]`.
        kernel_size: the size that all kernels have been brought to (`GraphTemplate.centred`).
    """

    template: "GraphTemplate"
    node_features: Float[Tensor, "B num_nodes node_dim"]
    edge_features: Float[Tensor, "B num_edges edge_dim"]
    kernel_size: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.node_features)

    @property
    def num_graphs(self) -> int:
        return len(self)

    def __getitem__(self, number: int) -> NeuralGraph:
        """One graph of the stack."""
        graph = NeuralGraph.make(
            self.structure,
            node_features=self.node_features[number],
            edge_features=self.edge_features[number],
        )
        if self.kernel_size is not None:
            graph.is_value = self.template.is_value(self.kernel_size, graph.x.device)
        return graph

    def __iter__(self) -> Iterator[NeuralGraph]:
        return (self[number] for number in range(len(self)))

    def split(self, size: int) -> "list[NeuralGraphStack]":
        """Stacks of at most `size` of these graphs, in order."""
        parts = zip(self.node_features.split(size), self.edge_features.split(size), strict=True)
        return [self.with_features(*features) for features in parts]

    @property
    def structure(self) -> GraphStructure:
        return self.template.structure(self.node_features.device, self.node_features.dtype)

    @property
    def topology(self) -> LayeredTopology:
        """Message passing over blocks of edges, without a gather."""
        return self.template.topology(self.node_features.device, self.node_features.dtype)

    def output_values(
        self, nodes: Float[Tensor, "B num_nodes dim"]
    ) -> Float[Tensor, "B num_outputs dim"]:
        """Of values on all neurons, those on the output neurons, which templates put last."""
        return nodes[:, -self.template.num_neurons(NeuronKind.OUTPUT) :]

    def with_features(self, node_features: Tensor, edge_features: Tensor) -> "NeuralGraphStack":
        """The same graphs with other biases and weights."""
        return replace(self, node_features=node_features, edge_features=edge_features)

    def with_own_kernels(self) -> "NeuralGraphStack":
        """The same graphs with kernels of their own sizes, as their template makes them."""
        if self.kernel_size is None:
            return self
        return self.template.cropped(self, self.kernel_size)

    @property
    def params(self) -> Float[Tensor, "B num_params"]:
        return self.template.invert(self)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "NeuralGraphStack":
        return self.with_features(
            self.node_features.to(device, non_blocking=non_blocking),
            self.edge_features.to(device, non_blocking=non_blocking),
        )
