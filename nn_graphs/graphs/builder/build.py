"""Goes through the operations of a network once, and makes its template of what they say.

Groups get their order, neurons, edges and values their numbers, when all groups are known.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from torch import Tensor

from nn_graphs.graphs.builder.draft import Draft, Flattening
from nn_graphs.graphs.builder.operation_rules import RULES
from nn_graphs.graphs.builder.operations import Input, Operation, Output
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.node_groups import NodeGroup
from nn_graphs.graphs.symmetry.finding import find_symmetries
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot


def build_template(
    operations: Sequence[Operation],
    parameters: ParameterLayout,
    *,
    flattening: Flattening = "parallel_edges",
    masks: Mapping[ParameterSlot, Tensor] | None = None,
) -> GraphTemplate:
    """The graph template of a network.

    Args:
        operations: what the network computes, in an order in which it can be computed.
        parameters: the flat parameter vector that the operations' slots point into.
        flattening: how a linear map reads channels at several places: by parallel edges, one for
            each place, or from nodes that repeat each channel.
        masks: of the parameters that have one, which of their values exist.
    """
    operations = _without_unused(operations)
    num_uses = Counter(source for operation in operations for source in operation.sources)
    draft = Draft(flattening)
    for number, operation in enumerate(operations):
        value = RULES[type(operation)](draft, operation)
        is_shared = value.is_shared or num_uses[number] > 1
        draft.values.append(replace(value, is_shared=is_shared))
    return numbered(draft, parameters, masks or {})


def _without_unused(operations: Sequence[Operation]) -> list[Operation]:
    """The inputs, and the operations that an output depends on, renumbered."""
    is_used = [isinstance(operation, Input | Output) for operation in operations]
    for number, operation in reversed(list(enumerate(operations))):
        for source in operation.sources if is_used[number] else ():
            is_used[source] = True
    places = list(accumulate(is_used, initial=0))
    kept = [operation for operation, used in zip(operations, is_used, strict=True) if used]
    return [operation.renumbered(places) for operation in kept]


def without_fixed_neurons(template: GraphTemplate) -> GraphTemplate:
    """The same architecture, with inputs and outputs that may be permuted like hidden neurons.

    That changes what a network computes; it is the larger group for which NFN (NP) layers are made.
    """
    symmetries = find_symmetries(
        template.groups, template.blocks, template.masks, are_ends_fixed=False
    )
    return replace(template, symmetries=symmetries)


def numbered(
    draft: Draft, parameters: ParameterLayout, masks: Mapping[ParameterSlot, Tensor]
) -> GraphTemplate:
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
        symmetries=find_symmetries(groups, blocks, masks),
        masks=masks,
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
