"""Rules of attention and recurrence: channels that meet pair by pair, and memories."""

from dataclasses import replace

from nn_graphs.graphs.builder.channels import Value
from nn_graphs.graphs.builder.draft import Draft
from nn_graphs.graphs.builder.edges import joining, reading
from nn_graphs.graphs.builder.operations import Combine, Modulate, Recur, Remember
from nn_graphs.graphs.parts.rules import Match, Memory, Modulation, Pairing


def add_modulation(draft: Draft, operation: Modulate) -> Value:
    """A group that tells channels apart by their constants."""
    value = draft.values[operation.source]
    blocks = [reading(piece) for piece in value.pieces]
    rule = Modulation(operation.pattern)
    return draft.new_group(value.width, value.axis, rule=rule, blocks=blocks)


def add_combination(draft: Draft, operation: Combine) -> Value:
    """A group of one neuron for each row of channels that meet."""
    width = len(operation.channels)
    blocks = []
    for argument, (source, rows) in enumerate(
        zip(operation.sources, (operation.channels, operation.others), strict=True)
    ):
        value = draft.as_one_piece(draft.values[source])
        targets = tuple(number for number, row in enumerate(rows) for _ in row)
        joins = tuple(channel for row in rows for channel in row), targets
        blocks.append(replace(joining(value.pieces[0], joins, width), argument=argument))
    rule = Match() if operation.is_match else Pairing()
    return draft.new_group(width, -1, rule=rule, blocks=blocks)


def add_memory(draft: Draft, operation: Remember) -> Value:
    """A group of the values one step before."""
    return draft.new_group(operation.width, -1, rule=Memory())


def add_recurrence(draft: Draft, operation: Recur) -> Value:
    """Says which group computes the next values of a memory."""
    value, memory = (draft.values[source] for source in operation.sources)
    group = draft.group_of(value)
    whole = Value.of_group(value.pieces[0].group, group.width, group.axis)
    if replace(value, is_shared=False) != whole:
        value = draft.follow(value)
    draft.group_of(memory).memory_of = value.pieces[0].group
    return replace(value, is_shared=True)


PRODUCTS = {
    Modulate: add_modulation,
    Combine: add_combination,
    Remember: add_memory,
    Recur: add_recurrence,
}
