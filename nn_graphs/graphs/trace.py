"""Any torch module to a graph template, through torch.export.

The exported program is a flat list of ATen operations, whatever the module's nesting or style. Each
known one has a rule that writes it in the builder's language; a new operation is one more rule.
"""

import warnings
from collections.abc import Callable
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.builder import build_template
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
from nn_graphs.graphs.template import GraphTemplate
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot

aten = torch.ops.aten


def trace(module: nn.Module, example_inputs: Tensor | tuple[Tensor, ...]) -> GraphTemplate:
    """The graph template of a module's architecture.

    Args:
        module: any module of supported operations; it is traced in evaluation mode.
        example_inputs: what its `forward` takes, e.g. `torch.zeros(1, 2)`; only shapes matter.

    Returns:
        The template; `template(module)` is the module's neural graph, and `template(other)` that
        of any other network of this architecture.

    Raises:
        NNGraphsError: torch.export cannot follow the module, or it uses an unknown operation.
    """
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    with _evaluation_mode(module):
        program = _export(module, inputs)
    parameters = ParameterLayout.from_module(module)
    return build_template(_Tracer(program, parameters).operations(), parameters)


def traceable_operations() -> list[str]:
    """Names of the ATen operations that `trace` knows."""
    return sorted(str(target) for target in RULES)


@contextmanager
def _evaluation_mode(module: nn.Module):
    modes = {child: child.training for child in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for child, mode in modes.items():
            child.training = mode


def _export(module: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """The module as a list of ATen operations, none of which writes into its inputs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch warns of its own internals
            program = torch.export.export(module, inputs)
            return program.run_decompositions({}) if _writes_in_place(program) else program
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0].rstrip(".") if lines else type(error).__name__
        shapes = ", ".join(str(list(tensor.shape)) for tensor in inputs)
        raise NNGraphsError(
            f"trace a {type(module).__name__} on example inputs of the shapes {shapes}",
            found=f"torch.export says: {reason}.",
            do="The forward pass must run on the example inputs and not branch on their values.",
        ) from error


def _writes_in_place(program: ExportedProgram) -> bool:
    """Whether an operation changes a value that others may have seen before."""
    targets = [node.target for node in program.graph.nodes]
    return any(isinstance(t, torch._ops.OpOverload) and t._schema.is_mutable for t in targets)


class _Tracer:
    """Writes the operations of an exported program in the builder's language."""

    def __init__(self, program: ExportedProgram, parameters: ParameterLayout):
        self.program, self.parameters = program, parameters
        signature = program.graph_signature
        self.tensor_names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.stored_names = {n for slot in parameters.slots for n in (slot.name, *slot.aliases)}
        self.constants = {**program.state_dict, **program.constants}
        self.constant_names = {
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self._operations: list[Operation] = []
        self._numbers: dict[Node, int] = {}

    def operations(self) -> list[Operation]:
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._add_placeholder(node)
            elif node.op == "output":
                for output in node.args[0]:
                    self.emit(Output(self.number(output, node)))
            elif node.target in RULES:
                number = RULES[node.target](self, node)
                if number is not None:
                    self._numbers[node] = number
            else:
                raise self.unknown(node, f"the operation {node.target} is unknown.")
        return self._operations

    def _add_placeholder(self, node: Node) -> None:
        if node.name in self.program.graph_signature.user_inputs:
            width = node.meta["val"].shape[-1]
            self._numbers[node] = self.emit(Input(width))

    # For the rules.

    def emit(self, operation: Operation) -> int:
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

    def slot(self, argument: Node | None, node: Node) -> ParameterSlot | None:
        """Where a parameter lies in the flat vector."""
        if argument is None:
            return None
        name = self.tensor_names.get(argument.name)
        if name not in self.stored_names:
            raise self.unknown(node, f"the weights {argument} of {node.target} are no parameter.")
        return self.parameters.slot(name)

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
            do=f"Known operations: {', '.join(traceable_operations())}.",
        )


# The rules: one per ATen operation, `(tracer, node) -> number of the value`.


def _linear(tracer: _Tracer, node: Node) -> int:
    source, weight, *rest = node.args
    bias = rest[0] if rest else node.kwargs.get("bias")
    number = tracer.number(source, node)
    return tracer.emit(Linear(number, tracer.slot(weight, node), tracer.slot(bias, node)))


def _activation(name: str) -> Callable[[_Tracer, Node], int]:
    def rule(tracer: _Tracer, node: Node) -> int:
        return tracer.emit(Activate(tracer.number(node.args[0], node), Activation(name)))

    return rule


def _leaky_relu(tracer: _Tracer, node: Node) -> int:
    source, *rest = node.args
    slope = rest[0] if rest else node.kwargs.get("negative_slope", 0.01)
    activation = Activation("leaky_relu", float(slope))
    return tracer.emit(Activate(tracer.number(source, node), activation))


def _gelu(tracer: _Tracer, node: Node) -> int:
    is_exact = node.kwargs.get("approximate", "none") == "none"
    return _activation("gelu" if is_exact else "gelu_tanh")(tracer, node)


def _signed_sum(sign: float) -> Callable[[_Tracer, Node], int]:
    """`a + sign * alpha * b`, where b may be a number."""

    def rule(tracer: _Tracer, node: Node) -> int:
        left, right = node.args
        factor = sign * float(node.kwargs.get("alpha", 1))
        if not tracer.is_value(right):
            constant = factor * tracer.scalar(right, node)
            return tracer.emit(Shift(tracer.number(left, node), constant))
        if tracer.is_value(left) and _num_channels(left) != _num_channels(right):
            found = f"it adds {_num_channels(right)} channels to {_num_channels(left)}."
            raise tracer.unknown(node, found)
        number = tracer.number(right, node)
        addend = number if factor == 1 else tracer.emit(Scale(number, factor))
        if not tracer.is_value(left):
            return tracer.emit(Shift(addend, tracer.scalar(left, node)))
        return tracer.emit(Add(tracer.number(left, node), addend))

    return rule


def _reversed_difference(tracer: _Tracer, node: Node) -> int:
    """`b - a` for a number b."""
    source, constant = node.args
    negative = tracer.emit(Scale(tracer.number(source, node), -1.0))
    return tracer.emit(Shift(negative, tracer.scalar(constant, node)))


def _product(tracer: _Tracer, node: Node) -> int:
    value, factor = sorted(node.args, key=tracer.is_value, reverse=True)
    if tracer.is_value(factor):
        raise tracer.unknown(node, "it multiplies two values of the network.")
    return tracer.emit(Scale(tracer.number(value, node), tracer.scalar(factor, node)))


def _quotient(tracer: _Tracer, node: Node) -> int:
    value, divisor = node.args
    if tracer.is_value(divisor):
        raise tracer.unknown(node, "it divides by a value of the network.")
    return tracer.emit(Scale(tracer.number(value, node), 1 / tracer.scalar(divisor, node)))


def _negative(tracer: _Tracer, node: Node) -> int:
    return tracer.emit(Scale(tracer.number(node.args[0], node), -1.0))


def _same(tracer: _Tracer, node: Node) -> int | None:
    """Operations that change no channel; reshapes are among them while the last axis stays."""
    source = node.args[0]
    if not tracer.is_value(source) and node.target in COPIES:
        return None
    number = tracer.number(source, node)
    if _num_channels(node) != _num_channels(source):
        raise tracer.unknown(node, f"{node.target} changes the number of channels.")
    return number


def _first_channels(tracer: _Tracer, node: Node) -> int:
    """`x[..., :width]`."""
    source, axis, start, _, step = (*node.args, *(0, 0, None, 1)[len(node.args) - 1 :])
    number, shape = tracer.number(source, node), source.meta["val"].shape
    if node.meta["val"].shape == shape:
        return number
    if axis % len(shape) != len(shape) - 1 or start not in (0, None) or step != 1:
        raise tracer.unknown(node, "it takes another slice than the first channels.")
    return tracer.emit(Resize(number, _num_channels(node)))


def _zero_padding(tracer: _Tracer, node: Node) -> int:
    source, padding, *rest = node.args
    is_zero = set(rest) <= {"constant", 0, None}
    if not is_zero or padding[0] != 0 or any(padding[2:]):
        raise tracer.unknown(node, "it pads otherwise than with zeros behind the channels.")
    return tracer.emit(Resize(tracer.number(source, node), _num_channels(node)))


def _nothing(tracer: _Tracer, node: Node) -> None:
    return None


def _num_channels(node: Node) -> int:
    shape = node.meta["val"].shape
    return shape[-1] if shape else 1


COPIES = (aten.alias.default, aten.clone.default, aten.detach.default)
RULES: dict[Callable, Callable[[_Tracer, Node], int | None]] = {
    aten.linear.default: _linear,
    aten.sin.default: _activation("sine"),
    aten.relu.default: _activation("relu"),
    aten.silu.default: _activation("silu"),
    aten.tanh.default: _activation("tanh"),
    aten.sigmoid.default: _activation("sigmoid"),
    aten.leaky_relu.default: _leaky_relu,
    aten.gelu.default: _gelu,
    aten.add.Tensor: _signed_sum(1.0),
    aten.sub.Tensor: _signed_sum(-1.0),
    aten.rsub.Scalar: _reversed_difference,
    aten.mul.Tensor: _product,
    aten.mul.Scalar: _product,
    aten.div.Tensor: _quotient,
    aten.neg.default: _negative,
    aten.dropout.default: _same,
    aten.feature_dropout.default: _same,
    aten.alpha_dropout.default: _same,
    aten.alias.default: _same,
    aten.clone.default: _same,
    aten.contiguous.default: _same,
    aten.detach.default: _same,
    aten.view.default: _same,
    aten.reshape.default: _same,
    aten.flatten.using_ints: _same,
    aten.unflatten.int: _same,
    aten.squeeze.dim: _same,
    aten.unsqueeze.default: _same,
    aten.slice.Tensor: _first_channels,
    aten.constant_pad_nd.default: _zero_padding,
    aten.pad.default: _zero_padding,
    aten.sym_size.int: _nothing,
    aten._assert_tensor_metadata.default: _nothing,
}
