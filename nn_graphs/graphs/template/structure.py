"""Ids and edges of the graphs of a template: all but their weights."""

import torch
from torch import Tensor

from nn_graphs.graphs.neural_graph import GraphStructure
from nn_graphs.graphs.parts.groups import EdgeBlock, NodeGroup


def make_structure(groups: tuple[NodeGroup, ...], blocks: tuple[EdgeBlock, ...]) -> GraphStructure:
    """The structure on the CPU, its constants in float64."""
    widths = torch.tensor([group.width for group in groups])

    def per_node(values: list, dtype: torch.dtype | None = None) -> Tensor:
        return torch.tensor(values, dtype=dtype).repeat_interleave(widths)

    return GraphStructure(
        edge_index=torch.cat([_block_edges(block, groups) for block in blocks], dim=1),
        layer_id=per_node(list(range(len(groups)))),
        kind_id=per_node([group.kind.value for group in groups]),
        neuron_id=torch.cat([group.first_neuron + torch.arange(group.width) for group in groups]),
        activation_id=per_node([group.activation.activation_id for group in groups]),
        activation_parameter=per_node([g.activation.parameter for g in groups], torch.float64),
        offset=per_node([group.offset for group in groups], torch.float64),
        has_bias=per_node([group.bias is not None for group in groups]),
        edge_kind_id=torch.cat(
            [torch.full((block.num_edges,), block.kind.value) for block in blocks]
        ),
        position_id=torch.cat([block.positions() for block in blocks]),
    )


def _block_edges(block: EdgeBlock, groups: tuple[NodeGroup, ...]) -> Tensor:
    source, target = block.ends()
    return torch.stack([groups[block.source].start + source, groups[block.target].start + target])
