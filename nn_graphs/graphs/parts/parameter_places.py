"""Where the graphs of a template show each parameter: copied there, and read back.

Features of nodes and edges are slices of flat parameter vectors; a parameter that stands in several
places (tied weights) is read from all of them.
"""

from collections.abc import Collection, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.group_rules import Opaque
from nn_graphs.graphs.parts.node_groups import NodeGroup
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot

Places = dict[ParameterSlot, list[NodeGroup | EdgeBlock]]


def places_of(groups: Sequence[NodeGroup], blocks: Sequence[EdgeBlock]) -> Places:
    """For every parameter that is shown, the groups of a bias, the blocks of a weight."""
    places: Places = {}
    for slot, place in [(group.bias, group) for group in groups] + [
        (block.weight, block) for block in blocks
    ]:
        if slot is not None:
            places.setdefault(slot, []).append(place)
    return places


def hidden_parameters(groups: Sequence[NodeGroup]) -> list[ParameterSlot]:
    """The parameters that opaque operations read."""
    rules = [group.rule for group in groups if isinstance(group.rule, Opaque)]
    return list(dict.fromkeys(slot for rule in rules for slot in rule.parameters))


def overlaps(slot: ParameterSlot, others: Iterable[ParameterSlot]) -> bool:
    """Whether one of several parameters, or parts of them, shares values with another."""
    return any(slot.offset < other.stop and other.offset < slot.stop for other in others)


def divided_slots(layout: ParameterLayout, shown: Collection[ParameterSlot]) -> list[ParameterSlot]:
    """The slots, those that the graph shows in parts divided, in the order of the vector."""
    ordered = sorted(shown, key=lambda slot: slot.offset)
    parts: list[ParameterSlot] = []
    for slot in layout.slots:
        inside = [own for own in ordered if slot.offset <= own.offset < slot.stop and own.size]
        if not inside or slot in shown:
            parts.append(slot)
            continue
        at = 0
        for own in [*inside, slot.part(slot.size, (0,))]:
            gap = own.offset - slot.offset - at
            parts += [slot.part(at, (gap,))] * (gap > 0) + [own] * (own.size > 0)
            at += gap + own.size
    return parts


def node_features(
    groups: Sequence[NodeGroup], layout: ParameterLayout, params: Float[Tensor, "B num_params"]
) -> Float[Tensor, "B num_nodes 1"]:
    """The bias of every neuron, 0 where it has none."""
    parts = [
        layout.view(params, group.bias)
        if group.bias is not None
        else params.new_zeros(len(params), group.width)
        for group in groups
    ]
    return torch.cat(parts, dim=1).unsqueeze(-1)


def edge_features(
    blocks: Sequence[EdgeBlock], layout: ParameterLayout, params: Float[Tensor, "B num_params"]
) -> Float[Tensor, "B num_values 1"]:
    """The values of every edge: a weight, a kernel, a constant."""
    parts = [
        _columns(layout.view(params, block.weight), block).flatten(1)
        if block.weight is not None
        else params.new_full((len(params), block.num_edges), block.constant)
        for block in blocks
    ]
    return torch.cat(parts, dim=1).unsqueeze(-1)


def _columns(weight: Float[Tensor, "*B _"], block: EdgeBlock) -> Tensor:
    """The part of a parameter that a block shows."""
    if block.columns is None:
        return weight
    return weight.narrow(block.column_axis - len(block.weight.shape), *block.columns)


def check_shape(layout: ParameterLayout, params: Tensor, shape: tuple[int, ...]) -> None:
    """Raises where parameters are of another shape."""
    if params.shape != shape:
        raise NNGraphsError(
            f"make neural graphs of {layout.num_params} parameters each",
            found=f"the tensor given has the shape {list(params.shape)}.",
            do="Pass one flat vector, a module or a state dict; for many use template.stack.",
        )


def check_values(layout: ParameterLayout, params: Float[Tensor, "num_params"]) -> None:
    """Raises where parameters are NaN or infinite."""
    if not len(params) or all(bound.isfinite() for bound in params.aminmax()):  # one pass
        return
    bad = (~params.isfinite()).nonzero().flatten().tolist()
    if bad:
        slot = next(s for s in layout.slots if bad[0] < s.offset + s.size)
        raise NNGraphsError(
            f"make a neural graph of {layout.num_params} parameters",
            found=f"{len(bad)} are NaN or infinite, the first in {slot.name}.",
            do="Leave out networks whose training diverged.",
        )


def check_features(
    layout: ParameterLayout,
    nodes: Tensor,
    edges: Tensor,
    *,
    num_nodes: int,
    num_edges: int,
    num_values: int,
) -> None:
    """Raises where features are not one number for each neuron and each value on an edge."""
    if (*nodes.shape[-2:], *edges.shape[-2:]) != (num_nodes, 1, num_values, 1):
        raise NNGraphsError(
            f"read {layout.num_params} parameters from graphs of {num_nodes} nodes and "
            f"{num_edges} edges with one feature each",
            found=f"there are {list(nodes.shape)} node features and {list(edges.shape)} "
            "edge features.",
            do="Use the architecture's own template, and one graph of a batch at a time "
            "(batch.to_data_list()) or a stack.",
        )


def shown_params(
    slots: Sequence[ParameterSlot],
    places: Places,
    nodes: Float[Tensor, "*B num_nodes 1"],
    edges: Float[Tensor, "*B num_values 1"],
    *,
    base: Float[Tensor, "*B num_params"] | None = None,
    unshown: Float[Tensor, "*B num_unshown"] | None = None,
) -> Float[Tensor, "*B num_params"]:
    """The parameters of graphs with these features, see `GraphTemplate.invert`."""
    missing = [slot for slot in slots if slot not in places]
    rest: dict[ParameterSlot, Tensor] = {}
    if missing and base is None:
        sizes = [slot.size for slot in missing]
        if unshown is None or unshown.shape[-1] != sum(sizes):
            raise _not_shown(missing)
        rest = dict(zip(missing, unshown.split(sizes, dim=-1), strict=True))
    parts = [
        rest[slot] if slot in rest else _read(slot, places.get(slot, []), nodes, edges, base)
        for slot in slots
    ]
    return torch.cat(parts, dim=-1)


def _not_shown(missing: Sequence[ParameterSlot]) -> NNGraphsError:
    count = sum(slot.size for slot in missing)
    return NNGraphsError(
        "read all parameters of a network from its graph",
        found=f"the graph shows {count} of them nowhere, the first in {missing[0].name}.",
        do="Give base=, the network's parameters; or the graph as the template made it.",
    )


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
