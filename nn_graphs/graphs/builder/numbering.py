"""From a draft to a template: the order of groups, the numbers of neurons, edges and values."""

from collections import Counter
from dataclasses import replace

from nn_graphs.graphs.builder.draft import Draft
from nn_graphs.graphs.parts.groups import EdgeBlock, NodeGroup
from nn_graphs.graphs.symmetry.tying import find_symmetries
from nn_graphs.graphs.template import GraphTemplate
from nn_graphs.networks.parameters import ParameterLayout


def numbered(draft: Draft, parameters: ParameterLayout) -> GraphTemplate:
    """The template of a draft."""
    order = _topological_order(draft)
    place = {group: index for index, group in enumerate(order)}
    groups: list[NodeGroup] = []
    blocks: list[EdgeBlock] = []
    num_nodes = num_edges = num_values = 0
    counts = Counter()
    for group in (draft.groups[number] for number in order):
        groups.append(
            NodeGroup(
                start=num_nodes,
                width=group.width,
                kind=group.kind,
                first_neuron=counts[group.kind],
                activation=group.activation,
                offset=group.offset,
                bias=group.bias,
                rule=group.rule,
                axis=group.axis,
                memory_of=None if group.memory_of is None else place[group.memory_of],
            )
        )
        num_nodes += group.width
        counts[group.kind] += group.width
        for block in group.blocks:
            blocks.append(
                replace(
                    block,
                    start=num_edges,
                    source=place[block.source],
                    target=len(groups) - 1,
                    first_value=num_values,
                )
            )
            num_edges, num_values = blocks[-1].stop, blocks[-1].last_value
    return GraphTemplate(
        groups=tuple(groups),
        blocks=tuple(blocks),
        parameters=parameters,
        symmetries=find_symmetries(groups, blocks),
    )


def _topological_order(draft: Draft) -> list[int]:
    """Inputs first, outputs last, every group behind those it reads, else as built."""
    outputs = set(draft.outputs)
    others = [number for number in range(len(draft.groups)) if number not in outputs]
    waiting = sorted(others, key=lambda number: draft.groups[number].kind.value)
    order: dict[int, None] = {}
    waiting += draft.outputs
    while waiting:
        ready = next(
            number
            for number in waiting
            if all(block.source in order for block in draft.groups[number].blocks)
        )
        order[ready] = None
        waiting.remove(ready)
    return list(order)
