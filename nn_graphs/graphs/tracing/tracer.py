"""Writes the operations of an exported program in the builder's language, rule by rule."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.operations import (
    Activate,
    Add,
    Input,
    Linear,
    Operation,
    Output,
    Pass,
    Resize,
    Scale,
    Shift,
    Take,
)
from nn_graphs.graphs.steps import Reshape
from nn_graphs.graphs.tracing.inputs import input_axis
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
        self._numbers: dict[Node, int] = {}
        self.parts: dict[Node, list[int]] = {}  # the values of operations that give several

    def operations(self) -> list[Operation]:
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._add_placeholder(node)
            elif node.op == "output":
                for output in node.args[0]:
                    self.emit(Output(self.number(output, node)))
            elif node.target in self.rules:
                number = self.rules[node.target](self, node)
                if number is not None:
                    self._numbers[node] = number
            else:
                raise self.unknown(node, f"the operation {node.target} is unknown.")
        return _without_idle_reshapes(self._operations)

    def _add_placeholder(self, node: Node) -> None:
        if node.name in self.program.graph_signature.user_inputs:
            axis = input_axis(node)
            self._numbers[node] = self.emit(Input(node.meta["val"].shape[axis], axis))

    # For the rules.

    def emit(self, operation: Operation) -> int:
        """Writes an operation; the number of its value."""
        axis = getattr(operation, "axis", None)
        self._axes.append(self._axes[operation.sources[0]] if axis is None else axis)
        self._operations.append(operation)
        return len(self._operations) - 1

    def is_value(self, argument) -> bool:
        """Whether an argument depends on the network's inputs."""
        return argument in self._numbers if isinstance(argument, Node) else False

    def number(self, argument, node: Node) -> int:
        """The number of the operation that made a value."""
        if not self.is_value(argument):
            found = f"{node.target} acts on {argument}, which is no value of a neuron."
            raise self.unknown(node, found)
        return self._numbers[argument]

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
        if name not in self.slots:
            raise self.unknown(node, f"the weights {argument} of {node.target} are no parameter.")
        return self.slots[name]

    def scalar(self, argument, node: Node) -> float:
        """A number, or a constant tensor of one element; trained ones are no constants."""
        if isinstance(argument, int | float):
            return float(argument)
        while argument.target in COPIES:
            argument = argument.args[0]
        tensor = self.constants.get(self.constant_names.get(argument.name))
        if tensor is None or tensor.numel() != 1:
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
