"""Groups of ATen operations that spell out one that has a name, replaced by that one.

Norms and activations that a module writes by hand would else become many neurons.
"""

import math
from collections.abc import Callable

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

aten = torch.ops.aten

SAME_VALUE = (aten.to.dtype, aten._to_copy.default)


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
