"""Rules for values whose channels no single axis holds, and for parameters that are moved.

What only moves elements moves the tensor that says which channel each of them is; what acts on
every element alone leaves it as it is.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack

import torch
from torch.fx import Node

from nn_graphs.graphs.builder.operations import Concatenate
from nn_graphs.graphs.tracing.arrangement import Arranged, ArrangedParameter, along_axis
from nn_graphs.graphs.tracing.tracer import Rule, Tracer

aten = torch.ops.aten

RESHAPES = (aten.view.default, aten._unsafe_view.default)  # of what need not be contiguous here


def moved(tracer: Tracer, node: Node) -> int | None:
    """The same operation, on the tensor of channels."""
    source = node.args[0]
    found = tracer.arranged(source) or tracer.parameter(source)
    found = tracer.arrangement(source, node) if found is None else found
    operation = aten.reshape.default if node.target in RESHAPES else node.target
    result = operation(found.ids, *node.args[1:], **node.kwargs)
    if isinstance(result, torch.Tensor):
        return tracer.put(node, found.with_channels(result))
    tracer.parts[node] = [found.with_channels(part) for part in result]
    return None


def moving(rule: Rule) -> Rule:
    """A rule of an operation that only moves elements, for arranged values and parameters too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        source = node.args[0]
        is_plain = tracer.is_value(source)
        return rule(tracer, node) if is_plain else moved(tracer, node)

    return either


def keeping(rule: Rule) -> Rule:
    """A rule of an operation on every element alone, for arranged values too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        found = tracer.arranged(node.args[0])
        if found is None:
            return rule(tracer, node)
        if isinstance(found, ArrangedParameter):
            found = tracer.arrangement(node.args[0], node)
        with tracer.taken_as(node.args[0], found.number):
            number = rule(tracer, node)
        return None if number is None else tracer.put(node, Arranged(number, found.channels))

    return either


def joined(rule: Rule) -> Rule:
    """A rule of `cat` and `stack`, for arranged values and parameters too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        values = node.args[0]
        plain = next((value for value in values if tracer.is_value(value)), None)
        if plain is not None and any(map(tracer.parameter, values)):
            with ExitStack() as stack:
                for value in values:
                    _take_as_rows(stack, tracer, node, value, tracer.axis(plain))
                return rule(tracer, node)
        is_stack = node.target is aten.stack.default
        if not is_stack and not any(tracer.arranged(value) for value in values):
            return rule(tracer, node)
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        arranged = [tracer.arrangement(value, node) for value in values]
        number = tracer.emit(Concatenate(tuple(own.number for own in arranged)))
        starts = [sum(map(tracer.width, (own.number for own in arranged[:n]))) for n in range(99)]
        channels = [own.channels + start for own, start in zip(arranged, starts, strict=False)]
        return tracer.put(node, Arranged(number, node.target(channels, axis)))

    return either


def _take_as_rows(stack: ExitStack, tracer: Tracer, node: Node, value: Node, axis: int) -> None:
    """A parameter that joins values, as a class token does, becomes a value itself."""
    parameter = tracer.parameter(value)
    if parameter is not None:
        shape = tuple(parameter.elements.shape)
        channels = along_axis(shape[axis], axis, shape)
        number = tracer.table(parameter.elements, channels, parameter, node)
        stack.enter_context(tracer.taken_as(value, number))


def item_of_parts(rule: Rule) -> Rule:
    """A rule of `getitem`, for arranged parts too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        source, index = node.args
        part = tracer.parts[source][index] if source in tracer.parts else None
        if isinstance(part, Arranged | ArrangedParameter):
            return tracer.put(node, part)
        return rule(tracer, node)

    return either


def wrapped(rules: Mapping[Callable, Rule], wrapper: Callable[[Rule], Rule]) -> dict:
    return {target: wrapper(rule) for target, rule in rules.items()}


MOVES: dict[Callable, Rule] = {
    aten.expand.default: moved,
    aten.repeat.default: moved,
    aten.repeat_interleave.self_int: moved,
    aten.movedim.int: moved,
    aten.flip.default: moved,
    aten.index_select.default: moved,
}
