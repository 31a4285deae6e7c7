"""On which axis of an input its channels lie: that which the first layer behind it reads.

Between the input and that layer axes may move. A stand-in for the input, whose axes have strides of
their own and no memory, is moved with them; the strides tell which axis the layer reads.
"""

import torch
from torch import Tensor
from torch.fx import Node

aten = torch.ops.aten
SECOND = ("conv", "pool", "batch_norm", "group_norm", "instance_norm", "upsample")
LAST = ("linear", "layer_norm", "rms_norm", "addmm", "matmul")
MOVES = (
    *("view", "reshape", "_unsafe_view", "flatten", "unflatten", "permute", "transpose", "t", "mT"),
    *("unsqueeze", "squeeze", "select", "slice", "movedim", "expand"),
)
SINGLE = 10**9  # the strides of axes of the size 1 begin here


def input_axis(node: Node) -> int | None:
    """The axis of an input's channels, counted from behind; None where it has one channel on none.

    Convolutions, pooling and most norms take the first axis behind the points; a flattening of an
    image keeps it; everything else takes the last one.
    """
    value = node.meta["val"]
    waiting, seen = [(user, node, _stand_in(value)) for user in node.users], set()
    while waiting:
        user, source, moved = waiting.pop(0)
        if user in seen or not isinstance(user.target, torch._ops.OpOverload):
            continue
        seen.add(user)
        if _is_mask_of(source, user):
            return None
        axis = _axis_read(user, source)
        if axis is not None:
            return _origin(moved, axis, value.ndim) if moved is not None else max(axis, -value.ndim)
        moved = _behind(user, moved)
        waiting += [(following, user, moved) for following in user.users]
    return -1


def _stand_in(value: Tensor) -> Tensor:
    """A tensor of this shape whose strides tell its axes apart."""
    strides = value.contiguous().stride() if value.numel() else torch.empty(value.shape).stride()
    sizes = zip(value.shape, strides, strict=True)
    own = [SINGLE + n if size == 1 else stride for n, (size, stride) in enumerate(sizes)]
    return torch.empty_strided(tuple(value.shape), own, device="meta")


def _axis_read(user: Node, source: Node) -> int | None:
    """The axis, from behind, on which an operation expects channels; None where it does not."""
    name = str(user.target).removeprefix("aten.").removeprefix("_native_")
    num_axes = source.meta["val"].ndim if isinstance(source.meta["val"], Tensor) else 1
    if any(kind in name for kind in SECOND):
        return _behind_points(user, num_axes)
    if name.startswith(LAST):
        return -1
    return 1 - num_axes if _flattens_image(user, num_axes) else None


def _is_mask_of(source: Node, user: Node) -> bool:
    """Whether it is added to the scores of attention, which have places on their axes."""
    if user.target is not aten.scaled_dot_product_attention.default:
        return False
    return source in user.args[3:4] or user.kwargs.get("attn_mask") is source


def _behind_points(user: Node, num_axes: int) -> int:
    """Convolutions and pooling have as many axes of places as their names say."""
    digits = [letter for letter in str(user.target).split(".")[1] if letter in "123"]
    is_spatial = digits and str(user.target).split(".")[1].endswith("d")
    return -1 - int(digits[-1]) if is_spatial else min(1 - num_axes, -1)


def _flattens_image(user: Node, num_axes: int) -> bool:
    """Whether all but the points become one axis."""
    if num_axes < 3 or not isinstance(user.meta.get("val"), Tensor):
        return False
    names = ("flatten", "view", "reshape")
    if not any(str(user.target).startswith(f"aten.{name}.") for name in names):
        return False
    before, after = user.args[0].meta["val"].shape, user.meta["val"].shape
    return len(before) == num_axes and len(after) == 2 and before[0] == after[0]


def _behind(user: Node, moved: Tensor | None) -> Tensor | None:
    """The stand-in behind an operation; None where it does not say where its axes have gone."""
    value = user.meta.get("val")
    if moved is None or not isinstance(value, Tensor):
        return None
    if user.target._schema.name.removeprefix("aten::") not in MOVES:
        return moved if value.ndim == moved.ndim else None
    try:
        found = user.target(moved, *user.args[1:], **user.kwargs)
    except (RuntimeError, TypeError, ValueError):  # it copies, or takes another value
        return None
    return found if found._is_view() and found.shape == value.shape else None


def _origin(moved: Tensor, axis: int, num_axes: int) -> int | None:
    """The axis of the input that an axis of the stand-in was."""
    size, stride = moved.shape[axis], moved.stride(axis)
    if size == 1:
        return stride - SINGLE - num_axes if SINGLE <= stride < SINGLE + num_axes else None
    return None if stride == 0 else _axis_of_stride(stride, moved, axis, num_axes)


def _axis_of_stride(stride: int, moved: Tensor, axis: int, num_axes: int) -> int:
    own = getattr(moved, "_base", None)
    base = moved if own is None else own
    for number, (size, found) in enumerate(zip(base.shape, base.stride(), strict=True)):
        if size > 1 and found == stride:
            return number - num_axes
    return max(axis, -num_axes)
