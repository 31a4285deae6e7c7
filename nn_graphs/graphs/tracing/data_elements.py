"""Which elements of data may differ: of what a module computes of its integer inputs alone.

Each element has a number, the same where two are equal whatever the inputs are. Operations that
move elements move the numbers; functions of each element give one number to each combination of
what they take; what any other operation makes may differ everywhere.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from nn_graphs.graphs.tracing.arrangement import ordered_unique

aten = torch.ops.aten
MOVES = (
    *("view", "reshape", "_unsafe_view", "view_as", "flatten", "unflatten", "permute", "transpose"),
    *("t", "mT", "unsqueeze", "squeeze", "select", "slice", "narrow", "movedim", "expand", "flip"),
    *("expand_as", "repeat", "clone", "contiguous", "alias", "detach", "cat", "stack", "unbind"),
)
CASTS = ("to", "_to_copy", "type_as")


def distinct_elements(node: Node) -> Tensor | None:
    """Numbers for a tensor whose elements may all differ; None for anything else."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or not all(isinstance(size, int) for size in value.shape):
        return None
    return torch.arange(value.numel()).view(tuple(value.shape))


def elements_of(node: Node, data: Mapping[Node, object], known: Mapping[Node, object]):
    """Numbers of the elements of what an operation makes of data and constants."""
    name = str(node.target).removeprefix("aten.").partition(".")[0]
    if name in MOVES and all(source in data for source in node.all_input_nodes):
        args, keywords = map_arg((node.args, node.kwargs), lambda source: data[source])
        try:
            return node.target(*args, **keywords)
        except (RuntimeError, TypeError, ValueError):  # what it moves is not known
            return distinct_elements(node)
    is_cast = name in CASTS
    if is_cast or torch.Tag.pointwise in getattr(node.target, "tags", ()):
        sources = node.all_input_nodes[:1] if is_cast else node.all_input_nodes
        return _combined(node, [data.get(source, known.get(source)) for source in sources])
    return distinct_elements(node)


def _combined(node: Node, values: list) -> Tensor | None:
    """One number for each combination of elements that meet."""
    shape = tuple(node.meta["val"].shape)
    if not all(isinstance(value, Tensor) for value in values):
        return distinct_elements(node)
    rows = torch.stack([value.expand(shape).flatten().double() for value in values], dim=1)
    return ordered_unique(rows)[1].view(shape)
