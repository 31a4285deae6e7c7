"""All operations: `(draft, operation) -> the value that it makes` for each."""

from collections.abc import Callable

from nn_graphs.graphs.builder.channels import Value
from nn_graphs.graphs.builder.draft import Draft
from nn_graphs.graphs.builder.layers import LAYERS
from nn_graphs.graphs.builder.moving import MOVES
from nn_graphs.graphs.builder.operations import Input, Output
from nn_graphs.graphs.builder.pointwise import POINTWISE
from nn_graphs.graphs.builder.products import PRODUCTS
from nn_graphs.graphs.neural_graph import NeuronKind


def add_input(draft: Draft, operation: Input) -> Value:
    """A group of input neurons."""
    return draft.new_group(operation.width, operation.axis, kind=NeuronKind.INPUT)


def add_output(draft: Draft, operation: Output) -> Value:
    """The group becomes one of output neurons."""
    value = draft.values[operation.source]
    if not draft.is_own(value):
        value = draft.follow(value)
    draft.group_of(value).kind = NeuronKind.OUTPUT
    draft.outputs.append(value.pieces[0].group)
    return value


RULES: dict[type, Callable[..., Value]] = (
    {Input: add_input, Output: add_output} | LAYERS | POINTWISE | MOVES | PRODUCTS
)
