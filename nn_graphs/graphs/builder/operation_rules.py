"""What each operation does to a draft: `(draft, operation) -> the value that it makes`.

In order: operations with parameters; those on each channel alone; those that move channels and
places; attention and recurrence, where channels meet pair by pair; inputs and outputs.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.builder.channels import Value, all_to_all, joining, one_by_one, reading
from nn_graphs.graphs.builder.draft import Draft
from nn_graphs.graphs.builder.operations import (
    Activate,
    Add,
    AddBias,
    Choose,
    Combine,
    Concatenate,
    Convolve,
    Flatten,
    Gather,
    Hide,
    Input,
    Linear,
    LookUp,
    Modulate,
    Multiply,
    Normalize,
    Output,
    Pass,
    Recur,
    Remember,
    Resize,
    Scale,
    ScaleChannels,
    Share,
    Shift,
    SumHeads,
    Take,
    Total,
)
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock, EdgeKind
from nn_graphs.graphs.parts.group_rules import (
    Choice,
    HeadTotal,
    Match,
    Memory,
    Modulation,
    OneHot,
    Pairing,
    Product,
    Rule,
    Shared,
    Sum,
)
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.networks.activations import Activation


def add_linear(draft: Draft, operation: Linear) -> Value:
    """A group with edges from every channel, parallel ones where channels are repeated."""
    value, is_transposed = draft.simple(draft.values[operation.source]), operation.is_transposed
    shape = operation.weight.shape
    out_width, in_width = reversed(shape) if is_transposed else shape
    if in_width != value.width:
        raise NNGraphsError(
            f"apply {operation.weight.name} {list(operation.weight.shape)}",
            found=f"its input has {value.width} channels.",
            do="A linear map must act on the channels of one earlier value.",
        )
    if is_transposed:
        value = draft.unrepeated(value)
    if operation.rule != Sum():
        value = draft.as_one_piece(value)
    blocks = all_to_all(value, operation.weight, out_width, is_transposed=is_transposed)
    return draft.new_group(out_width, -1, rule=operation.rule, bias=operation.bias, blocks=blocks)


def add_convolution(draft: Draft, operation: Convolve) -> Value:
    """A group with a kernel on every edge; channels in groups must come in one piece."""
    value, convolution = draft.values[operation.source], operation.convolution
    is_whole = len(value.pieces) == 1 or (convolution.num_groups, operation.rule) == (1, Sum())
    if not value.is_simple or not is_whole or value.is_repeated:
        value = draft.follow(value)
    shape, groups = operation.weight.shape, convolution.num_groups
    out_width = shape[1] * groups if convolution.is_transposed else shape[0]
    dense = all_to_all(value, operation.weight, out_width, is_transposed=convolution.is_transposed)
    blocks = [
        replace(block, num_groups=groups, kernel=shape[2:], convolution=convolution)
        for block in dense
    ]
    rule, bias = operation.rule, operation.bias
    return draft.new_group(out_width, operation.axis, rule=rule, bias=bias, blocks=blocks)


def add_norm(draft: Draft, operation: Normalize) -> Value:
    """A group with one edge from each channel for every parameter of the norm."""
    value = draft.unrepeated(draft.simple(draft.values[operation.source]))
    parameters = {
        EdgeKind.GAIN: operation.gain,
        EdgeKind.MEAN: operation.mean,
        EdgeKind.VARIANCE: operation.variance,
    }
    if operation.gain is None:
        parameters = {EdgeKind.CONSTANT: None, **parameters}
    blocks = [
        block
        for kind, slot in parameters.items()
        if slot is not None or kind is EdgeKind.CONSTANT
        for block in one_by_one(value, kind, slot)
    ]
    return draft.new_group(
        value.width, value.axis, rule=operation.rule, bias=operation.bias, blocks=blocks
    )


def add_gains(draft: Draft, operation: ScaleChannels) -> Value:
    """A group with one edge from each channel."""
    value = draft.simple(draft.values[operation.source])
    blocks = one_by_one(value, EdgeKind.GAIN, operation.gain)
    return draft.new_group(value.width, value.axis, blocks=blocks)


def add_bias(draft: Draft, operation: AddBias) -> Value:
    """The bias of the group, where it has none and is open."""
    value = draft.values[operation.source]
    if not draft.is_open(value) or draft.group_of(value).bias is not None:
        value = draft.follow(value)
    draft.group_of(value).bias = operation.bias
    return value


def add_table(draft: Draft, operation: LookUp) -> Value:
    """A group of one-hot neurons, from which a linear map reads the rows."""
    rule = OneHot(operation.rows, operation.shape, operation.num_rows)
    return draft.new_group(operation.num_rows, -1, rule=rule)


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
    return _element_by_element(draft, operation, Product())


def add_alternatives(draft: Draft, operation: Choose) -> Value:
    """A group that takes one of two values, joined to the condition and to both."""
    return _element_by_element(draft, operation, Choice())


def _element_by_element(draft: Draft, operation: Multiply | Choose, rule: Rule) -> Value:
    """A group that is joined to several values, each of which is an argument of its rule."""
    values = [draft.values[source] for source in operation.sources]
    blocks = [
        replace(reading(piece), argument=number)
        for number, value in enumerate(values)
        for piece in value.pieces
    ]
    return draft.new_group(values[0].width, values[0].axis, rule=rule, blocks=blocks)


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


def add_step(draft: Draft, operation: Pass) -> Value:
    """A step on the way to those who read the value."""
    value, step = draft.values[operation.source], operation.step
    is_scaled = any(piece.factor != 1 for piece in value.pieces)
    is_lost = not value.is_simple if not step.is_homogeneous else is_scaled and not step.is_odd
    if is_lost or value.is_repeated:
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


def add_total(draft: Draft, operation: Total) -> Value:
    """One neuron that all channels are joined to."""
    value = draft.values[operation.source]
    return draft.new_group(1, value.axis, blocks=_all_to_one(draft, value))


def _all_to_one(draft: Draft, value: Value) -> list[EdgeBlock]:
    """Edges from every channel to one neuron."""
    return [
        joining(piece, (tuple(range(piece.length)), (0,) * piece.length), 1)
        for piece in draft.unrepeated(value).pieces
    ]


def add_head_totals(draft: Draft, operation: SumHeads) -> Value:
    """One neuron for each head, that its channels are joined to."""
    value = draft.as_one_piece(draft.values[operation.source])
    size = value.width // operation.num_heads
    joins = tuple(range(value.width)), tuple(n // size for n in range(value.width))
    block = joining(value.pieces[0], joins, operation.num_heads)
    return draft.new_group(operation.num_heads, value.axis, rule=HeadTotal(), blocks=[block])


def add_modulation(draft: Draft, operation: Modulate) -> Value:
    """A group that tells channels apart by their constants."""
    value = draft.values[operation.source]
    blocks = [reading(piece) for piece in value.pieces]
    rule = Modulation(operation.pattern)
    return draft.new_group(value.width, value.axis, rule=rule, blocks=blocks)


def add_combination(draft: Draft, operation: Combine) -> Value:
    """A group of one neuron for each row of channels that meet."""
    width = len(operation.channels)
    blocks = _row_by_row(draft, operation.sources, (operation.channels, operation.others))
    rule = Match() if operation.is_match else Pairing()
    return draft.new_group(width, -1, rule=rule, blocks=blocks)


def _row_by_row(
    draft: Draft, sources: Sequence[int], arguments: Sequence[Sequence[tuple[int, ...]]]
) -> list[EdgeBlock]:
    """Edges from each row of channels to a neuron, each value an argument of the neuron's rule."""
    blocks = []
    for argument, (source, rows) in enumerate(zip(sources, arguments, strict=True)):
        value = draft.as_one_piece(draft.values[source])
        targets = tuple(number for number, row in enumerate(rows) for _ in row)
        joins = tuple(channel for row in rows for channel in row), targets
        blocks.append(replace(joining(value.pieces[0], joins, len(rows)), argument=argument))
    return blocks


def add_shared(draft: Draft, operation: Share) -> Value:
    """A group joined to a value one by one, and to channels that several of its neurons share."""
    width = len(operation.channels)
    rows = [(channel,) for channel in range(width)], [(channel,) for channel in operation.channels]
    blocks = _row_by_row(draft, operation.sources, rows)
    return draft.new_group(width, -1, rule=Shared(operation.is_product), blocks=blocks)


def add_hidden(draft: Draft, operation: Hide) -> Value:
    """One neuron that all channels of all values are joined to, and those that read it."""
    values = [draft.values[source] for source in operation.sources]
    blocks = [block for value in values for block in _all_to_one(draft, value)]
    middle = draft.new_group(1, -1, rule=operation.rule, blocks=blocks)
    width, axis = operation.width, -1 if operation.axis is None else operation.axis
    block = joining(middle.pieces[0], ((0,) * width, tuple(range(width))), width)
    return draft.new_group(width, axis, rule=operation.rule, blocks=[block])


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


RULES: dict[type, Callable[..., Value]] = {
    Input: add_input,
    Linear: add_linear,
    Convolve: add_convolution,
    Normalize: add_norm,
    ScaleChannels: add_gains,
    AddBias: add_bias,
    LookUp: add_table,
    Activate: add_activation,
    Add: add_sum,
    Multiply: add_product,
    Scale: add_scale,
    Shift: add_shift,
    Pass: add_step,
    Flatten: add_flattening,
    Take: add_slice,
    Concatenate: add_concatenation,
    Resize: add_resize,
    Gather: add_choice,
    Total: add_total,
    SumHeads: add_head_totals,
    Choose: add_alternatives,
    Modulate: add_modulation,
    Combine: add_combination,
    Share: add_shared,
    Hide: add_hidden,
    Remember: add_memory,
    Recur: add_recurrence,
    Output: add_output,
}
