"""The symmetries of a network, from the groups and blocks of its graph.

Constant edges and norms tie the neurons at their two ends, tied weights tie axes, a part that is
read alone is cut off, grouped convolutions and group norms keep neurons in their group, and let
whole groups change places. A mask stays where it is, so that only neurons change places that have
the same row, or column, of it.

Where channels of two values are multiplied pair by pair, as in attention, queries and keys share
one permutation inside a head, values and outputs another, and heads permute as blocks. Where
several heads read the same keys and values (grouped-query attention), these heads permute inside
their group, and all keep the order of the channels that they share.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.group_rules import (
    HeadTotal,
    Match,
    Memory,
    Modulation,
    Normalization,
    OneHot,
    Opaque,
    Pairing,
    Shared,
)
from nn_graphs.graphs.parts.node_groups import NeuronKind, NodeGroup
from nn_graphs.graphs.parts.parameter_places import hidden_parameters, overlaps
from nn_graphs.graphs.parts.symmetries import Symmetries
from nn_graphs.graphs.symmetry.axis_ties import AxisTies
from nn_graphs.graphs.symmetry.neuron_classes import Numbers
from nn_graphs.networks.parameters import ParameterSlot


def find_symmetries(
    groups: Sequence[NodeGroup],
    blocks: Sequence[EdgeBlock],
    masks: Mapping[ParameterSlot, Tensor] | None = None,
    *,
    are_ends_fixed: bool = True,
) -> Symmetries:
    """Which neurons can be permuted, and which must move together."""
    ties = AxisTies([group.width for group in groups])
    for number, group in enumerate(groups):
        if are_ends_fixed and group.kind is not NeuronKind.HIDDEN:
            ties.fix(number)
        if isinstance(group.rule, Normalization) and group.rule.num_groups > 1:
            items = ties.new_items(group.rule.num_groups)
            ties.nest(number, items, first=0, length=group.width)
        _tie_by_rule(ties, number, group, [block for block in blocks if block.target == number])
    _fix_hidden(ties, groups, blocks)
    twins: dict[tuple[ParameterSlot, tuple[int, int] | None], EdgeBlock] = {}
    for block in blocks:
        ties.cut(block.source, block.first_source)  # neurons that are read apart from others
        ties.cut(block.source, block.first_source + block.num_sources)
        if block.is_bundle:
            _cut_off(ties, block)
        elif block.is_dense:
            _nest_groups(ties, block)
        elif block.joins is None:
            _tie_ends(ties, block)
        for slot, mask in (masks or {}).items():
            if block.is_dense and slot.offset <= block.weight.offset < slot.stop:
                _tell_masked_apart(ties, block, slot, mask)
        if block.weight is not None:
            twin = twins.setdefault((block.weight, block.columns), block)
            _tie_twins(ties, block, twin)
    first_bias: dict[ParameterSlot, int] = {}
    for number, group in enumerate(groups):
        if group.bias is not None:
            twin = first_bias.setdefault(group.bias, number)
            ties.tie(number, twin, length=group.width)
            if block := twins.get((group.bias, None)):  # the same parameter, as a gain
                ties.tie(number, block.target, length=group.width, other_first=block.first_target)
    return Symmetries(ties.axes())


def _tie_by_rule(
    ties: AxisTies, number: int, group: NodeGroup, blocks: Sequence[EdgeBlock]
) -> None:
    """What a group's rule says of its own neurons, and of those that it reads one by one."""
    rule = group.rule
    if isinstance(rule, OneHot):
        ties.fix(number)
    elif isinstance(rule, Opaque):
        ties.fix(number)
        for block in blocks:
            ties.fix_elements(_sources(ties, block))
    elif isinstance(rule, Modulation):
        ties.tell_apart(number, rule.pattern)
    elif isinstance(rule, Memory) and group.memory_of is not None:
        ties.tie(number, group.memory_of, length=group.width)
    elif isinstance(rule, Match):
        tie_match(ties, number, blocks)
    elif isinstance(rule, HeadTotal):
        rows = _sources(ties, blocks[0]).reshape(group.width, -1)
        heads = ties.elements(number, np.arange(group.width))
        ties.nest_elements(rows, np.broadcast_to(heads[:, None], rows.shape))
    elif isinstance(rule, Pairing):
        tie_pairs(ties, number, blocks)
    elif isinstance(rule, Shared):
        own, shared = (_sources(ties, block) for block in blocks)
        outs = ties.elements(number, np.arange(len(own)))
        ties.tie_elements(outs, own)
        ties.follow(outs, shared)
    else:
        for block in (b for b in blocks if b.joins is not None and not b.is_bundle):
            sources, targets = (end.numpy() for end in block.ends())
            ends = ties.elements(number, targets), ties.elements(block.source, sources)
            ties.tie_elements(*ends)


def _fix_hidden(ties: AxisTies, groups: Sequence[NodeGroup], blocks: Sequence[EdgeBlock]) -> None:
    """What an opaque operation reads of a parameter, it reads in the parameter's order."""
    hidden = hidden_parameters(groups)
    for number, group in enumerate(groups):
        if group.bias is not None and overlaps(group.bias, hidden):
            ties.fix(number)
    for block in blocks:
        if block.weight is not None and overlaps(block.weight, hidden):
            ties.fix(block.source)
            ties.fix(block.target)


def _tie_ends(ties: AxisTies, block: EdgeBlock) -> None:
    ties.tie(
        block.target,
        block.source,
        length=block.num_targets,
        first=block.first_target,
        other_first=block.first_source,
        repeat=block.repeat,
    )


def _cut_off(ties: AxisTies, block: EdgeBlock) -> None:
    """A neuron that is read by many is told apart from others; those many, or those that one reads,
    are not told apart."""
    if len(set(block.joins[0])) == 1:
        position = block.first_source + block.joins[0][0]
        ties.cut(block.source, position)
        ties.cut(block.source, position + 1)


def _nest_groups(ties: AxisTies, block: EdgeBlock) -> None:
    """Both ends of a grouped convolution lie in the same groups."""
    if block.num_groups > 1:
        items = ties.new_items(block.num_groups)
        ties.nest(block.source, items, first=block.first_source, length=block.num_sources)
        ties.nest(block.target, items, first=block.first_target, length=block.num_targets)


def _tell_masked_apart(ties: AxisTies, block: EdgeBlock, slot: ParameterSlot, mask: Tensor) -> None:
    """Neurons at either end are alike where a mask treats them alike."""
    first = block.weight.offset - slot.offset  # a block may show some of the rows alone
    own = mask.flatten()[first : first + block.weight.size].reshape(block.weight.shape).numpy()
    if block.columns is not None:
        columns = range(block.columns[0], sum(block.columns))
        own = own.take(columns, axis=block.column_axis)
    if block.is_transposed:
        own = own.swapaxes(0, 1)
    rows = np.unique(own.reshape(len(own), -1), axis=0, return_inverse=True)[1]
    ties.tell_apart(block.target, rows.ravel(), first=block.first_target)
    per_group = block.num_sources // block.num_groups
    by_source = own.reshape(len(own), per_group, -1).swapaxes(0, 1).reshape(per_group, -1)
    columns = np.unique(by_source, axis=0, return_inverse=True)[1].ravel()
    marks = np.tile(columns, block.num_groups)
    ties.tell_apart(block.source, marks, first=block.first_source)


def _tie_twins(ties: AxisTies, block: EdgeBlock, twin: EdgeBlock) -> None:
    """Blocks that show one parameter: its axes move alike in both."""
    if block is twin:
        return
    for mine, theirs in zip(_weight_axes(block), _weight_axes(twin), strict=True):
        (group, first, length), (other, other_first, _) = mine, theirs
        ties.tie(group, other, length=length, first=first, other_first=other_first)


def _weight_axes(block: EdgeBlock) -> list[tuple[int, int, int]]:
    """Group, first neuron and number of neurons along the axes of a block's weight."""
    source = (block.source, block.first_source, block.num_sources)
    target = (block.target, block.first_target, block.num_targets)
    if not block.is_dense:
        return [target]
    return [source, target] if block.is_transposed else [target, source]


def tie_match(ties: AxisTies, target: int, blocks: list[EdgeBlock]) -> None:
    """Each neuron sums over the products of a row of channels of both arguments."""
    width = max(blocks[0].joins[1]) + 1
    heads = ties.elements(target, np.arange(width))
    rows = [_sources(ties, block).reshape(width, -1) for block in blocks]
    for own in rows:
        distinct, row_of = np.unique(own, axis=0, return_inverse=True)
        if len(distinct) == width:
            ties.nest_elements(own, np.broadcast_to(heads[:, None], own.shape))
        else:
            _nest_shared(ties, distinct, heads, row_of.ravel())
    queries, keys = rows
    if _is_shared(keys) == _is_shared(queries):  # both shared: as if they were not
        ties.tie_elements(queries, keys)
    elif _is_shared(keys):
        ties.follow(queries, keys)
    else:
        ties.follow(keys, queries)


def tie_pairs(ties: AxisTies, target: int, blocks: list[EdgeBlock]) -> None:
    """Each neuron is the product of one channel of each argument."""
    left, right = (_sources(ties, block) for block in blocks)
    outs = ties.elements(target, np.arange(len(left)))
    for own, other in ((left, right), (right, left)):
        if _is_shared(own):
            continue
        ties.tie_elements(outs, own)
        if not _is_shared(other):
            ties.tie_elements(outs, other)
        elif (other != other[0]).any():  # one factor for all tells nothing apart
            ties.nest_elements(outs, other)
        return
    rows = _rows(left, right)
    if rows is None:
        left, right = right, left
        rows = _rows(left, right)
    ties.nest_elements(outs, left)
    if rows is None:
        ties.nest_elements(outs, right)  # a grid: blocks that overlap, which are left fixed
        return
    heads, shared = rows
    distinct, row_of = np.unique(shared, axis=0, return_inverse=True)
    _nest_shared(ties, distinct, heads, row_of.ravel())
    ties.follow(outs, right)


def _rows(left: Numbers, right: Numbers) -> tuple[Numbers, Numbers] | None:
    """The distinct ones on the left, and those that each meets, where each meets as many.

    None where these rows overlap without being the same.
    """
    heads, counts = np.unique(left, return_counts=True)
    if len(np.unique(counts)) > 1:
        return None
    rows = right[np.argsort(left, kind="stable")].reshape(len(heads), -1)
    distinct = np.unique(rows, axis=0)
    is_apart = len(np.unique(distinct)) == distinct.size
    return (heads, rows) if is_apart else None


def _nest_shared(ties: AxisTies, distinct: Numbers, heads: Numbers, row_of: Numbers) -> None:
    """Heads that read one row lie in one block with it."""
    if len(distinct) > 1:  # one block around everything says nothing
        ties.nest_shared(distinct, heads, row_of)


def _sources(ties: AxisTies, block: EdgeBlock) -> Numbers:
    return ties.elements(block.source, block.first_source + np.asarray(block.joins[0]))


def _is_shared(elements: Numbers) -> bool:
    return len(np.unique(elements)) < elements.size
