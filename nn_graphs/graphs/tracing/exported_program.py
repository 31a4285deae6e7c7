"""What torch.export makes of a module, and what can be read off it before any rule runs.

Norms and activations that a module writes by hand get their names back, for they would else become
many neurons; and those who read an input tell on which axis its channels lie.
"""

import io
import logging
import math
import re
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterable
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.tracing.refusals import shortened

aten = torch.ops.aten
EINSUM = aten.einsum.default
SAME_VALUE = (aten.to.dtype, aten._to_copy.default)
CACHE = re.compile(r"\w*Cache\b")  # transformers' objects that no tree of tensors holds


ALIASES: dict = {
    aten.multiply.Tensor: aten.mul.Tensor,
    aten.multiply.Scalar: aten.mul.Scalar,
    aten.divide.Tensor: aten.div.Tensor,
    aten.divide.Scalar: aten.div.Scalar,
    aten.true_divide.Tensor: aten.div.Tensor,
    aten.subtract.Tensor: aten.sub.Tensor,
    aten.subtract.Scalar: aten.sub.Scalar,
    aten.negative.default: aten.neg.default,
    aten.absolute.default: aten.abs.default,
    aten.clip.default: aten.clamp.default,
    aten.max.other: aten.maximum.default,
    aten.min.other: aten.minimum.default,
    aten.concat.default: aten.cat.default,
    aten.concatenate.default: aten.cat.default,
    aten.swapaxes.default: aten.transpose.int,
    aten.swapdims.default: aten.transpose.int,
    aten.moveaxis.int: aten.movedim.int,
    aten.arctan.default: aten.atan.default,
    aten.fix.default: aten.trunc.default,
    aten.special_expit.default: aten.sigmoid.default,
    aten.special_erf.default: aten.erf.default,
    aten.special_log1p.default: aten.log1p.default,
}
"""Operations that torch knows by a second name."""


def exported(module: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """A module, in evaluation mode, as a list of ATen operations.

    Raises:
        NNGraphsError: torch.export cannot follow the module.
    """
    with _evaluation_mode(module):
        return _export(module, inputs)


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
        with _silence(), torch.no_grad():
            program = torch.export.export(module, inputs)
            targets = {node.target for node in program.graph.nodes}
            if EINSUM in targets:
                table = torch.export.default_decompositions()
                return program.run_decompositions({EINSUM: table[EINSUM]})
            return program.run_decompositions({}) if _writes_in_place(targets) else program
    except Exception as error:
        raise _export_error(module, inputs, error) from error


@contextmanager
def _silence():
    """Keeps what torch.export warns of, logs and prints while it works from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _export_error(module: nn.Module, inputs: tuple[Tensor, ...], error: Exception) -> NNGraphsError:
    """What torch.export says, in one line, and the line of the module that it is about."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    reason = shortened(lines[0].rstrip("."), 80) if lines else type(error).__name__
    shapes = ", ".join(str(list(each.shape)) for each in inputs if isinstance(each, Tensor))
    name = shortened(type(module).__name__, 30)
    do = "The forward pass must run on the example inputs and not branch on their values."
    if CACHE.search(str(error)):
        do = "Switch the cache off: use_cache=False in the model's config or its forward pass."
    return NNGraphsError(
        f"trace a {name} on example inputs of the shapes {shortened(shapes, 40)}",
        found=f"torch.export says: {reason}{_line_of_user(error)}.",
        do=do,
    )


def _line_of_user(error: BaseException) -> str:
    """The line of the module's own code that an error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    inner = str(Path(torch.__file__).parent), str(Path(__file__).parents[2]), "<"
    standard = sysconfig.get_path("stdlib")
    own = [
        frame
        for frame in frames
        if not frame.filename.startswith(inner)
        and not (frame.filename.startswith(standard) and "site-packages" not in frame.filename)
    ]
    if not own:
        return ""
    file, line = own[-1].filename, shortened(own[-1].line or "", 40)
    return f" (in line {own[-1].lineno} of {shortened(file, 70)}: {line})"


def _writes_in_place(targets: Iterable) -> bool:
    """Whether an operation changes a value that others may have seen before."""
    return any(isinstance(t, torch._ops.OpOverload) and t._schema.is_mutable for t in targets)


def exported_program(module: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """A module as a list of ATen operations, without what no output needs.

    Norms and activations that are written by hand have their names.

    Raises:
        NNGraphsError: torch.export cannot follow the module.
    """
    program = exported(module, inputs)
    try:
        return with_named_operations(program)
    except Exception as error:  # torch's own, from lists that it has left inconsistent
        raise _export_error(module, inputs, error) from error


def with_named_operations(program: ExportedProgram) -> ExportedProgram:
    """The program without what no output needs, and with names for what is written by hand."""
    graph = program.graph
    graph.eliminate_dead_code()
    for node in list(graph.nodes):
        node.target = ALIASES.get(node.target, node.target)
        rule = STARTS.get(node.target)
        if rule is not None:
            rule(graph, node)
    graph.eliminate_dead_code()
    return program


def _tanh_gelu(graph: Graph, tanh: Node) -> None:
    """`x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))`, GPT-2's GELU."""
    inner = _scaled(tanh.args[0], math.sqrt(2 / math.pi))
    if not _is(inner, aten.add.Tensor) or len(tanh.users) != 1:
        return
    value, cube = inner.args
    cube = _scaled(cube, 0.044715)
    (shifted,) = tanh.users
    is_cube = _is(cube, aten.pow.Tensor_Scalar) and cube.args == (value, 3)
    is_shifted = _is(shifted, aten.add.Tensor) and set(shifted.args) == {tanh, 1.0}
    if not is_cube or not is_shifted or len(shifted.users) != 1:
        return
    (product,) = shifted.users
    halves = [argument for argument in product.args if argument is not shifted]
    if _is(product, aten.mul.Tensor) and len(halves) == 1 and _scaled(halves[0], 0.5) is value:
        _replace(graph, product, aten.gelu.default, (value,), {"approximate": "tanh"})


def _rms_norm(graph: Graph, root: Node) -> None:
    """`x * rsqrt(mean(x ** 2) + eps)` over the last axis."""
    shifted = root.args[0]
    if not _is(shifted, aten.add.Tensor) or not isinstance(shifted.args[1], float):
        return
    mean, eps = shifted.args
    if not _is(mean, aten.mean.dim) or len(mean.args) < 3 or not mean.args[2]:
        return
    square, axes = mean.args[:2]
    if not _is(square, aten.pow.Tensor_Scalar) or square.args[1] != 2:
        return
    shape = square.meta["val"].shape
    if [axis % len(shape) for axis in axes] != [len(shape) - 1]:
        return
    value = _before_copies(square.args[0])
    for product in list(root.users):
        others = [argument for argument in product.args if argument is not root]
        is_product = _is(product, aten.mul.Tensor) and len(others) == 1
        if is_product and _before_copies(others[0]) is value:
            _replace(graph, product, aten.rms_norm.default, (value, [shape[-1]], None, eps), {})


def _scaled(node, factor: float):
    """What is multiplied with a number, where it is the one expected."""
    if not _is(node, aten.mul.Tensor):
        return None
    numbers = [argument for argument in node.args if isinstance(argument, float)]
    values = [argument for argument in node.args if isinstance(argument, Node)]
    is_factor = len(numbers) == 1 and math.isclose(numbers[0], factor, rel_tol=1e-5)
    return values[0] if is_factor else None


def _before_copies(node: Node) -> Node:
    """The value that has been cast from one precision to another, or to none."""
    while node.target in SAME_VALUE and node.args[0].meta["val"].dtype.is_floating_point:
        if not node.meta["val"].dtype.is_floating_point:
            break
        node = node.args[0]
    return node


def _is(node, target: Callable) -> bool:
    """Whether this is an operation without further settings."""
    return isinstance(node, Node) and node.target is target and not node.kwargs


def _replace(graph: Graph, node: Node, target: Callable, args: tuple, kwargs: dict) -> None:
    with graph.inserting_before(node):
        named = graph.call_function(target, args, kwargs)
    named.meta = dict(node.meta)
    node.replace_all_uses_with(named)


STARTS = {aten.tanh.default: _tanh_gelu, aten.rsqrt.default: _rms_norm}


def vocabulary(node: Node) -> int:
    """How many tokens the largest embedding that reads an integer input knows; 0 if none does."""
    waiting, seen, sizes = [node], set(), [0]
    while waiting:
        source = waiting.pop()
        if source in seen:
            continue
        seen.add(source)
        for user in source.users:
            if user.target is aten.embedding.default:
                if user.args[1] is source:
                    sizes.append(user.args[0].meta["val"].shape[0])
            elif user.op == "call_function":
                waiting.append(user)
    return max(sizes)
