"""Where the graphs of a template show each parameter."""

from collections.abc import Collection, Sequence

from nn_graphs.graphs.parts.groups import EdgeBlock, NodeGroup
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
