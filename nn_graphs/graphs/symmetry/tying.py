"""The symmetries of a network, from the groups and blocks of its graph.

Constant edges and norms tie the neurons at their two ends, tied weights tie axes, a part that is
read alone is cut off, grouped convolutions and group norms keep neurons in their group, and let
whole groups change places.
"""

from collections.abc import Sequence

from nn_graphs.graphs.neural_graph import NeuronKind
from nn_graphs.graphs.parts.groups import EdgeBlock, NodeGroup
from nn_graphs.graphs.parts.rules import Match, Memory, Modulation, Normalization, OneHot, Pairing
from nn_graphs.graphs.symmetry.pairs import tie_match, tie_pairs
from nn_graphs.graphs.symmetry.segments import Symmetries
from nn_graphs.graphs.symmetry.ties import AxisTies
from nn_graphs.networks.parameters import ParameterSlot


def find_symmetries(
    groups: Sequence[NodeGroup], blocks: Sequence[EdgeBlock], *, are_ends_fixed: bool = True
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
    twins: dict[tuple[ParameterSlot, tuple[int, int] | None], EdgeBlock] = {}
    for block in blocks:
        ties.cut(block.source, block.first_source)  # neurons that are read apart from others
        ties.cut(block.source, block.first_source + block.num_sources)
        if block.is_dense:
            _nest_groups(ties, block)
        elif block.joins is None:
            _tie_ends(ties, block)
        if block.weight is not None:
            twin = twins.setdefault((block.weight, block.columns), block)
            _tie_twins(ties, block, twin)
    first_bias: dict[ParameterSlot, int] = {}
    for number, group in enumerate(groups):
        if group.bias is not None:
            twin = first_bias.setdefault(group.bias, number)
            ties.tie(number, twin, length=group.width)
    return Symmetries(ties.axes())


def _tie_by_rule(
    ties: AxisTies, number: int, group: NodeGroup, blocks: Sequence[EdgeBlock]
) -> None:
    """What a group's rule says of its own neurons, and of those that it reads one by one."""
    rule = group.rule
    if isinstance(rule, OneHot):
        ties.fix(number)
    elif isinstance(rule, Modulation):
        ties.tell_apart(number, rule.pattern)
    elif isinstance(rule, Memory) and group.memory_of is not None:
        ties.tie(number, group.memory_of, length=group.width)
    elif isinstance(rule, Match):
        tie_match(ties, number, blocks)
    elif isinstance(rule, Pairing):
        tie_pairs(ties, number, blocks)
    else:
        for block in (block for block in blocks if block.joins is not None):
            sources, targets = (end.numpy() for end in block.ends())
            ends = ties.elements(number, targets), ties.elements(block.source, sources)
            ties.tie_elements(*ends)


def _tie_ends(ties: AxisTies, block: EdgeBlock) -> None:
    ties.tie(
        block.target,
        block.source,
        length=block.num_targets,
        first=block.first_target,
        other_first=block.first_source,
        repeat=block.repeat,
    )


def _nest_groups(ties: AxisTies, block: EdgeBlock) -> None:
    """Both ends of a grouped convolution lie in the same groups."""
    if block.num_groups > 1:
        items = ties.new_items(block.num_groups)
        ties.nest(block.source, items, first=block.first_source, length=block.num_sources)
        ties.nest(block.target, items, first=block.first_target, length=block.num_targets)


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
