"""Writes the operations of an exported program in the builder's language, rule by rule."""

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import map_arg

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.builder.operations import (
    Activate,
    Add,
    Combine,
    Concatenate,
    Convolve,
    Flatten,
    Gather,
    Input,
    Linear,
    LookUp,
    Operation,
    Output,
    Pass,
    Remember,
    Resize,
    Scale,
    Shift,
    Take,
)
from nn_graphs.graphs.parts.steps import Reshape, Step, Unfollowed
from nn_graphs.graphs.tracing.arrangement import (
    Arranged,
    ArrangedParameter,
    along_axis,
    distinct,
    neighbours_on_axis,
)
from nn_graphs.graphs.tracing.inputs import input_axis, vocabulary
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot

aten = torch.ops.aten
COPIES = (aten.alias.default, aten.clone.default, aten.detach.default)
POINTWISE = (Input, Linear, Activate, Add, Scale, Shift, Take, Resize, Output)

Rule = Callable[["Tracer", Node], int | None]


class Tracer:
    """Goes through an exported program; rules tell what each of its operations is.

    Args:
        program: what torch.export found.
        parameters: the layout of the module's parameters.
        rules: for ATen operations, `(tracer, node) -> number of the value that it makes`; None
            where it makes none.
    """

    def __init__(
        self, program: ExportedProgram, parameters: ParameterLayout, rules: Mapping[Callable, Rule]
    ):
        self.program, self.parameters, self.rules = program, parameters, rules
        signature = program.graph_signature
        self.tensor_names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.slots = {
            name: slot for slot in parameters.slots for name in (slot.name, *slot.aliases)
        }
        self.constants = {**program.state_dict, **program.constants}
        self.constant_names = {
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self._operations: list[Operation] = []
        self._axes: list[int] = []  # of the channels of every value, from behind
        self._widths: list[int] = []  # how many channels every value has
        self._numbers: dict[Node, int] = {}
        self._arranged: dict[Node, Arranged | ArrangedParameter] = {}
        self._known: dict[Node, object] = {}  # constants
        self._data: set[Node] = set()  # what depends on integer inputs alone
        self.tokens: dict[Node, int] = {}  # integer inputs that embeddings read
        self.parts: dict[Node, list] = {}  # the values of operations that give several

    def operations(self) -> list[Operation]:
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._add_placeholder(node)
            elif node.op == "get_attr":
                self._known[node] = getattr(self.program.graph_module, node.target)
            elif node.op == "output":
                for output in node.args[0]:
                    self._add_output(output, node)
            elif self._depends_on(node, self._known):
                self._known[node] = self._evaluated(node)
            elif self._depends_on(node, self._known.keys() | self._data):
                self._data.add(node)
            elif node.target in self.rules:
                number = self.rules[node.target](self, node)
                if number is not None:
                    self._numbers[node] = number
            else:
                raise self.unknown(node, f"the operation {node.target} is unknown.")
        self._check_parts()
        return _without_idle_reshapes(self._operations)

    def _check_parts(self) -> None:
        """A parameter is read as a whole, or in parts that do not overlap."""
        slots = {
            value
            for operation in self._operations
            for value in vars(operation).values()
            if isinstance(value, ParameterSlot) and value.size
        }
        ordered = sorted(slots, key=lambda slot: (slot.offset, slot.size))
        for slot, following in pairwise(ordered):
            if following.offset < slot.stop:
                raise NNGraphsError(
                    f"make a neural graph that shows {slot.name} and {following.name}",
                    found="they overlap, as parts of one parameter.",
                    do="A parameter must be read as a whole, or in parts that do not overlap.",
                )

    def _add_placeholder(self, node: Node) -> None:
        if node.name in self.program.graph_signature.user_inputs:
            if not isinstance(node.meta["val"], torch.Tensor):
                return
            if node.meta["val"].is_floating_point():
                axis = input_axis(node)
                self._numbers[node] = self.emit(Input(node.meta["val"].shape[axis], axis))
                return
            self._data.add(node)
            if num_tokens := vocabulary(node):
                self.tokens[node] = self.emit(Input(num_tokens))
            return
        name = self.constant_names.get(node.name)
        tensor = self.constants.get(name)
        if tensor is not None and (name not in self.slots or tensor.numel() == 1):
            self._known[node] = tensor.detach()

    def _add_output(self, output, node: Node) -> None:
        if output is None or output in self._known or output in self._data:
            return
        arranged = self.arranged(output)
        if isinstance(arranged, Arranged):
            number = self.in_order(arranged, node).number
            self.emit(Output(self.emit(Pass(number, Unfollowed("output"), -1))))
        else:
            self.emit(Output(self.number(output, node)))

    def _depends_on(self, node: Node, known: Collection[Node]) -> bool:
        """Whether all that an operation takes is among these."""
        return all(source in known for source in node.all_input_nodes)

    @torch.no_grad()
    def _evaluated(self, node: Node):
        """The value of an operation on constants."""
        given = map_arg((node.args, node.kwargs), lambda source: self._known[source])
        return node.target(*given[0], **given[1])

    # For the rules.

    def emit(self, operation: Operation) -> int:
        """Writes an operation; the number of its value."""
        axis = getattr(operation, "axis", None)
        self._axes.append(self._axes[operation.sources[0]] if axis is None else axis)
        self._widths.append(_width(operation, self._widths))
        self._operations.append(operation)
        return len(self._operations) - 1

    def is_value(self, argument) -> bool:
        """Whether an argument depends on the network's inputs."""
        return argument in self._numbers if isinstance(argument, Node) else False

    def number(self, argument, node: Node) -> int:
        """The number of the operation that made a value."""
        if self.is_value(argument):
            return self._numbers[argument]
        parameter = self.parameter(argument)
        if parameter is not None and parameter.num_axes:
            shape = tuple(parameter.elements.shape)
            channels = along_axis(shape[-1], -1, shape)
            return self.table(parameter.elements, channels, parameter, node)
        found = f"{node.target} acts on {argument}, which is no value of a neuron."
        if isinstance(self.arranged(argument), Arranged):
            found = f"{node.target} takes channels that no single axis holds."
        raise self.unknown(node, found)

    def known(self, argument):
        """The value of a constant, a number or a tensor; None where it is no constant."""
        return self._known.get(argument) if isinstance(argument, Node) else argument

    def is_data(self, argument) -> bool:
        """Whether an argument depends on integer inputs alone, as a mask does."""
        return isinstance(argument, Node) and argument in self._data

    def arranged(self, argument) -> Arranged | ArrangedParameter | None:
        """A value whose channels no single axis holds, or a parameter that has been moved."""
        return self._arranged.get(argument) if isinstance(argument, Node) else None

    def arrangement(self, argument: Node, node: Node) -> Arranged:
        """Which channel each element of a value is."""
        arranged = self.arranged(argument)
        if isinstance(arranged, Arranged):
            return arranged
        number, shape = self.number(argument, node), tuple(argument.meta["val"].shape)
        return Arranged(number, along_axis(self._widths[number], self._axes[number], shape))

    def put(self, node: Node, arranged: Arranged | ArrangedParameter) -> int | None:
        """Gives a node its channels; the number of its value, where they lie on one axis again."""
        place = isinstance(arranged, Arranged) and neighbours_on_axis(arranged.channels)
        if not place:
            self._arranged[node] = arranged
            return None
        axis, first, width = place
        number = arranged.number
        if (first, width) != (0, self._widths[number]):
            number = self.emit(Take(number, first, width))
        return self.emit(Pass(number, Unfollowed(str(node.target)), axis))

    def in_order(self, arranged: Arranged, node: Node) -> Arranged:
        """The same with the channels counted in the order in which they appear."""
        rows, which = distinct(arranged.channels)
        number = self.gathered(arranged.number, tuple(row[0] for row in rows))
        return Arranged(number, which)

    def gathered(self, number: int, channels: tuple[int, ...]) -> int:
        """A value of the chosen channels of another."""
        first, width = channels[0], len(channels)
        if channels == tuple(range(self._widths[number])):
            return number
        if channels == tuple(range(first, first + width)):
            return self.emit(Take(number, first, width))
        return self.emit(Gather(number, channels))

    def put_same(self, node: Node, like: Node, arranged: Arranged) -> int | None:
        """Gives a node its channels; they lie on one axis where they did so before."""
        if self.is_value(like) and self.axis_of(arranged) == self.axis(like):
            return arranged.number
        return self.put(node, arranged)

    def axis_of(self, arranged: Arranged) -> int:
        """The axis that the channels lie on, the last where no single one holds them."""
        place = neighbours_on_axis(arranged.channels)
        return place[0] if place else self._axes[arranged.number]

    def width(self, number: int) -> int:
        """How many channels a value has."""
        return self._widths[number]

    def is_node_value(self, argument) -> bool:
        """Whether an argument is a value of neurons, arranged in any way."""
        return self.is_value(argument) or isinstance(self.arranged(argument), Arranged)

    @contextmanager
    def taken_as(self, argument: Node, number: int):
        """For a while a value counts as one whose channels one axis holds."""
        self._numbers[argument] = number
        try:
            yield
        finally:
            del self._numbers[argument]

    def look_up(self, tokens: int, table: ParameterSlot, *, is_moved: bool, node: Node) -> int:
        """Embeddings of tokens: edges from one-hot neurons."""
        if table.shape[0] < self._widths[tokens]:
            tokens = self.emit(Take(tokens, 0, table.shape[0]))
        if is_moved:
            tokens = self.emit(Pass(tokens, Unfollowed(str(node.target)), -1))
        return self.emit(Linear(tokens, table, None, is_transposed=True))

    def parameter(self, argument) -> ArrangedParameter | None:
        """A parameter, moved or not."""
        arranged = self.arranged(argument)
        if isinstance(arranged, ArrangedParameter):
            return arranged
        name = self.tensor_names.get(argument.name) if isinstance(argument, Node) else None
        if name not in self.slots or argument in self._known:
            return None
        return ArrangedParameter(self.slots[name])

    def table(
        self,
        elements: Tensor,
        channels: Tensor,
        parameter: ArrangedParameter,
        node: Node,
    ) -> int:
        """A parameter as a value: rows of a table, one channel each, looked up at every place.

        `elements` and `channels` (each counted from 0) are of the shape of the value, which has its
        channels on one axis.
        """
        axis, _, width = neighbours_on_axis(channels)
        size, slot = parameter.slot.size, parameter.slot
        first = 0 if size % width == 0 else int(elements.min())
        count = size // width if first == 0 else (int(elements.max()) + 1 - first) // width
        for is_transposed in (True, False):
            rows, own = (elements - first) // width, (elements - first) % width
            if not is_transposed:
                own, rows = (elements - first) // count, (elements - first) % count
            places = rows.select(axis, 0)
            if torch.equal(own, channels) and (rows == places.unsqueeze(axis)).all():
                break
        else:
            raise self.unknown(node, f"{slot.name} is arranged otherwise than by channels.")
        for number in range(places.ndim):
            if (places == places.narrow(number, 0, 1)).all():
                places = places.narrow(number, 0, 1)
        number = self.emit(LookUp(tuple(places.flatten().tolist()), tuple(places.shape), count))
        shape = (count, width) if is_transposed else (width, count)
        number = self.emit(Linear(number, slot.part(first, shape), None, is_transposed))
        if axis != -1:
            number = self.emit(Pass(number, Step("aten.movedim.int", (-1, axis)), axis))
        return number

    def axis(self, argument: Node) -> int:
        """The axis, from behind, on which the channels of a value lie."""
        return self._axes[self._numbers[argument]]

    def num_channels(self, argument: Node) -> int:
        shape = argument.meta["val"].shape
        return shape[self.axis(argument)] if shape else 1

    def check_axis(self, argument: Node, axis: int, node: Node) -> None:
        """Raises where the channels of a value lie on another axis than an operation wants."""
        self.number(argument, node)
        if self.axis(argument) != axis:
            found = f"{node.target} takes axis {axis} for the channels, they lie on {{}}."
            raise self.unknown(node, found.format(self.axis(argument)))

    def slot(self, argument: Node | None, node: Node) -> ParameterSlot | None:
        """Where a parameter lies in the flat vector."""
        if argument is None:
            return None
        name = self.tensor_names.get(argument.name)
        moved = self.arranged(argument)
        if isinstance(moved, ArrangedParameter):
            found = moved.matrix()
            if found is not None and not found[1]:
                return found[0]
        if name not in self.slots:
            raise self.unknown(node, f"the weights {argument} of {node.target} are no parameter.")
        return self.slots[name]

    def scalar(self, argument, node: Node) -> float:
        """A number, or a constant tensor of one element; trained ones are no constants."""
        if isinstance(argument, int | float):
            return float(argument)
        while argument.target in COPIES:
            argument = argument.args[0]
        tensor = self._known.get(argument)
        if not isinstance(tensor, torch.Tensor) or tensor.numel() != 1:
            raise self.unknown(node, f"{node.target} takes {argument}, which is no number.")
        return float(tensor)

    def unknown(self, node: Node, found: str) -> NNGraphsError:
        frames = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
        place = f"the submodule {frames[-1]}" if frames and frames[-1] else "the module itself"
        return NNGraphsError(
            f"make a neural graph of {place}",
            found=found,
            do=f"Known operations: {', '.join(known_operations(self.rules))}.",
        )


def _width(operation: Operation, widths: Sequence[int]) -> int:
    """How many channels a value has, from those that it is made of."""
    match operation:
        case Input() | Take() | Resize() | Remember():
            return operation.width
        case Linear():
            return operation.weight.shape[operation.is_transposed]
        case Convolve():
            shape, movement = operation.weight.shape, operation.convolution
            return shape[1] * movement.num_groups if movement.is_transposed else shape[0]
        case Flatten():
            return widths[operation.source] * operation.step.repeat
        case Concatenate():
            return sum(widths[source] for source in operation.sources)
        case LookUp():
            return operation.num_rows
        case Gather() | Combine():
            return len(operation.channels)
    return widths[operation.sources[0]]


def known_operations(rules: Mapping[Callable, Rule]) -> list[str]:
    """Names of the ATen operations that have a rule."""
    return sorted(str(target) for target in rules if target is not operator.getitem)


def _without_idle_reshapes(operations: list[Operation]) -> list[Operation]:
    """Where every operation acts on each point alone, how points are arranged does not matter."""

    def is_idle(operation: Operation) -> bool:
        has_reshape = isinstance(operation, Pass) and isinstance(operation.step, Reshape)
        return has_reshape and operation.axis == -1

    is_pointwise = all(isinstance(o, POINTWISE) or is_idle(o) for o in operations)
    if not is_pointwise or not any(map(is_idle, operations)):
        return operations
    kept: list[Operation] = []
    places: list[int] = []
    for operation in operations:
        if is_idle(operation):
            places.append(places[operation.source])
        else:
            kept.append(operation.renumbered(places))
            places.append(len(kept) - 1)
    return [replace(o, axis=-1) if isinstance(o, Input) else o for o in kept]
