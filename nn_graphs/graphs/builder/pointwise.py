"""Rules of operations on each channel alone: activations, sums, gates, factors, offsets."""

from dataclasses import replace

from nn_graphs.graphs.builder.channels import Value
from nn_graphs.graphs.builder.draft import Draft
from nn_graphs.graphs.builder.edges import reading
from nn_graphs.graphs.builder.operations import Activate, Add, Multiply, Scale, Shift
from nn_graphs.graphs.parts.rules import Product
from nn_graphs.networks.activations import Activation


def add_activation(draft: Draft, operation: Activate) -> Value:
    """The group's activation, where it has none yet."""
    value, activation = draft.values[operation.source], operation.activation
    if activation.name == "sine":  # sin(omega_0 z), written as the sine of a product
        factors = {piece.factor for piece in value.pieces}
        if len(factors) == 1:
            activation = Activation("sine", activation.parameter * factors.pop())
            value = value.with_pieces(factor=1.0)
    if not draft.is_inactive(value):
        value = draft.follow(value)
    draft.group_of(value).activation = activation
    return value


def add_sum(draft: Draft, operation: Add) -> Value:
    """More edges into the group of one of both values, whichever is open."""
    for own, other in (operation.sources, operation.sources[::-1]):
        value, addend = draft.values[own], draft.values[other]
        keeps_width = own == operation.source or value.width == addend.width
        if draft.is_open(value) and keeps_width:
            break
    else:
        value, addend = (draft.values[source] for source in operation.sources)
        value = draft.follow(value)
    draft.group_of(value).blocks += [reading(p) for p in addend.first(value.width).pieces]
    return value


def add_product(draft: Draft, operation: Multiply) -> Value:
    """A group of gates, joined to both factors."""
    values = [draft.values[source] for source in operation.sources]
    blocks = [
        replace(reading(piece), argument=number)
        for number, value in enumerate(values)
        for piece in value.pieces
    ]
    return draft.new_group(values[0].width, values[0].axis, rule=Product(), blocks=blocks)


def add_scale(draft: Draft, operation: Scale) -> Value:
    """The value's factor, which becomes the constant of edges."""
    return draft.values[operation.source].scaled(operation.factor)


def add_shift(draft: Draft, operation: Shift) -> Value:
    """The group's offset."""
    value = draft.values[operation.source]
    if not draft.is_own(value):
        value = draft.follow(value)
    draft.group_of(value).offset += operation.constant
    return value


POINTWISE = {
    Activate: add_activation,
    Add: add_sum,
    Multiply: add_product,
    Scale: add_scale,
    Shift: add_shift,
}
