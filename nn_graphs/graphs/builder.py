"""The graph builder: what each operation does to a neural graph, and to its symmetries.

Neurons come in groups: all output channels of one linear map, say. A group computes

    h = act(sum of incoming blocks + bias) + offset

so activations, constant offsets and additive skips are absorbed by the group that a linear map has
opened, as long as nobody else reads the value in between; where somebody does, they get a group of
their own, joined by edges of a constant value. Groups come out in topological order.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.operations import (
    Activate,
    Add,
    Input,
    Linear,
    Operation,
    Output,
    Resize,
    Scale,
    Shift,
)
from nn_graphs.graphs.symmetry import AxisTies, Symmetries
from nn_graphs.graphs.template import EdgeBlock, GraphTemplate, NeuronKind, NodeGroup
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot
from nn_graphs.networks.spec import NetworkSpec


def template_from_spec(spec: NetworkSpec) -> GraphTemplate:
    """The graph template of an architecture, in milliseconds."""
    return build_template(spec_operations(spec), spec.parameters)


def spec_operations(spec: NetworkSpec) -> list[Operation]:
    """What the networks of an architecture compute."""
    operations: list[Operation] = [Input(spec.in_width)]
    outputs = [0]  # number of the value that each layer puts out
    for index, layer in enumerate(spec.layers):
        weight = spec.parameters.slot(f"layers.{index}.weight")
        bias = spec.parameters.slot(f"layers.{index}.bias") if layer.has_bias else None
        operations.append(Linear(outputs[-1], weight, bias))
        for skip in layer.skips:
            operations.append(Add(len(operations) - 1, outputs[skip]))
        if layer.activation.name != "none":
            operations.append(Activate(len(operations) - 1, layer.activation))
        if layer.offset:
            operations.append(Shift(len(operations) - 1, layer.offset))
        outputs.append(len(operations) - 1)
    return [*operations, Output(outputs[-1])]


def build_template(operations: Sequence[Operation], parameters: ParameterLayout) -> GraphTemplate:
    """The graph template of a network.

    Args:
        operations: what the network computes, in an order in which it can be computed.
        parameters: the flat parameter vector that the operations' slots point into.
    """
    return _Builder(operations, parameters).build()


@dataclass
class _Group:
    width: int
    kind: NeuronKind
    bias: ParameterSlot | None = None
    activation: Activation = Activation()  # noqa: RUF009 (frozen)
    offset: float = 0.0
    blocks: list["_Block"] = field(default_factory=list)


@dataclass
class _Block:
    source: int
    num_sources: int  # of a diagonal block: how many neurons it joins
    weight: ParameterSlot | None
    constant: float = 1.0


@dataclass(frozen=True)
class _Value:
    """`factor` times the first `length` outputs of a group, with zeros behind up to `width`.

    `is_shared`: the group is read by others too, so that this value must not change it.
    """

    group: int
    length: int
    width: int
    factor: float = 1.0
    is_shared: bool = False


class _Builder:
    """Goes through the operations once; every `_add_<operation>` returns the value it makes."""

    def __init__(self, operations: Sequence[Operation], parameters: ParameterLayout):
        self.operations = _drop_unused(operations)
        self.parameters = parameters
        self.groups: list[_Group] = []
        self.values: list[_Value] = []
        self.outputs: list[int] = []  # their groups, in the network's order
        self.num_uses = Counter(source for op in self.operations for source in op.sources)

    def build(self) -> GraphTemplate:
        rules = {
            Input: self._add_input,
            Linear: self._add_linear,
            Activate: self._add_activation,
            Add: self._add_sum,
            Scale: self._add_scale,
            Shift: self._add_shift,
            Resize: self._add_resize,
            Output: self._add_output,
        }
        for number, operation in enumerate(self.operations):
            value = rules[type(operation)](operation)
            is_shared = value.is_shared or self.num_uses[number] > 1
            self.values.append(replace(value, is_shared=is_shared))
        return self._finish()

    # One rule per operation.

    def _add_input(self, operation: Input) -> _Value:
        return self._new_group(operation.width, kind=NeuronKind.INPUT)

    def _add_linear(self, operation: Linear) -> _Value:
        value = self.values[operation.source]
        if value.factor != 1 or value.length != value.width:
            value = self._follow(value)
        out_width, in_width = operation.weight.shape
        if in_width != value.width:
            raise NNGraphsError(
                f"apply {operation.weight.name} {list(operation.weight.shape)}",
                found=f"its input has {value.width} channels.",
                do="A linear map must act on the channels of one earlier value.",
            )
        block = _Block(value.group, in_width, operation.weight)
        return self._new_group(out_width, bias=operation.bias, blocks=[block])

    def _add_activation(self, operation: Activate) -> _Value:
        value, activation = self.values[operation.source], operation.activation
        if activation.name == "sine":  # sin(omega_0 z), written as the sine of a product
            activation = Activation("sine", activation.parameter * value.factor)
            value = replace(value, factor=1.0)
        if not self._is_open(value):
            value = self._follow(value)
        self.groups[value.group].activation = activation
        return value

    def _add_sum(self, operation: Add) -> _Value:
        for own, other in (operation.sources, operation.sources[::-1]):
            value, addend = self.values[own], self.values[other]
            keeps_width = own == operation.source or value.width == addend.width
            if self._is_open(value) and keeps_width:
                break
        else:
            value, addend = self.values[operation.source], self.values[operation.addend]
            value = self._follow(value)
        block = _Block(addend.group, min(value.width, addend.length), None, addend.factor)
        self.groups[value.group].blocks.append(block)
        return value

    def _add_scale(self, operation: Scale) -> _Value:
        value = self.values[operation.source]
        return replace(value, factor=value.factor * operation.factor)

    def _add_shift(self, operation: Shift) -> _Value:
        value = self.values[operation.source]
        if not self._is_own(value):
            value = self._follow(value)
        self.groups[value.group].offset += operation.constant
        return value

    def _add_resize(self, operation: Resize) -> _Value:
        value = self.values[operation.source]
        return replace(value, length=min(value.length, operation.width), width=operation.width)

    def _add_output(self, operation: Output) -> _Value:
        value = self.values[operation.source]
        if not self._is_own(value):
            value = self._follow(value)
        self.groups[value.group].kind = NeuronKind.OUTPUT
        self.outputs.append(value.group)
        return value

    # Helpers of the rules.

    def _is_own(self, value: _Value) -> bool:
        """Whether the value is all that a hidden group puts out, and nobody else reads it."""
        group = self.groups[value.group]
        is_whole = value.factor == 1 and value.length == value.width == group.width
        return is_whole and not value.is_shared and group.kind is NeuronKind.HIDDEN

    def _is_open(self, value: _Value) -> bool:
        """Whether more can be added to the sum that the value's group computes."""
        group = self.groups[value.group]
        return self._is_own(value) and group.activation.name == "none" and group.offset == 0

    def _new_group(
        self,
        width: int,
        *,
        kind: NeuronKind = NeuronKind.HIDDEN,
        bias: ParameterSlot | None = None,
        blocks: list[_Block] | None = None,
    ) -> _Value:
        self.groups.append(_Group(width, kind, bias, blocks=blocks or []))
        return _Value(len(self.groups) - 1, width, width)

    def _follow(self, value: _Value) -> _Value:
        """A new group that repeats a value, through edges of the value's factor."""
        block = _Block(value.group, value.length, None, value.factor)
        return self._new_group(value.width, blocks=[block])

    # The template.

    def _finish(self) -> GraphTemplate:
        order = self._topological_order()
        place = {group: index for index, group in enumerate(order)}
        groups, blocks = [], []
        num_nodes = num_edges = 0
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
                )
            )
            num_nodes += group.width
            counts[group.kind] += group.width
            for block in group.blocks:
                blocks.append(
                    EdgeBlock(
                        start=num_edges,
                        source=place[block.source],
                        target=len(groups) - 1,
                        num_sources=block.num_sources,
                        num_targets=group.width if block.weight else block.num_sources,
                        weight=block.weight,
                        constant=block.constant,
                    )
                )
                num_edges += blocks[-1].num_edges
        return GraphTemplate(
            groups=tuple(groups),
            blocks=tuple(blocks),
            parameters=self.parameters,
            symmetries=_symmetries(groups, blocks),
        )

    def _topological_order(self) -> list[int]:
        """Inputs first, outputs last, every group behind those it reads, else as built."""
        order: dict[int, None] = {}
        others = [number for number in range(len(self.groups)) if number not in self.outputs]
        waiting = sorted(others, key=lambda number: self.groups[number].kind.value)
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


def _drop_unused(operations: Sequence[Operation]) -> list[Operation]:
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
    symmetries = _symmetries(template.groups, template.blocks, are_ends_fixed=False)
    return replace(template, symmetries=symmetries)


def _symmetries(
    groups: Sequence[NodeGroup], blocks: Sequence[EdgeBlock], *, are_ends_fixed: bool = True
) -> Symmetries:
    """Which neurons can be permuted, and which must move together."""
    ties = AxisTies([group.width for group in groups])
    for number, group in enumerate(groups):
        if are_ends_fixed and group.kind is not NeuronKind.HIDDEN:
            ties.fix(number)
    first_use: dict[ParameterSlot, EdgeBlock] = {}
    for block in blocks:
        ties.cut(block.source, block.num_sources)  # a slice may read the first neurons only
        if block.weight is None:
            ties.tie(block.source, block.target, length=block.num_sources)
        elif block.weight in first_use:
            twin = first_use[block.weight]
            ties.tie(block.source, twin.source, length=block.num_sources)
            ties.tie(block.target, twin.target, length=block.num_targets)
        first_use.setdefault(block.weight, block)
    first_bias: dict[ParameterSlot, int] = {}
    for number, group in enumerate(groups):
        if group.bias is not None:
            twin = first_bias.setdefault(group.bias, number)
            ties.tie(number, twin, length=group.width)
    return Symmetries(ties.axes())
