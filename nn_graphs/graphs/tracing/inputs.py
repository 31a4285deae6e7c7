"""On which axis the channels of a network's input lie: those who read it tell."""

import torch
from torch.fx import Node

aten = torch.ops.aten

SECOND = ("conv", "pool", "batch_norm", "group_norm", "instance_norm", "upsample")
LAST = ("linear", "layer_norm", "rms_norm", "addmm", "matmul")


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
