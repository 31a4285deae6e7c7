"""Graphs to parameters: every parameter is read from the places that show it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.graphs.parts.groups import EdgeBlock, NodeGroup
from nn_graphs.graphs.template.places import Places
from nn_graphs.networks.parameters import ParameterSlot


def shown_params(
    slots: Sequence[ParameterSlot],
    places: Places,
    nodes: Float[Tensor, "*B num_nodes 1"],
    edges: Float[Tensor, "*B num_values 1"],
    *,
    base: Float[Tensor, "*B num_params"] | None = None,
) -> Float[Tensor, "*B num_params"]:
    """The parameters that graphs with these features show, see `GraphTemplate.invert`."""
    parts = [_read(slot, places.get(slot, []), nodes, edges, base) for slot in slots]
    return torch.cat(parts, dim=-1)


def _read(
    slot: ParameterSlot,
    places: Sequence[NodeGroup | EdgeBlock],
    nodes: Tensor,
    edges: Tensor,
    base: Tensor | None,
) -> Float[Tensor, "*B slot_size"]:
    """One parameter, from the places that show it."""
    before = None if base is None else base[..., slot.offset : slot.offset + slot.size]
    if all(isinstance(place, NodeGroup) or place.columns is None for place in places):
        return _combined([_shown(place, nodes, edges) for place in places], before, slot, nodes)
    return _read_columns(slot, places, nodes, edges, before)


def _read_columns(
    slot: ParameterSlot,
    blocks: Sequence[EdgeBlock],
    nodes: Tensor,
    edges: Tensor,
    before: Tensor | None,
) -> Float[Tensor, "*B slot_size"]:
    """One parameter whose columns stand in several blocks."""
    axis = blocks[0].column_axis - len(slot.shape)
    parts = []
    for columns in sorted({block.columns for block in blocks}):
        shown = [
            _shown(block, nodes, edges).unflatten(-1, _part_shape(slot, block))
            for block in blocks
            if block.columns == columns
        ]
        old = before if before is None else before.unflatten(-1, slot.shape)
        old = old if old is None else old.narrow(axis, *columns)
        parts.append(_combined(shown, old, slot, nodes))
    return torch.cat(parts, dim=axis).flatten(-len(slot.shape))


def _shown(place: NodeGroup | EdgeBlock, nodes: Tensor, edges: Tensor) -> Float[Tensor, "*B size"]:
    """The values of a place of the graph."""
    if isinstance(place, NodeGroup):
        return nodes[..., place.start : place.stop, 0]
    return edges[..., place.first_value : place.last_value, 0]


def _combined(
    shown: list[Tensor], before: Tensor | None, slot: ParameterSlot, like: Tensor
) -> Tensor:
    """What several places of the graph that show the same say of it."""
    if before is None:
        return shown[0] if shown else like.new_zeros(*like.shape[:-2], slot.size)
    if len(shown) == 1:
        return shown[0]
    return before + sum(values - before for values in shown)


def _part_shape(slot: ParameterSlot, block: EdgeBlock) -> tuple[int, ...]:
    shape = list(slot.shape)
    shape[block.column_axis] = block.columns[1]
    return tuple(shape)
