"""The structure of neural graphs: ids and edges, all but their weights."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.node_groups import NodeGroup


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
EDGE_FIELDS = ("edge_index", "edge_kind_id", "position_id")  # one entry an edge
NODE_FIELDS = tuple(name for name in STRUCTURE_FIELDS if name not in EDGE_FIELDS)


def make_structure(groups: tuple[NodeGroup, ...], blocks: tuple[EdgeBlock, ...]) -> GraphStructure:
    """The structure on the CPU, its constants in float64."""
    return GraphStructure(
        edge_index=torch.cat([_block_edges(block, groups) for block in blocks], dim=1),
        edge_kind_id=torch.cat(
            [torch.full((block.num_edges,), block.kind.value) for block in blocks]
        ),
        position_id=torch.cat([block.positions() for block in blocks]),
        **node_fields(groups),
    )


def node_fields(groups: tuple[NodeGroup, ...]) -> dict[str, Tensor]:
    """The fields with an entry a neuron, on the CPU, constants in float64."""
    widths = torch.tensor([group.width for group in groups])

    def per_node(values: list, dtype: torch.dtype | None = None) -> Tensor:
        return torch.tensor(values, dtype=dtype).repeat_interleave(widths)

    return {
        "layer_id": per_node(list(range(len(groups)))),
        "kind_id": per_node([group.kind.value for group in groups]),
        "neuron_id": torch.cat([g.first_neuron + torch.arange(g.width) for g in groups]),
        "activation_id": per_node([group.activation.activation_id for group in groups]),
        "activation_parameter": per_node([g.activation.parameter for g in groups], torch.float64),
        "offset": per_node([group.offset for group in groups], torch.float64),
        "has_bias": per_node([group.bias is not None for group in groups]),
    }


def repeated_structure(
    structure: GraphStructure, count: int, *, num_nodes: int
) -> dict[str, Tensor]:
    """The fields of so many graphs of one structure, side by side; edges count all neurons."""
    fields = {}
    for name, value in structure.tensors().items():
        fields[name] = value.repeat(*(1,) * (value.ndim - 1), count)
    first = torch.arange(count, device=structure.edge_index.device) * num_nodes
    fields["edge_index"] += first.repeat_interleave(structure.edge_index.shape[1])
    return fields


def _block_edges(block: EdgeBlock, groups: tuple[NodeGroup, ...]) -> Tensor:
    source, target = block.ends()
    return torch.stack([groups[block.source].start + source, groups[block.target].start + target])
