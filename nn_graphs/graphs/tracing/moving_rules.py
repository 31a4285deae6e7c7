"""Rules of operations that move elements: reshapes, permutations, parts, joins.

Where no single axis holds the channels of a value, and for parameters that are moved, what only
moves elements moves the tensor that says which channel each of them is.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from nn_graphs.graphs.builder.operations import Add, Concatenate, Flatten, Gather, Pass, Take
from nn_graphs.graphs.parts.steps import Reshape, Step, Unfollowed
from nn_graphs.graphs.tracing.arrangement import (
    Arranged,
    ArrangedParameter,
    reduced,
    varying_axes,
)
from nn_graphs.graphs.tracing.broadcasting import are_plain
from nn_graphs.graphs.tracing.pooling_rules import shape_of, step
from nn_graphs.graphs.tracing.tracer import Rule, Tracer, arguments

aten = torch.ops.aten
RESHAPES = (  # of what need not be contiguous here
    *(aten.view.default, aten._unsafe_view.default, aten.view_as.default),
)


def reshape(tracer: Tracer, node: Node) -> int | None:
    """Another arrangement of the axes; places may become channels."""
    source = node.args[0]
    number = tracer.number(source, node)
    before, after = list(source.meta["val"].shape), list(shape_of(node))
    if before == after:
        return number
    channels = tracer.axis(source) + len(before)
    front = math.prod(before[:channels])
    first = min(channels, 1)  # the axis of the points stays in front
    axes = [n for n in range(first, len(after)) if math.prod(after[:n]) == front]
    for axis in axes:
        repeat, rest = divmod(after[axis], max(before[channels], 1))
        if rest or not repeat:
            continue
        shape = [-1 if n == 0 and axis != 0 else size for n, size in enumerate(after)]
        form = Reshape(tuple(shape), tracer.axis(source), axis, repeat)
        kind = Pass if repeat == 1 else Flatten
        return tracer.emit(kind(number, form, axis - len(after)))
    return moved(tracer, node)  # channels on several axes


TRANSPOSES = (aten.transpose.int, aten.mT.default, aten.t.default)


def permute(tracer: Tracer, node: Node) -> int | None:
    source, order = node.args[0], node.args[1:]
    number, num_axes = tracer.number(source, node), source.meta["val"].ndim
    places = list(range(num_axes))
    if node.target is aten.numpy_T.default:
        places.reverse()
    elif node.target in TRANSPOSES:
        first, second = (axis % num_axes for axis in order or (-2, -1))
        places[first], places[second] = second, first
    else:
        places = [axis % num_axes for axis in order[0]]
    if places[0] != 0:
        return moved(tracer, node)
    axis = places.index(tracer.axis(source) + num_axes) - num_axes
    return tracer.emit(Pass(number, Step("aten.permute.default", (tuple(places),)), axis))


def part(tracer: Tracer, node: Node) -> int | None:
    """`x[..., start:end:step]` on one axis, or `narrow`."""
    given = arguments(node)
    if "length" in given:
        start = given["start"] % max(node.args[0].meta["val"].shape[given["dim"]], 1)
        given |= {"end": start + given["length"], "step": 1}
    source, axis = given["self"], given["dim"]
    number, shape = tracer.number(source, node), source.meta["val"].shape
    if shape_of(node) == shape:
        return number
    if not shape_of(node).numel():
        return moved(tracer, node)
    channels, axis = tracer.axis(source) + len(shape), axis % len(shape)
    if axis != channels:
        return tracer.emit(Pass(number, step(node), tracer.axis(source)))
    chosen = range(shape[axis])[slice(given["start"], given["end"], given["step"])]
    return tracer.written.gathered(number, tuple(chosen))


def select(tracer: Tracer, node: Node) -> int | None:
    """`x[:, i]`: one place, one point, or one channel."""
    source, axis, index = node.args
    number, num_axes = tracer.number(source, node), source.meta["val"].ndim
    channels = tracer.axis(source) + num_axes
    if axis % num_axes == channels:
        tracer.put_single(node, _one_channel(tracer, source, index))
        return None
    behind = axis % num_axes > channels
    return tracer.emit(Pass(number, step(node), tracer.axis(source) + behind))


def _one_channel(tracer: Tracer, source: Node, index: int) -> int:
    """One of the channels, on no axis."""
    number, axis = tracer.number(source, source), tracer.axis(source)
    number = tracer.emit(Take(number, index % tracer.width(number), 1))
    return tracer.emit(Pass(number, Step("aten.squeeze.dim", (axis,)), -1))


def parts(tracer: Tracer, node: Node) -> None:
    """Neighbouring parts of one axis, each a value of its own."""
    given = arguments(node)
    source, axis = given["self"], given["dim"]
    number, num_axes = tracer.number(source, node), source.meta["val"].ndim
    widths = [value.shape[axis] for value in node.meta["val"]]
    if 0 in widths:
        return moved(tracer, node)
    starts = [sum(widths[:count]) for count in range(len(widths))]
    pairs, own, axis = zip(starts, widths, strict=True), tracer.axis(source), axis % num_axes
    if axis == own + num_axes:
        tracer.parts[node] = [tracer.emit(Take(number, start, width)) for start, width in pairs]
        return None
    steps = [Step("aten.slice.Tensor", (axis, start, start + width)) for start, width in pairs]
    tracer.parts[node] = [tracer.emit(Pass(number, step, own)) for step in steps]
    return None


def single_parts(tracer: Tracer, node: Node) -> None:
    """`unbind`: each place, or each channel, a value of its own."""
    given = arguments(node)
    source, axis = given["self"], given["dim"]
    number, num_axes = tracer.number(source, node), source.meta["val"].ndim
    own, axis, count = tracer.axis(source), axis % num_axes, len(node.meta["val"])
    if axis != own + num_axes:
        behind = axis > own + num_axes
        steps = [Step("aten.select.int", (axis, index)) for index in range(count)]
        tracer.parts[node] = [tracer.emit(Pass(number, step, own + behind)) for step in steps]
        return None
    numbers = [_one_channel(tracer, source, index) for index in range(count)]
    tracer.parts[node] = [
        Arranged(number, torch.zeros((), dtype=torch.long).expand(value.shape), is_as_run=True)
        for number, value in zip(numbers, node.meta["val"], strict=True)
    ]
    return None


def reordered(tracer: Tracer, node: Node) -> int | None:
    """`flip`, `roll`, `index_select`, an index: channels in another order, or places."""
    source = node.args[0]
    number, touched = tracer.number(source, node), _touched_axes(tracer, node)
    channels = tracer.axis(source) + source.meta["val"].ndim
    if touched == {channels}:
        ids = _moved_ids(tracer, node, tracer.arrangement(source, node).channels)
        order = reduced(ids, [channels]).flatten()
        return tracer.written.gathered(number, tuple(order.tolist()))
    if channels not in touched and len(node.all_input_nodes) == 1:
        return tracer.emit(Pass(number, step(node), tracer.axis(source)))
    return moved(tracer, node)


def _touched_axes(tracer: Tracer, node: Node) -> set[int]:
    """The axes whose elements change their places; all where it is none of the simple cases."""
    num_axes, given = node.args[0].meta["val"].ndim, arguments(node)
    everything = set(range(num_axes))
    if node.target is aten.index.Tensor:
        axes = [axis for axis, index in enumerate(given["indices"]) if index is not None]
        return (
            {*axes} if shape_of(node)[: axes[0]] and len(shape_of(node)) == num_axes else everything
        )
    axes = given["dim"] if node.target is aten.index_select.default else given["dims"]
    axes = [axes] if isinstance(axes, int) else axes
    return {axis % num_axes for axis in axes} or everything


def expansion(tracer: Tracer, node: Node) -> int | None:
    """`expand`: one channel becomes many that are the same, one place many."""
    source, shape = node.args[0], tuple(shape_of(node))
    before = tuple(source.meta["val"].shape)
    number, axis = tracer.number(source, node), tracer.axis(source)
    if shape[axis] != before[axis]:
        number = tracer.emit(Gather(number, (0,) * shape[axis]))
    known = (None,) * (len(shape) - len(before)) + before
    sizes = [-1 if own == size else size for own, size in zip(known, shape, strict=True)]
    sizes[axis] = -1
    if {*sizes} == {-1}:
        return number
    return tracer.emit(Pass(number, Step("aten.expand.default", (tuple(sizes),)), axis))


def item(tracer: Tracer, node: Node) -> int | None:
    """One of several results."""
    source, index = node.args
    if source in tracer.parts:
        return tracer.parts[source][index]
    if index != 0 and not node.users:
        return None
    if index != 0:
        raise tracer.unknown(node, f"it takes result {index} of {source.target}.")
    return tracer.number(source, node)


def concatenation(tracer: Tracer, node: Node) -> int:
    """Channels behind channels, or places behind places."""
    values, *rest = node.args
    axis = rest[0] if rest else node.kwargs.get("dim", 0)
    axis = axis % values[0].meta["val"].ndim - values[0].meta["val"].ndim
    own = _common_axis(tracer, values, axis)
    numbers = [tracer.on_axis(value, own, node) for value in values]
    if axis == own:
        return tracer.emit(Concatenate(tuple(numbers)))
    return _joined_places(
        tracer, node, numbers, [v.meta["val"].shape[axis] for v in values], axis=axis, own=own
    )


def _common_axis(tracer: Tracer, values: Sequence[Node], axis: int) -> int:
    """The axis on which the channels of values lie: of one channel, the axis they are joined on."""
    wide = [v for v in values if tracer.is_value(v) and tracer.single(v) is None]
    if wide:
        return tracer.axis(wide[0])
    plain = [value for value in values if tracer.is_value(value)]
    return tracer.axis(plain[0]) if plain else axis


def _joined_places(
    tracer: Tracer, node: Node, numbers: list[int], widths: list[int], *, axis: int, own: int
) -> int:
    """Places behind places: the sum of the values, each with zeros in the others' places."""
    if axis == -len(shape_of(node)):
        raise tracer.unknown(node, "it joins points, not channels or places.")
    total = None
    for count, number in enumerate(numbers):
        margins = (sum(widths[:count]), sum(widths[count + 1 :]))
        padding = (*(0, 0) * (-1 - axis), *margins)
        padded = tracer.emit(
            Pass(number, Step("aten.constant_pad_nd.default", (padding, 0.0)), own)
        )
        total = padded if total is None else tracer.emit(Add(total, padded))
    return total


SHAPES: dict[Callable, Rule] = {
    aten.view.default: reshape,
    aten.reshape.default: reshape,
    aten.flatten.using_ints: reshape,
    aten.unflatten.int: reshape,
    aten.squeeze.default: reshape,
    aten.squeeze.dim: reshape,
    aten.squeeze.dims: reshape,
    aten.unsqueeze.default: reshape,
    aten._unsafe_view.default: reshape,
    aten.view_as.default: reshape,
    aten.permute.default: permute,
    aten.transpose.int: permute,
    aten.mT.default: permute,
    aten.t.default: permute,
    aten.numpy_T.default: permute,
    aten.slice.Tensor: part,
    aten.narrow.default: part,
    aten.select.int: select,
    aten.split.Tensor: parts,
    aten.split_with_sizes.default: parts,
    aten.chunk.default: parts,
    aten.unbind.int: single_parts,
    aten.flip.default: reordered,
    aten.roll.default: reordered,
    aten.index_select.default: reordered,
    aten.index.Tensor: reordered,
    aten.expand.default: expansion,
    aten.expand_as.default: expansion,
}
JOINS: dict[Callable, Rule] = {
    aten.cat.default: concatenation,
    aten.stack.default: concatenation,
}


def moved(tracer: Tracer, node: Node) -> int | None:
    """The same operation, on the tensor of channels."""
    source = node.args[0]
    if tracer.single(source) is not None and isinstance(node.meta["val"], torch.Tensor):
        tracer.put_single(node, tracer.emit(Pass(tracer.single(source), _own_step(node), -1)))
        return None
    found = tracer.arranged(source) or tracer.parameter(source)
    found = tracer.arrangement(source, node) if found is None else found
    result = _moved_ids(tracer, node, found.ids)
    if isinstance(result, torch.Tensor):
        return tracer.put(node, found.with_channels(result))
    tracer.parts[node] = [found.with_channels(part) for part in result]
    return None


def _moved_ids(tracer: Tracer, node: Node, ids: Tensor) -> Tensor | Sequence[Tensor]:
    """What an operation that only moves elements makes of the numbers of channels."""
    if node.target in (*RESHAPES, aten.reshape.default, aten.expand_as.default):
        name = aten.expand if node.target is aten.expand_as.default else aten.reshape
        return name.default(ids, tuple(shape_of(node)))

    def constant(argument: Node):
        known = tracer.known(argument)
        if known is None:
            raise tracer.unknown(node, f"{node.target} takes {argument}, which is no constant.")
        return known

    rest, keywords = map_arg((node.args[1:], node.kwargs), constant)
    return node.target(ids, *rest, **keywords)


def _own_step(node: Node) -> Step:
    """A move as a step that does not know the number of points."""
    if node.target in (*RESHAPES, aten.reshape.default):
        return Step("aten.reshape.default", ((-1, *shape_of(node)[1:]),))
    return step(node)


def moving(rule: Rule) -> Rule:
    """A rule of an operation that only moves elements, for arranged values and parameters too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        source = node.args[0]
        is_plain = tracer.is_value(source)
        return rule(tracer, node) if is_plain else moved(tracer, node)

    return either


def joined(rule: Rule) -> Rule:
    """A rule of `cat` and `stack`, for arranged values and parameters too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        is_stack = node.target is aten.stack.default
        values = [v for v in node.args[0] if is_stack or v.meta["val"].numel()]
        node.args = (values, *node.args[1:])
        if len(values) == 1 and not is_stack:
            return _same(tracer, node, values[0])
        if is_stack and None not in map(tracer.single, values):
            return _side_by_side(tracer, node, values)
        if not is_stack and are_plain(tracer, *values):
            return rule(tracer, node)
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        arranged = [tracer.arrangement(value, node) for value in values]
        if not is_stack and (found := _along_places(tracer, node, arranged, axis)) is not None:
            return tracer.put(node, found)
        number = tracer.emit(Concatenate(tuple(own.number for own in arranged)))
        widths = [tracer.width(own.number) for own in arranged]
        starts = [sum(widths[:count]) for count in range(len(widths))]
        channels = [own.channels + start for own, start in zip(arranged, starts, strict=True)]
        return tracer.put(node, Arranged(number, node.target(channels, axis)))

    return either


def _along_places(
    tracer: Tracer, node: Node, arranged: Sequence[Arranged], axis: int
) -> Arranged | None:
    """Values with alike arranged channels, place behind place; None where they are not alike."""
    ordered = [tracer.in_order(own, node) for own in arranged]
    first, shape = ordered[0].channels.narrow(axis, 0, 1), tuple(shape_of(node))
    for own in ordered:
        is_along_places = axis % len(shape) not in varying_axes(own.channels)
        if not is_along_places or not torch.equal(own.channels.narrow(axis, 0, 1), first):
            return None
    step = Unfollowed(str(node.target))
    number, *others = (tracer.emit(Pass(own.number, step, tracer.axis_of(own))) for own in ordered)
    for other in others:
        number = tracer.emit(Add(number, other))
    return Arranged(number, first.expand(shape))


def _same(tracer: Tracer, node: Node, value: Node) -> int | None:
    """The only value that is joined."""
    if tracer.is_value(value):
        return tracer.number(value, node)
    return tracer.put(node, tracer.arrangement(value, node))


def _side_by_side(tracer: Tracer, node: Node, values: Sequence[Node]) -> int:
    """Values of one channel each, as the channels of one value, on a new axis."""
    num_axes = len(shape_of(node))
    axis = (node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)) % num_axes
    own = Step("aten.unsqueeze.default", (axis,))
    numbers = [tracer.emit(Pass(tracer.single(v), own, axis - num_axes)) for v in values]
    return tracer.emit(Concatenate(tuple(numbers)))


def item_of_parts(rule: Rule) -> Rule:
    """A rule of `getitem`, for arranged parts too."""

    def either(tracer: Tracer, node: Node) -> int | None:
        source, index = node.args
        part = tracer.parts[source][index] if source in tracer.parts else None
        if isinstance(part, Arranged | ArrangedParameter):
            return tracer.put(node, part)
        return rule(tracer, node)

    return either


MOVES: dict[Callable, Rule] = {
    aten.repeat.default: moved,
    aten.repeat_interleave.self_int: moved,
    aten.movedim.int: moved,
}
