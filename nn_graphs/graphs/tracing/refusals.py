"""What a user is told of an operation that cannot be traced: where it stands, and what is near it.

Every message is one line of less than `MAX_LENGTH` characters: long parts are cut in the middle.
"""

import difflib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch.fx import Node

from nn_graphs.errors import NNGraphsError

MAX_LENGTH = 400
ALL_OPERATIONS = "nn_graphs.graphs.tracing.traceable_operations() names all."
TORCH = str(Path(torch.__file__).parent)


def refusal(node: Node, found: str, known: Sequence[str]) -> NNGraphsError:
    """The error for an operation of an exported program.

    Args:
        node: the operation.
        found: what stands in the way.
        known: names of the operations that have a rule.
    """
    name = str(node.target)
    if name not in found:
        found = f"{name}: {found}"
    return NNGraphsError(
        f"make a neural graph of {module_of(node)}{_line_of(node)}",
        found=shortened(found, 130),
        do=f"{_nearest(name, known)} {ALL_OPERATIONS}",
    )


def shortened(text: str, length: int) -> str:
    """A text of at most `length` characters on one line, the middle left out where it is longer."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    end = length // 3
    return f"{text[: length - end - 3]}...{text[len(text) - end :]}"


def module_of(node: Node) -> str:
    """The submodule that an operation comes from, in words."""
    frames = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    last = shortened(frames[-1], 40) if frames else ""
    return f"the submodule {last}" if last else "the module itself"


def _line_of(node: Node) -> str:
    """The line of the user's own code that an operation comes from."""
    lines = node.meta.get("stack_trace", "").splitlines()
    for place, code in reversed(list(pairwise(lines))):
        if place.strip().startswith('File "') and TORCH not in place:
            file, number = place.split('"')[1], place.split("line ")[-1].split(",")[0]
            return f" ({Path(file).name[-30:]}, line {number}: {shortened(code, 50)})"
    return ""


def _nearest(name: str, known: Sequence[str]) -> str:
    if name in known:
        return f"{name} is known in other uses."
    short = {_bare(other): other for other in reversed(known)}
    near = difflib.get_close_matches(_bare(name), short, n=1, cutoff=0.0)
    return f"Nearest known operation: {short[near[0]]}." if near else ""


def _bare(name: str) -> str:
    """The name of an operation without its library and its overload."""
    return name.split(".")[-2] if name.count(".") else name
