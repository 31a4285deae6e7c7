"""What torch.export makes of a module, and what can be read off it before any rule runs.

Norms and activations that a module writes by hand get their names back, for they would else become
many neurons; and those who read an input tell on which axis its channels lie.
"""

import math
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from nn_graphs.errors import NNGraphsError

aten = torch.ops.aten
EINSUM = aten.einsum.default
SAME_VALUE = (aten.to.dtype, aten._to_copy.default)
SECOND = ("conv", "pool", "batch_norm", "group_norm", "instance_norm", "upsample")
LAST = ("linear", "layer_norm", "rms_norm", "addmm", "matmul")


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch warns of its own internals
            warnings.filterwarnings("ignore", ".*were assigned during export")  # recurrent layers
            program = torch.export.export(module, inputs)
            targets = {node.target for node in program.graph.nodes}
            if EINSUM in targets:
                table = torch.export.default_decompositions()
                return program.run_decompositions({EINSUM: table[EINSUM]})
            return program.run_decompositions({}) if _writes_in_place(targets) else program
    except Exception as error:
        place = _line_of_user(error)
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0].rstrip(".") if lines else type(error).__name__
        shapes = ", ".join(str(list(each.shape)) for each in inputs if isinstance(each, Tensor))
        raise NNGraphsError(
            f"trace a {type(module).__name__} on example inputs of the shapes {shapes}",
            found=f"torch.export says: {reason}{place}.",
            do="The forward pass must run on the example inputs and not branch on their values.",
        ) from error


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
    return f" (in line {own[-1].lineno} of {own[-1].filename}: {own[-1].line})" if own else ""


def _writes_in_place(targets: Iterable) -> bool:
    """Whether an operation changes a value that others may have seen before."""
    return any(isinstance(t, torch._ops.OpOverload) and t._schema.is_mutable for t in targets)


def with_named_operations(program: ExportedProgram) -> ExportedProgram:
    """The program without what no output needs, and with names for what is written by hand."""
    graph = program.graph
    graph.eliminate_dead_code()
    for node in list(graph.nodes):
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
    while node.target in SAME_VALUE:
        node = node.args[0]
    return node


def _is(node, target: Callable) -> bool:
    return isinstance(node, Node) and node.target is target


def _replace(graph: Graph, node: Node, target: Callable, args: tuple, kwargs: dict) -> None:
    with graph.inserting_before(node):
        named = graph.call_function(target, args, kwargs)
    named.meta = dict(node.meta)
    node.replace_all_uses_with(named)


STARTS = {aten.tanh.default: _tanh_gelu, aten.rsqrt.default: _rms_norm}


def input_axis(node: Node) -> int:
    """The axis of an input's channels, counted from behind.

    Convolutions, pooling and most norms take the first axis behind the points; a flattening of an
    image keeps it; everything else takes the last one.
    """
    num_axes = node.meta["val"].ndim
    waiting, seen = list(node.users), set()
    while waiting:
        user = waiting.pop(0)
        name = str(user.target).removeprefix("aten.").removeprefix("_native_")
        if user in seen or not isinstance(user.target, torch._ops.OpOverload):
            continue
        seen.add(user)
        if any(kind in name for kind in SECOND):
            return _behind_points(user, num_axes)
        if name.startswith(LAST):
            return -1
        if _flattens_image(user, num_axes):
            return 1 - num_axes
        waiting += user.users
    return -1


def _behind_points(user: Node, num_axes: int) -> int:
    """Convolutions and pooling have as many axes of places as their names say."""
    digits = [letter for letter in str(user.target).split(".")[1] if letter in "123"]
    is_spatial = digits and str(user.target).split(".")[1].endswith("d")
    return -1 - int(digits[-1]) if is_spatial else min(1 - num_axes, -1)


def _flattens_image(user: Node, num_axes: int) -> bool:
    """Whether all but the points become one axis."""
    if num_axes < 3 or "val" not in user.meta or not hasattr(user.meta["val"], "shape"):
        return False
    names = ("flatten", "view", "reshape")
    is_reshape = any(str(user.target).startswith(f"aten.{name}.") for name in names)
    before, after = user.args[0].meta["val"].shape, user.meta["val"].shape
    return is_reshape and len(before) == num_axes and len(after) == 2 and before[0] == after[0]


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
