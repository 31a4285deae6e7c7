"""The graph builder: what each operation does to a neural graph.

Neurons come in groups: all output channels of one linear map, say. A group computes

    h = act(sum of incoming blocks + bias) + offset

so activations, constant offsets and additive skips are absorbed by the group that a linear map has
opened, as long as nobody else reads the value in between; where somebody does, they get a group of
their own, joined by edges of a constant value. Norms and gates are groups with another rule than
the sum. What has no parameters and acts on each channel alone (pooling, resizing) is a step on the
way to those who read it. Groups come out in topological order.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.channels import Piece, Value
from nn_graphs.graphs.groups import EdgeBlock, NodeGroup
from nn_graphs.graphs.neural_graph import NeuronKind
from nn_graphs.graphs.operations import (
    Activate,
    Add,
    Concatenate,
    Convolve,
    Flatten,
    Input,
    Linear,
    Multiply,
    Normalize,
    Operation,
    Output,
    Pass,
    Resize,
    Scale,
    ScaleChannels,
    Shift,
    Take,
)
from nn_graphs.graphs.rules import EdgeKind, Product, Rule, Sum
from nn_graphs.graphs.steps import AnyStep, Convolution, Reshape, Step
from nn_graphs.graphs.template import GraphTemplate
from nn_graphs.graphs.tying import find_symmetries
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot
from nn_graphs.networks.spec import ConvSpec, LayerSpec, NetworkSpec

Flattening = Literal["parallel_edges", "repeat_nodes"]


def template_from_spec(spec: NetworkSpec) -> GraphTemplate:
    """The graph template of an architecture, in milliseconds."""
    return build_template(spec_operations(spec), spec.parameters)


def spec_operations(spec: NetworkSpec) -> list[Operation]:
    """What the networks of an architecture compute."""
    num_axes = spec.num_axes
    operations: list[Operation] = [Input(spec.in_width, -1 - num_axes[0])]
    outputs = [0]  # number of the value that each layer puts out
    for index, layer in enumerate(spec.layers):
        weight = spec.parameters.slot(f"layers.{index}.weight")
        bias = spec.parameters.slot(f"layers.{index}.bias") if layer.has_bias else None
        if layer.conv is not None:
            operations.append(Convolve(outputs[-1], weight, bias, _movement(layer.conv)))
        else:
            if num_axes[index]:
                operations.append(_reading_places(outputs[-1], layer, num_axes[index], weight))
            source = len(operations) - 1 if num_axes[index] else outputs[-1]
            operations.append(Linear(source, weight, bias))
        for skip in layer.skips:
            operations.append(Add(len(operations) - 1, outputs[skip]))
        if layer.activation.name != "none":
            operations.append(Activate(len(operations) - 1, layer.activation))
        if layer.offset:
            operations.append(Shift(len(operations) - 1, layer.offset))
        outputs.append(len(operations) - 1)
    return [*operations, Output(outputs[-1])]


def _movement(conv: ConvSpec) -> Convolution:
    return Convolution(conv.stride, conv.padding, dilation=(1,) * conv.num_axes)


def _reading_places(
    source: int, layer: LayerSpec, num_axes: int, weight: ParameterSlot
) -> Pass | Flatten:
    """How a linear layer reads maps."""
    if layer.num_places is None:
        places = tuple(range(-num_axes, 0))
        return Pass(source, Step("aten.mean.dim", (places,)), axis=-1)
    shape = (-1, weight.shape[1])
    return Flatten(source, Reshape(shape, -1 - num_axes, 1, repeat=layer.num_places), axis=-1)


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
    return _Builder(operations, parameters, flattening).build()


def without_fixed_neurons(template: GraphTemplate) -> GraphTemplate:
    """The same architecture, with inputs and outputs that may be permuted like hidden neurons.

    That changes what a network computes; it is the larger group for which NFN (NP) layers are made.
    """
    symmetries = find_symmetries(template.groups, template.blocks, are_ends_fixed=False)
    return replace(template, symmetries=symmetries)


@dataclass
class _Group:
    width: int
    kind: NeuronKind
    axis: int
    rule: Rule = Sum()  # noqa: RUF009 (frozen)
    bias: ParameterSlot | None = None
    activation: Activation = Activation()  # noqa: RUF009 (frozen)
    offset: float = 0.0
    blocks: list["_Block"] = field(default_factory=list)


@dataclass
class _Block:
    source: int
    num_sources: int
    num_targets: int
    kind: EdgeKind = EdgeKind.CONSTANT
    weight: ParameterSlot | None = None
    constant: float = 1.0
    first_source: int = 0
    first_target: int = 0
    num_groups: int = 1
    num_positions: int = 1
    repeat: int = 1
    is_transposed: bool = False
    kernel: tuple[int, ...] = ()
    columns: tuple[int, int] | None = None
    steps: tuple[AnyStep, ...] = ()
    convolution: Convolution | None = None
    argument: int = 0


class _Builder:
    """Goes through the operations once; every `_add_<operation>` returns the value it makes."""

    def __init__(
        self,
        operations: Sequence[Operation],
        parameters: ParameterLayout,
        flattening: Flattening,
    ):
        self.operations = _drop_unused(operations)
        self.parameters = parameters
        self.flattening = flattening
        self.groups: list[_Group] = []
        self.values: list[Value] = []
        self.outputs: list[int] = []  # their groups, in the network's order
        self.num_uses = Counter(source for op in self.operations for source in op.sources)

    def build(self) -> GraphTemplate:
        rules = {
            Input: self._add_input,
            Linear: self._add_linear,
            Convolve: self._add_convolution,
            Normalize: self._add_norm,
            ScaleChannels: self._add_gains,
            Activate: self._add_activation,
            Add: self._add_sum,
            Multiply: self._add_product,
            Scale: self._add_scale,
            Shift: self._add_shift,
            Pass: self._add_step,
            Flatten: self._add_flattening,
            Take: self._add_slice,
            Concatenate: self._add_concatenation,
            Resize: self._add_resize,
            Output: self._add_output,
        }
        for number, operation in enumerate(self.operations):
            value = rules[type(operation)](operation)
            is_shared = value.is_shared or self.num_uses[number] > 1
            self.values.append(replace(value, is_shared=is_shared))
        return self._finish()

    # One rule per operation.

    def _add_input(self, operation: Input) -> Value:
        return self._new_group(operation.width, operation.axis, kind=NeuronKind.INPUT)

    def _add_linear(self, operation: Linear) -> Value:
        value = self.values[operation.source]
        value = value if value.is_simple else self._follow(value)
        shape = operation.weight.shape
        out_width, in_width = reversed(shape) if operation.is_transposed else shape
        if in_width != value.width:
            raise NNGraphsError(
                f"apply {operation.weight.name} {list(operation.weight.shape)}",
                found=f"its input has {value.width} channels.",
                do="A linear map must act on the channels of one earlier value.",
            )
        if operation.is_transposed and any(piece.repeat > 1 for piece in value.pieces):
            value = self._follow(value)
        blocks = [
            replace(
                _reading(piece),
                kind=EdgeKind.WEIGHT,
                num_targets=out_width,
                first_target=0,
                weight=operation.weight,
                num_positions=piece.repeat,
                repeat=1,
                is_transposed=operation.is_transposed,
                columns=_columns(piece, value),
            )
            for piece in value.pieces
        ]
        return self._new_group(out_width, -1, bias=operation.bias, blocks=blocks)

    def _add_convolution(self, operation: Convolve) -> Value:
        value, convolution = self.values[operation.source], operation.convolution
        is_whole = len(value.pieces) == 1 or convolution.num_groups == 1
        if not (value.is_simple and is_whole and value.pieces[0].repeat == 1):
            value = self._follow(value)
        shape, groups = operation.weight.shape, convolution.num_groups
        out_width = shape[1] * groups if convolution.is_transposed else shape[0]
        blocks = [
            replace(
                _reading(piece),
                kind=EdgeKind.WEIGHT,
                num_targets=out_width,
                first_target=0,
                weight=operation.weight,
                num_groups=groups,
                is_transposed=convolution.is_transposed,
                kernel=shape[2:],
                convolution=convolution,
                columns=_columns(piece, value),
            )
            for piece in value.pieces
        ]
        return self._new_group(out_width, operation.axis, bias=operation.bias, blocks=blocks)

    def _add_norm(self, operation: Normalize) -> Value:
        value = self.values[operation.source]
        if not value.is_simple or any(piece.repeat > 1 for piece in value.pieces):
            value = self._follow(value)
        parameters = {
            EdgeKind.GAIN: operation.gain,
            EdgeKind.MEAN: operation.mean,
            EdgeKind.VARIANCE: operation.variance,
        }
        if operation.gain is None:
            parameters = {EdgeKind.CONSTANT: None, **parameters}
        blocks = [
            replace(_reading(piece), kind=kind, weight=slot, columns=_columns(piece, value))
            for kind, slot in parameters.items()
            if slot is not None or kind is EdgeKind.CONSTANT
            for piece in value.pieces
        ]
        return self._new_group(
            value.width, value.axis, rule=operation.rule, bias=operation.bias, blocks=blocks
        )

    def _add_gains(self, operation: ScaleChannels) -> Value:
        value = self.values[operation.source]
        value = value if value.is_simple else self._follow(value)
        blocks = [
            replace(
                _reading(piece),
                kind=EdgeKind.GAIN,
                weight=operation.gain,
                columns=_columns(piece, value),
            )
            for piece in value.pieces
        ]
        return self._new_group(value.width, value.axis, blocks=blocks)

    def _add_activation(self, operation: Activate) -> Value:
        value, activation = self.values[operation.source], operation.activation
        if activation.name == "sine":  # sin(omega_0 z), written as the sine of a product
            factors = {piece.factor for piece in value.pieces}
            if len(factors) == 1:
                activation = Activation("sine", activation.parameter * factors.pop())
                value = value.with_pieces(factor=1.0)
        if not self._is_inactive(value):
            value = self._follow(value)
        self.groups[value.pieces[0].group].activation = activation
        return value

    def _add_sum(self, operation: Add) -> Value:
        for own, other in (operation.sources, operation.sources[::-1]):
            value, addend = self.values[own], self.values[other]
            keeps_width = own == operation.source or value.width == addend.width
            if self._is_open(value) and keeps_width:
                break
        else:
            value, addend = self.values[operation.source], self.values[operation.addend]
            value = self._follow(value)
        blocks = [_reading(piece) for piece in addend.first(value.width).pieces]
        self.groups[value.pieces[0].group].blocks += blocks
        return value

    def _add_product(self, operation: Multiply) -> Value:
        values = [self.values[source] for source in operation.sources]
        blocks = [
            replace(_reading(piece), argument=number)
            for number, value in enumerate(values)
            for piece in value.pieces
        ]
        return self._new_group(values[0].width, values[0].axis, rule=Product(), blocks=blocks)

    def _add_scale(self, operation: Scale) -> Value:
        return self.values[operation.source].scaled(operation.factor)

    def _add_shift(self, operation: Shift) -> Value:
        value = self.values[operation.source]
        if not self._is_own(value):
            value = self._follow(value)
        self.groups[value.pieces[0].group].offset += operation.constant
        return value

    def _add_step(self, operation: Pass) -> Value:
        value, step = self.values[operation.source], operation.step
        is_scaled = any(piece.factor != 1 for piece in value.pieces)
        is_repeated = any(piece.repeat > 1 for piece in value.pieces)
        if (is_scaled and not step.is_odd) or is_repeated:
            value = self._follow(value)
        return replace(value.with_step(step), axis=operation.axis)

    def _add_flattening(self, operation: Flatten) -> Value:
        value = self.values[operation.source]
        if any(piece.repeat > 1 for piece in value.pieces):
            value = self._follow(value)
        value = value.with_step(operation.step).repeated(operation.step.repeat)
        value = replace(value, axis=operation.axis)
        if self.flattening == "repeat_nodes" and operation.step.repeat > 1:
            value = self._follow(value)
        return value

    def _add_slice(self, operation: Take) -> Value:
        value = self.values[operation.source]
        if any(piece.repeat > 1 for piece in value.pieces):
            value = self._follow(value)
        return value.part(operation.first, operation.width)

    def _add_concatenation(self, operation: Concatenate) -> Value:
        return Value.concatenated([self.values[source] for source in operation.sources])

    def _add_resize(self, operation: Resize) -> Value:
        value = self.values[operation.source]
        return replace(value.first(operation.width), width=operation.width)

    def _add_output(self, operation: Output) -> Value:
        value = self.values[operation.source]
        if not self._is_own(value):
            value = self._follow(value)
        group = value.pieces[0].group
        self.groups[group].kind = NeuronKind.OUTPUT
        self.outputs.append(group)
        return value

    # Helpers of the rules.

    def _is_own(self, value: Value) -> bool:
        """Whether the value is all that a hidden group puts out, and nobody else reads it."""
        group = self.groups[value.pieces[0].group]
        is_whole = value == Value.of_group(value.pieces[0].group, group.width, group.axis)
        return is_whole and group.kind is NeuronKind.HIDDEN

    def _is_inactive(self, value: Value) -> bool:
        """Whether the value's group can take an activation."""
        group = self.groups[value.pieces[0].group]
        return self._is_own(value) and group.activation.name == "none" and group.offset == 0

    def _is_open(self, value: Value) -> bool:
        """Whether more can be added to the sum that the value's group computes."""
        return self._is_inactive(value) and self.groups[value.pieces[0].group].rule == Sum()

    def _new_group(
        self,
        width: int,
        axis: int,
        *,
        kind: NeuronKind = NeuronKind.HIDDEN,
        rule: Rule = Sum(),  # noqa: B008 (frozen)
        bias: ParameterSlot | None = None,
        blocks: list[_Block] | None = None,
    ) -> Value:
        self.groups.append(_Group(width, kind, axis, rule, bias, blocks=blocks or []))
        return Value.of_group(len(self.groups) - 1, width, axis)

    def _follow(self, value: Value) -> Value:
        """A new group that repeats a value, through edges of the value's factor."""
        blocks = [_reading(piece) for piece in value.pieces]
        return self._new_group(value.width, value.axis, blocks=blocks)

    # The template.

    def _finish(self) -> GraphTemplate:
        order = self._topological_order()
        place = {group: index for index, group in enumerate(order)}
        groups: list[NodeGroup] = []
        blocks: list[EdgeBlock] = []
        num_nodes = num_edges = num_values = 0
        counts = Counter()
        for group in (self.groups[number] for number in order):
            groups.append(
                NodeGroup(
                    start=num_nodes,
                    width=group.width,
                    kind=group.kind,
                    first_neuron=counts[group.kind],
                    activation=group.activation,
                    offset=group.offset,
                    bias=group.bias,
                    rule=group.rule,
                    axis=group.axis,
                )
            )
            num_nodes += group.width
            counts[group.kind] += group.width
            for block in group.blocks:
                fields = {**vars(block), "source": place[block.source]}
                blocks.append(
                    EdgeBlock(
                        start=num_edges,
                        first_value=num_values,
                        target=len(groups) - 1,
                        **fields,
                    )
                )
                num_edges, num_values = blocks[-1].stop, blocks[-1].last_value
        return GraphTemplate(
            groups=tuple(groups),
            blocks=tuple(blocks),
            parameters=self.parameters,
            symmetries=find_symmetries(groups, blocks),
        )

    def _topological_order(self) -> list[int]:
        """Inputs first, outputs last, every group behind those it reads, else as built."""
        outputs = set(self.outputs)
        others = [number for number in range(len(self.groups)) if number not in outputs]
        waiting = sorted(others, key=lambda number: self.groups[number].kind.value)
        order: dict[int, None] = {}
        waiting += self.outputs
        while waiting:
            ready = next(
                number
                for number in waiting
                if all(block.source in order for block in self.groups[number].blocks)
            )
            order[ready] = None
            waiting.remove(ready)
        return list(order)


def _reading(piece: Piece) -> _Block:
    """The edges of a constant value that give a piece of a value to those who read it."""
    return _Block(
        piece.group,
        num_sources=piece.length,
        num_targets=piece.width,
        constant=piece.factor,
        first_source=piece.start,
        first_target=piece.at,
        repeat=piece.repeat,
        steps=piece.steps,
    )


def _columns(piece: Piece, value: Value) -> tuple[int, int] | None:
    """Which columns of a weight belong to a piece of the value that it acts on; None: all."""
    return None if piece.width == value.width else (piece.at, piece.width)


def _drop_unused(operations: Sequence[Operation]) -> list[Operation]:
    """The inputs, and the operations that an output depends on, renumbered."""
    is_used = [isinstance(operation, Input | Output) for operation in operations]
    for number, operation in reversed(list(enumerate(operations))):
        for source in operation.sources if is_used[number] else ():
            is_used[source] = True
    places = list(accumulate(is_used, initial=0))
    kept = [operation for operation, used in zip(operations, is_used, strict=True) if used]
    return [operation.renumbered(places) for operation in kept]
