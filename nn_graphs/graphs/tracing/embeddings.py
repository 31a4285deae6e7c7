"""The rule of embeddings: rows of a table, for tokens or for constant numbers."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import Node

from nn_graphs.graphs.builder.operations import Linear, Pass, Take
from nn_graphs.graphs.parts.steps import Unfollowed
from nn_graphs.graphs.tracing.tracer import Rule, Tracer
from nn_graphs.networks.parameters import ParameterSlot

aten = torch.ops.aten


def embedding(tracer: Tracer, node: Node) -> int | None:
    """Rows of a table: for tokens edges from one-hot neurons, for constant numbers a parameter."""
    table, rows = node.args[:2]
    parameter = tracer.parameter(table)
    found = parameter.matrix() if parameter is not None else None
    if found is None or found[1]:
        raise tracer.unknown(node, f"the table {table} is no parameter.")
    known = tracer.known(rows)
    if isinstance(known, Tensor):
        return tracer.put(node, parameter.with_channels(parameter.elements[known]))
    origin = rows
    while origin not in tracer.tokens and isinstance(origin, Node) and origin.args:
        origin = origin.args[0]
    if origin not in tracer.tokens:
        raise tracer.unknown(node, f"the tokens {rows} are no input.")
    return _look_up(tracer, node, tracer.tokens[origin], found[0], is_moved=origin is not rows)


def _look_up(
    tracer: Tracer, node: Node, tokens: int, table: ParameterSlot, *, is_moved: bool
) -> int:
    """Embeddings of tokens: edges from one-hot neurons."""
    if table.shape[0] < tracer.width(tokens):
        tokens = tracer.emit(Take(tokens, 0, table.shape[0]))
    if is_moved:
        tokens = tracer.emit(Pass(tokens, Unfollowed(str(node.target)), -1))
    return tracer.emit(Linear(tokens, table, None, is_transposed=True))


EMBEDDINGS: dict[Callable, Rule] = {aten.embedding.default: embedding}
