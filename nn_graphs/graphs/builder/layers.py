"""Rules of operations with parameters: linear maps, convolutions, norms, gains, biases."""

from dataclasses import replace

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.builder.channels import Value
from nn_graphs.graphs.builder.draft import Draft
from nn_graphs.graphs.builder.edges import all_to_all, one_by_one
from nn_graphs.graphs.builder.operations import (
    AddBias,
    Convolve,
    Linear,
    LookUp,
    Normalize,
    ScaleChannels,
)
from nn_graphs.graphs.parts.rules import EdgeKind, OneHot


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
    blocks = all_to_all(value, operation.weight, out_width, is_transposed=is_transposed)
    return draft.new_group(out_width, -1, bias=operation.bias, blocks=blocks)


def add_convolution(draft: Draft, operation: Convolve) -> Value:
    """A group with a kernel on every edge; channels in groups must come in one piece."""
    value, convolution = draft.values[operation.source], operation.convolution
    is_whole = len(value.pieces) == 1 or convolution.num_groups == 1
    if not value.is_simple or not is_whole or value.is_repeated:
        value = draft.follow(value)
    shape, groups = operation.weight.shape, convolution.num_groups
    out_width = shape[1] * groups if convolution.is_transposed else shape[0]
    dense = all_to_all(value, operation.weight, out_width, is_transposed=convolution.is_transposed)
    blocks = [
        replace(block, num_groups=groups, kernel=shape[2:], convolution=convolution)
        for block in dense
    ]
    return draft.new_group(out_width, operation.axis, bias=operation.bias, blocks=blocks)


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


LAYERS = {
    Linear: add_linear,
    Convolve: add_convolution,
    Normalize: add_norm,
    ScaleChannels: add_gains,
    AddBias: add_bias,
    LookUp: add_table,
}
