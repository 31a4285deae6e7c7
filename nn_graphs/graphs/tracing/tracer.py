"""Writes the operations of an exported program in the builder's language, rule by rule."""

import operator
from collections.abc import Callable, Collection, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Node
from torch.fx.node import map_arg

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.builder.operations import (
    Input,
    Operation,
    Output,
    Pass,
    Take,
)
from nn_graphs.graphs.parts.steps import Step, Unfollowed
from nn_graphs.graphs.tracing.arrangement import (
    Arranged,
    ArrangedParameter,
    along_axis,
    distinct,
    neighbours_on_axis,
    varying_axes,
)
from nn_graphs.graphs.tracing.data_elements import distinct_elements, elements_of
from nn_graphs.graphs.tracing.exported_program import vocabulary
from nn_graphs.graphs.tracing.input_axes import input_axis
from nn_graphs.graphs.tracing.refusals import refusal
from nn_graphs.graphs.tracing.written_operations import Written, written_table
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot

aten = torch.ops.aten
COPIES = (aten.alias.default, aten.clone.default, aten.detach.default)
CONDITIONS = (
    *(aten.gt.Scalar, aten.ge.Scalar, aten.lt.Scalar, aten.le.Scalar, aten.eq.Scalar),
    *(aten.ne.Scalar, aten.logical_not.default, aten.gt.Tensor, aten.ge.Tensor),
    *(aten.lt.Tensor, aten.le.Tensor, aten.eq.Tensor, aten.ne.Tensor),
)
"""Comparisons, channel by channel: the only values of neurons that are no floats."""
ALIAS = Step("aten.alias.default")
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
        self.written = Written()
        self._numbers: dict[Node, int] = {}
        self._arranged: dict[Node, Arranged | ArrangedParameter] = {}
        self._tables: dict[Node, int] = {}  # parameters that are taken as values
        self._known: dict[Node, object] = {}  # constants
        self._data: dict[Node, Any] = {}  # of what depends on integer inputs alone, its elements
        self.tokens: dict[Node, int] = {}  # integer inputs that embeddings read
        self.parts: dict[Node, list] = {}  # the values of operations that give several
        self.masks: dict[ParameterSlot, Tensor] = {}  # which values of a parameter exist

    def operations(self) -> list[Operation]:
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._add_placeholder(node)
            elif node.op == "get_attr":
                self._known[node] = getattr(self.program.graph_module, node.target)
            elif node.op == "output":
                specs = self.program.graph_signature.output_specs
                for output, spec in zip(node.args[0], specs, strict=True):
                    if spec.kind is OutputKind.USER_OUTPUT:  # else a buffer that is written into
                        self._add_output(output, node)
            else:
                with self._told(node):
                    self._follow(node)
        return self.written.finished()

    def _follow(self, node: Node) -> None:
        """One operation: computed where it is constant, else by its rule."""
        is_random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        is_constant = self._depends_on(node, self._known)
        is_data = self._depends_on(node, self._known.keys() | self._data)
        if is_random and is_data:
            raise self.unknown(node, f"{node.target} draws random numbers.")
        if is_constant:
            self._known[node] = self._evaluated(node)
        elif is_data:
            self._data[node] = elements_of(node, self._data, self._known)
        elif node.target in self.rules:
            number = self.rules[node.target](self, node)
            if number is not None:
                self._numbers[node] = number
            self._check_made(node)
        else:
            raise self.unknown(node, f"the operation {node.target} is unknown.")

    @contextmanager
    def _told(self, node: Node):
        """What a rule did not think of is told as everything else that cannot be traced."""
        try:
            yield
        except NNGraphsError:
            raise
        except Exception as error:
            found = f"its rule does not know this use ({type(error).__name__})."
            raise self.unknown(node, found) from error

    def _check_made(self, node: Node) -> None:
        """Raises where a value is none of neurons, or its channels are not where they should be."""
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or not self.is_node_value(node):
            return
        if not value.dtype.is_floating_point and node.target not in CONDITIONS:
            raise self.unknown(node, f"{node.target} makes {value.dtype} of the values of neurons.")
        arranged = self.arranged(node)
        if isinstance(arranged, Arranged):
            is_right = arranged.shape == tuple(value.shape)
        else:
            number = self._numbers[node]
            is_right = value.shape[self.written.axes[number]] == self.width(number)
        if not is_right:
            raise self.unknown(node, f"{node.target} leaves {list(value.shape)}, without channels.")

    def _add_placeholder(self, node: Node) -> None:
        if node.name in self.program.graph_signature.user_inputs:
            if not isinstance(node.meta["val"], torch.Tensor):
                return
            if node.meta["val"].is_floating_point():
                self._add_input(node)
                return
            self._data[node] = distinct_elements(node)
            if num_tokens := vocabulary(node):
                self.tokens[node] = self.emit(Input(num_tokens))
            return
        name = self.constant_names.get(node.name)
        tensor = self.constants.get(name)
        if tensor is not None and (name not in self.slots or tensor.numel() == 1):
            self._known[node] = tensor.detach()

    def _add_input(self, node: Node) -> None:
        shape = tuple(node.meta["val"].shape)
        axis = input_axis(node)
        if axis is None:  # points, then places, of one channel
            self.put_single(node, self.emit(Input(1)))
        else:
            self._numbers[node] = self.emit(Input(shape[axis], axis))

    def _add_output(self, output, node: Node) -> None:
        if output is None or output in self._known or output in self._data:
            return
        arranged = self.arranged(output)
        if isinstance(arranged, Arranged) and arranged.is_as_run:
            self.emit(Output(arranged.number))
        elif isinstance(arranged, Arranged):
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

    def _noted(self) -> tuple[int, list[dict]]:
        """What has been written so far, for `_forget_since`."""
        return len(self.written.operations), [dict(known) for known in self._by_node]

    def _forget_since(self, noted: tuple[int, list[dict]]) -> None:
        """Takes back what has been written since, as a rule does that gives up in the middle."""
        self.written.forget(noted[0])
        for known, before in zip(self._by_node, noted[1], strict=True):
            known.clear()
            known.update(before)

    @property
    def _by_node(self) -> tuple[dict, ...]:
        return self._numbers, self._arranged, self._tables, self.parts, self.masks

    # For the rules.

    def emit(self, operation: Operation) -> int:
        """Writes an operation; the number of its value."""
        return self.written.emit(operation)

    def is_value(self, argument) -> bool:
        """Whether an argument depends on the network's inputs."""
        return argument in self._numbers if isinstance(argument, Node) else False

    def number(self, argument, node: Node) -> int:
        """The number of the operation that made a value."""
        if self.is_value(argument):
            return self._numbers[argument]
        if self.parameter(argument) is not None:
            if argument not in self._tables:
                axis = _only_long_axis(self.parameter(argument).elements)
                self._tables[argument] = self._as_value(argument, axis, node)
            return self._tables[argument]
        found = f"{node.target} acts on {argument}, which is no value of a neuron."
        if isinstance(self.arranged(argument), Arranged):
            found = f"{node.target} takes channels that no single axis holds."
        raise self.unknown(node, found)

    def number_of(self, argument: Node, node: Node) -> int:
        """The number of a value, arranged in any way."""
        arranged = self.arranged(argument)
        if isinstance(arranged, Arranged) and not self.is_value(argument):
            return arranged.number
        return self.number(argument, node)

    def known(self, argument):
        """The value of a constant, a number or a tensor; None where it is no constant."""
        return self._known.get(argument) if isinstance(argument, Node) else argument

    def is_data(self, argument) -> bool:
        """Whether an argument depends on integer inputs alone, as a mask does."""
        return isinstance(argument, Node) and argument in self._data

    def elements(self, argument: Node) -> Tensor:
        """A number for each element of data, the same where two never differ."""
        return self._data[argument]

    def arranged(self, argument) -> Arranged | ArrangedParameter | None:
        """A value whose channels no single axis holds, or a parameter that has been moved."""
        return self._arranged.get(argument) if isinstance(argument, Node) else None

    def is_arranged(self, argument: Node) -> bool:
        """Whether no single axis holds the channels of a value."""
        found = None if self.is_value(argument) else self.arranged(argument)
        return isinstance(found, Arranged) and not found.is_as_run

    def arrangement(self, argument: Node, node: Node) -> Arranged:
        """Which channel each element of a value is."""
        arranged = self.arranged(argument)
        if isinstance(arranged, Arranged):
            return arranged
        number, shape = self.number(argument, node), tuple(argument.meta["val"].shape)
        return Arranged(number, along_axis(self.width(number), self.written.axes[number], shape))

    def put(self, node: Node, arranged: Arranged | ArrangedParameter) -> int | None:
        """Gives a node its channels; the number of its value, where they lie on one axis again."""
        if isinstance(arranged, Arranged) and arranged.is_as_run:
            self._arranged[node] = arranged
            return None
        place = isinstance(arranged, Arranged) and neighbours_on_axis(arranged.channels)
        if not place:
            self._arranged[node] = arranged
            return None
        axis, first, width = place
        number = arranged.number
        if (first, width) != (0, self.width(number)):
            number = self.emit(Take(number, first, width))
        return self.emit(Pass(number, Unfollowed(str(node.target)), axis))

    def in_order(self, arranged: Arranged, node: Node) -> Arranged:
        """The same with the channels counted in the order in which they appear."""
        rows, which = distinct(arranged.channels)
        number = self.written.gathered(arranged.number, tuple(row[0] for row in rows))
        return Arranged(number, which)

    def put_constant(self, node: Node) -> None:
        """Gives a node the value that it has whatever the values of neurons are."""

        def stand_in(source: Node):
            known = self._known.get(source)
            value = source.meta["val"]
            return torch.zeros(value.shape, dtype=value.dtype) if known is None else known

        args, keywords = map_arg((node.args, node.kwargs), stand_in)
        self._known[node] = node.target(*args, **keywords)

    def put_like(self, node: Node, source: Node, number: int) -> int | None:
        """Gives a node what has been made of a value, element by element."""
        if self.is_value(source):
            return number
        arranged = self.arranged(source)
        if isinstance(arranged, Arranged):
            return self.put(node, arranged.with_number(number))
        if self.width(number) > 1:
            return number
        self.put_single(node, number)
        return None

    def put_same(self, node: Node, like: Node, arranged: Arranged) -> int | None:
        """Gives a node its channels; they lie on one axis where they did so before."""
        if self.is_value(like) and self.axis_of(arranged) == self.axis(like):
            return arranged.number
        return self.put(node, arranged)

    def axis_of(self, arranged: Arranged) -> int:
        """The axis that the channels lie on, the last where no single one holds them."""
        place = neighbours_on_axis(arranged.channels)
        return place[0] if place else self.written.axes[arranged.number]

    def width(self, number: int) -> int:
        """How many channels a value has."""
        return self.written.widths[number]

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

    def parameter(self, argument) -> ArrangedParameter | None:
        """A parameter, moved or not."""
        arranged = self.arranged(argument)
        if isinstance(arranged, ArrangedParameter):
            return arranged
        name = self.tensor_names.get(argument.name) if isinstance(argument, Node) else None
        if name not in self.slots or argument in self._known:
            return None
        return ArrangedParameter(self.slots[name])

    def _as_value(self, argument: Node, axis: int, node: Node) -> int:
        """A parameter as a value whose channels lie on an axis; where it has none there, as one."""
        parameter = self.parameter(argument)
        elements = parameter.elements
        missing = max(-axis - elements.ndim, 0)
        return self.table(elements[(None,) * missing], axis, parameter, node)

    def table(self, elements: Tensor, axis: int, parameter: ArrangedParameter, node: Node) -> int:
        """A parameter as a value, see `written_table`."""
        number = written_table(self.written, elements, axis, parameter.slot)
        if number is None:
            found = f"{parameter.slot.name} is arranged otherwise than by channels."
            raise self.unknown(node, found)
        return number

    def axis(self, argument: Node) -> int:
        """The axis, from behind, on which the channels of a value lie."""
        numbers = self._numbers if argument in self._numbers else self._tables
        return self.written.axes[numbers[argument]]

    def num_channels(self, argument: Node) -> int:
        shape = argument.meta["val"].shape
        return shape[self.axis(argument)] if shape else 1

    def single(self, argument) -> int | None:
        """The number of a value of one channel that the graph, when it runs, arranges alike."""
        arranged = self.arranged(argument)
        if isinstance(arranged, Arranged):
            return arranged.number if arranged.is_as_run else None
        numbers = self._numbers if self.is_value(argument) else self._tables
        number = numbers.get(argument) if isinstance(argument, Node) else None
        return number if number is not None and self.width(number) == 1 else None

    def put_single(self, node: Node, number: int) -> None:
        """Gives a node one channel, which lies on no axis."""
        channels = torch.zeros((), dtype=torch.long).expand(tuple(node.meta["val"].shape))
        self._arranged[node] = Arranged(number, channels, is_as_run=True)

    def on_axis(self, argument: Node, axis: int, node: Node) -> int:
        """The number of a value whose channels lie on an axis.

        Raises:
            NNGraphsError: they lie on another one.
        """
        if self.parameter(argument) is not None and not self.is_value(argument):
            self._tables[argument] = self._as_value(argument, axis, node)
            return self._tables[argument]
        self._move_to_axis(argument, axis, node)
        number = self.number(argument, node)
        if self.axis(argument) != axis:
            found = f"{node.target} takes axis {axis} for the channels, they lie on {{}}."
            raise self.unknown(node, found.format(self.axis(argument)))
        return number

    def _move_to_axis(self, argument: Node, axis: int, node: Node) -> None:
        """One channel lies on any axis of the size 1; channels on one axis can be put in order."""
        shape = argument.meta["val"].shape if isinstance(argument, Node) else ()
        single, arranged = self.single(argument), self.arranged(argument)
        if single is not None:
            if len(shape) >= -axis and shape[axis] == 1 and self.written.axes[single] != axis:
                self._numbers[argument] = self.emit(Pass(single, ALIAS, axis))
            elif len(shape) >= -axis and shape[axis] == 1:
                self._numbers[argument] = single
        elif isinstance(arranged, Arranged) and not self.is_value(argument):
            ordered = self.in_order(arranged, node)
            is_there = {*varying_axes(arranged.channels)} <= {len(shape) + axis}
            if is_there and self.width(ordered.number) == shape[axis]:
                step = Unfollowed(str(node.target))
                self._numbers[argument] = self.emit(Pass(ordered.number, step, axis))

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

    def masked(self, argument: Node, mask: Tensor, node: Node) -> ArrangedParameter | None:
        """A parameter times a mask: the parameter; None where this is something else.

        Raises:
            NNGraphsError: a value that the mask hides is not zero, or there are two masks.
        """
        slot = self.slots.get(self.tensor_names.get(getattr(argument, "name", None)))
        if slot is None or len(slot.shape) < 2:
            return None
        if tuple(node.meta["val"].shape) != slot.shape or self.arranged(argument) is not None:
            return None
        mask = mask.expand(slot.shape).cpu()
        values = self.constants[slot.name].detach().cpu()
        if (values[~mask] != 0).any():
            found = f"values of {slot.name} that its mask hides are not zero: set them to zero."
            raise self.unknown(node, found)
        if not torch.equal(self.masks.setdefault(slot, mask), mask):
            raise self.unknown(node, f"{slot.name} is used with several masks.")
        return ArrangedParameter(slot)

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
        """The error that says where an operation stands, and what stands in the way."""
        return refusal(node, found, known_operations(self.rules))


def _only_long_axis(elements: Tensor) -> int:
    """The axis, from behind, of a size other than 1, where there is but one; else the last."""
    axes = [axis for axis, size in enumerate(elements.shape) if size != 1]
    return axes[0] - elements.ndim if len(axes) == 1 else -1


def known_operations(rules: Mapping[Callable, Rule]) -> list[str]:
    """Names of the ATen operations that have a rule."""
    return sorted(str(target) for target in rules if target is not operator.getitem)


def arguments(node: Node) -> dict:
    """All arguments of an operation by name, defaults included."""
    given = {
        a.name: a.default_value for a in node.target._schema.arguments if a.has_default_value()
    }
    names = [argument.name for argument in node.target._schema.arguments]
    return {**given, **dict(zip(names, node.args, strict=False)), **node.kwargs}
