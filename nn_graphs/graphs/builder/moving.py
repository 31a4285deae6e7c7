"""Rules of operations that move channels and places: steps, flattenings, parts, joins."""

from dataclasses import replace

from nn_graphs.graphs.builder.channels import Value
from nn_graphs.graphs.builder.draft import Draft
from nn_graphs.graphs.builder.edges import joining
from nn_graphs.graphs.builder.operations import Concatenate, Flatten, Gather, Pass, Resize, Take


def add_step(draft: Draft, operation: Pass) -> Value:
    """A step on the way to those who read the value."""
    value, step = draft.values[operation.source], operation.step
    is_scaled = any(piece.factor != 1 for piece in value.pieces)
    if (is_scaled and not step.is_odd) or value.is_repeated:
        value = draft.follow(value)
    return replace(value.with_step(step), axis=operation.axis)


def add_flattening(draft: Draft, operation: Flatten) -> Value:
    """Channels repeated for every place, as parallel edges or as neurons of their own."""
    value = draft.unrepeated(draft.values[operation.source])
    value = value.with_step(operation.step).repeated(operation.step.repeat)
    value = replace(value, axis=operation.axis)
    if draft.flattening == "repeat_nodes" and operation.step.repeat > 1:
        value = draft.follow(value)
    return value


def add_slice(draft: Draft, operation: Take) -> Value:
    """Some of the channels."""
    value = draft.unrepeated(draft.values[operation.source])
    return value.part(operation.first, operation.width)


def add_concatenation(draft: Draft, operation: Concatenate) -> Value:
    """The pieces of all values."""
    return Value.concatenated([draft.values[source] for source in operation.sources])


def add_resize(draft: Draft, operation: Resize) -> Value:
    """The first channels; where there are fewer, no piece lies on the last ones."""
    value = draft.values[operation.source]
    return replace(value.first(operation.width), width=operation.width)


def add_choice(draft: Draft, operation: Gather) -> Value:
    """A group that repeats the chosen channels."""
    value = draft.as_one_piece(draft.values[operation.source])
    joins = operation.channels, tuple(range(len(operation.channels)))
    blocks = [joining(value.pieces[0], joins, len(joins[1]))]
    return draft.new_group(len(joins[1]), value.axis, blocks=blocks)


MOVES = {
    Pass: add_step,
    Flatten: add_flattening,
    Take: add_slice,
    Concatenate: add_concatenation,
    Resize: add_resize,
    Gather: add_choice,
}
