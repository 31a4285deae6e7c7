"""Goes through the operations of a network once, and makes its template of what they say."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from nn_graphs.graphs.builder.draft import Draft, Flattening
from nn_graphs.graphs.builder.numbering import numbered
from nn_graphs.graphs.builder.operations import Input, Operation, Output
from nn_graphs.graphs.builder.rules import RULES
from nn_graphs.graphs.symmetry.tying import find_symmetries
from nn_graphs.graphs.template import GraphTemplate
from nn_graphs.networks.parameters import ParameterLayout


def build_template(
    operations: Sequence[Operation],
    parameters: ParameterLayout,
    *,
    flattening: Flattening = "parallel_edges",
) -> GraphTemplate:
    """The graph template of a network.

    Args:
        operations: what the network computes, in an order in which it can be computed.
        parameters: the flat parameter vector that the operations' slots point into.
        flattening: how a linear map reads channels at several places: by parallel edges, one for
            each place, or from nodes that repeat each channel.
    """
    operations = _without_unused(operations)
    num_uses = Counter(source for operation in operations for source in operation.sources)
    draft = Draft(flattening)
    for number, operation in enumerate(operations):
        value = RULES[type(operation)](draft, operation)
        is_shared = value.is_shared or num_uses[number] > 1
        draft.values.append(replace(value, is_shared=is_shared))
    return numbered(draft, parameters)


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
    symmetries = find_symmetries(template.groups, template.blocks, are_ends_fixed=False)
    return replace(template, symmetries=symmetries)
