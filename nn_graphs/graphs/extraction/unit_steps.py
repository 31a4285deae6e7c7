"""Steps at unit level: what moves elements moves their numbers, all else makes nodes of its own."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction.axis_windows import (
    Window,
    adaptive_window,
    linear_resizing_window,
    per_axis,
    pooling_window,
)
from nn_graphs.graphs.extraction.edge_bundles import SingleEdges
from nn_graphs.graphs.extraction.graph_plan import PlanDraft
from nn_graphs.graphs.extraction.unit_values import UnitValue
from nn_graphs.graphs.parts.steps import AnyStep, Reshape, Step, Unfollowed
from nn_graphs.graphs.tracing.pointwise_rules import ELEMENTS

MOVES = {
    *("alias", "clone", "detach", "contiguous", "view", "_unsafe_view", "reshape", "flatten"),
    *("permute", "transpose", "t", "mT", "movedim", "unsqueeze", "squeeze", "slice", "narrow"),
    *("select", "expand", "repeat", "repeat_interleave", "flip", "roll", "index_select", "index"),
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
}
FUNCTIONS = {str(target) for target in ELEMENTS}
Handler = Callable[[PlanDraft, UnitValue, Step, str], UnitValue]


def behind_step(draft: PlanDraft, value: UnitValue, step: AnyStep, name: str) -> UnitValue:
    """A value behind a step.

    Raises:
        NNGraphsError: the step does not tell which places it reads.
    """
    if isinstance(step, Reshape):
        return value.moved(step)
    if isinstance(step, Unfollowed):
        raise no_units(step.operation)
    operation = step.operation.split(".")[1]
    name = f"{name}/{operation}"
    if operation in MOVES:
        return value.moved(step)
    if operation in HANDLERS:
        return HANDLERS[operation](draft, value, step, name)
    if step.operation in FUNCTIONS:
        return applied(draft, value, step, name)
    raise no_units(step.operation)


def no_units(operation: str) -> NNGraphsError:
    """The error for what has no nodes for its places."""
    return NNGraphsError(
        "extract a graph at the level 'unit'",
        found=f"{operation} is followed by channels alone, not place by place.",
        do="Choose the level 'neuron', 'layer' or 'module'.",
    )


def settings_of(step: Step) -> dict:
    """The arguments of a step by name, defaults included."""
    _, name, overload = step.operation.split(".")
    schema = getattr(getattr(torch.ops.aten, name), overload)._schema.arguments[1:]
    given = {a.name: a.default_value for a in schema if a.has_default_value()}
    names = [argument.name for argument in schema]
    return {**given, **dict(zip(names, step.arguments, strict=False)), **step.keywords}


def applied(draft: PlanDraft, value: UnitValue, step: Step, name: str) -> UnitValue:
    """A function of each element: one node behind each."""
    layer = draft.new_layer(name, "function", value.shape, function=step)
    ids = draft.ids(layer)
    draft.bundles.append(SingleEdges(value.layer, layer, sources=value.ids, targets=ids))
    return UnitValue(ids, value.channels, layer)


def padded(draft: PlanDraft, value: UnitValue, step: Step, name: str) -> UnitValue:
    """Zeros and copies move as elements do; any other constant is a node."""
    given = settings_of(step)
    constant = given.get("value") or 0
    if given.get("mode", "constant") != "constant" or not constant:
        return value.moved(step)
    arguments = {"pad": given["pad"], "value": 0.0}
    moved = value.moved(Step("aten.constant_pad_nd.default", tuple(arguments.values())))
    source = draft.constant_layer(f"{name}/constant", np.array([constant]))
    joined = draft.new_layer(name, "sum", moved.shape)
    ids = draft.ids(joined)
    fixed = np.where(moved.ids < 0, draft.ids(source), -1)
    for layer, sources in ((value.layer, moved.ids), (source, fixed)):
        draft.bundles.append(SingleEdges(layer, joined, sources=sources, targets=ids))
    return UnitValue(ids, np.maximum(moved.channels, 0), joined)


def without_zeros(draft: PlanDraft, value: UnitValue, name: str) -> UnitValue:
    """A value whose zeros are nodes too, which nothing reaches: an extreme must see them."""
    if value.ids.min(initial=0) >= 0:
        return value
    layer = draft.new_layer(f"{name}/padded", "sum", value.shape)
    ids = draft.ids(layer)
    draft.bundles.append(SingleEdges(value.layer, layer, sources=value.ids, targets=ids))
    return UnitValue(ids, value.channels, layer)


def windowed(num_axes: int, kind: str, *, is_adaptive: bool = False) -> Handler:
    """Pooling over windows of places."""

    def handle(draft: PlanDraft, value: UnitValue, step: Step, name: str) -> UnitValue:
        in_sizes = value.shape[-num_axes:]
        out_sizes = _shape_behind(step, value.shape)[-num_axes:]
        if is_adaptive:
            window = adaptive_window(in_sizes, out_sizes)
        else:
            given = settings_of(step)
            kernel = per_axis(given["kernel_size"], num_axes)
            window = pooling_window(given, in_sizes, out_sizes, kernel)
        if kind != "sum":
            value = without_zeros(draft, value, name)
        else:
            window = replace(window, weights=_shares(step, window, in_sizes, num_axes))
        return through_window(draft, value, window, out_sizes, kind=kind, name=name)

    return handle


def resized(num_axes: int) -> Handler:
    """Linear resizing, axis after axis."""

    def handle(draft: PlanDraft, value: UnitValue, step: Step, name: str) -> UnitValue:
        given, in_sizes = settings_of(step), value.shape[-num_axes:]
        out_sizes = _shape_behind(step, value.shape)[-num_axes:]

        def resize(axis: int, rows: torch.Tensor) -> torch.Tensor:
            size, scale = ([g[axis]] if g else None for g in _sizes_and_scales(given))
            function = torch.ops.aten.upsample_linear1d.vec
            return function(rows, size, given["align_corners"], scale)

        window = linear_resizing_window(in_sizes, out_sizes, resize)
        return through_window(draft, value, window, out_sizes, kind="sum", name=name)

    return handle


def through_window(
    draft: PlanDraft,
    value: UnitValue,
    window: Window,
    out_sizes: Sequence[int],
    *,
    kind: str,
    name: str,
) -> UnitValue:
    """A layer whose nodes read windows of the last axes of a value."""
    lead = value.shape[: value.ids.ndim - len(out_sizes)]
    layer = draft.new_layer(name, kind, (*lead, *out_sizes))
    ids, count = draft.ids(layer), len(out_sizes)
    draft.bundles.append(
        SingleEdges(
            value.layer,
            layer,
            sources=value.ids.reshape(*lead, -1)[..., window.inputs],
            targets=ids.reshape(*lead, -1)[..., window.outputs],
            factors=1.0 if window.weights is None else window.weights,
        )
    )
    channels = value.channels.max(tuple(range(-count, 0)), keepdims=True)
    return UnitValue(ids, np.broadcast_to(channels, ids.shape), layer)


def reduced(kind: str, *, is_mean: bool = False) -> Handler:
    """A mean, sum, extreme or variance over axes of places."""

    def handle(draft: PlanDraft, value: UnitValue, step: Step, name: str) -> UnitValue:
        given = settings_of(step)
        axes, shape = _axes(given, value.ids.ndim), _shape_behind(step, value.shape)
        value = value if kind == "sum" else without_zeros(draft, value, name)
        layer = draft.new_layer(name, kind, shape, setting=_setting(kind, given))
        kept = [1 if n in axes else size for n, size in enumerate(value.shape)]
        ids = draft.ids(layer)
        size = int(np.prod([value.shape[n] for n in axes]))
        draft.bundles.append(
            SingleEdges(
                value.layer,
                layer,
                sources=value.ids,
                targets=ids.reshape(kept),
                factors=1 / size if is_mean else 1.0,
            )
        )
        channels = value.channels.max(tuple(axes), keepdims=True)
        return UnitValue(ids, channels.reshape(ids.shape), layer)

    return handle


def softened(draft: PlanDraft, value: UnitValue, step: Step, name: str) -> UnitValue:
    """A softmax over places, or its logarithm."""
    value, axis = without_zeros(draft, value, name), settings_of(step)["dim"] % value.ids.ndim
    is_log = "log" in step.operation
    kept = [1 if n == axis else size for n, size in enumerate(value.shape)]
    sets = np.broadcast_to(np.arange(np.prod(kept), dtype=np.int64).reshape(kept), value.shape)
    layer = soft_layer(draft, [value], [value.ids], sets, name=name, is_log=is_log)
    return UnitValue(draft.ids(layer), value.channels, layer)


def soft_layer(
    draft: PlanDraft,
    values: Sequence[UnitValue],
    sources: Sequence[np.ndarray],
    sets: np.ndarray,
    *,
    name: str,
    is_log: bool,
    **layer_settings,
) -> int:
    """`exp(x - log(sum(exp(x))))` over every set of elements; with `is_log`, its logarithm.

    Args:
        draft: the plan.
        values: which layers are read.
        sources: of every value, the nodes in the shape of the whole, -1 where it has none.
        sets: which set each element belongs to.
        name: of the layer.
        is_log: whether the logarithm is wanted.
        layer_settings: what else is known of the layer.
    """
    total = draft.new_layer(f"{name}/log_sum_exp", "log_sum_exp", (int(sets.max()) + 1,))
    exp = None if is_log else Step("aten.exp.default")
    kind = "sum" if is_log else "function"
    layer = draft.new_layer(name, kind, sets.shape, function=exp, **layer_settings)
    ids, totals = draft.ids(layer), draft.ids(total)[sets]
    for value, own in zip(values, sources, strict=True):
        draft.bundles.append(SingleEdges(value.layer, total, sources=own, targets=totals))
    for value, own in zip(values, sources, strict=True):
        draft.bundles.append(SingleEdges(value.layer, layer, sources=own, targets=ids))
    draft.bundles.append(SingleEdges(total, layer, sources=totals, targets=ids, factors=-1.0))
    return layer


def _shares(step: Step, window: Window, in_sizes: Sequence[int], num_axes: int) -> np.ndarray:
    """What each place counts in an average: the average of ones, divided among the places seen."""
    ones = step(torch.ones(1, 1, *in_sizes, dtype=torch.float64)).numpy().reshape(-1)
    seen = np.bincount(window.outputs, minlength=ones.size)
    return (ones / np.maximum(seen, 1))[window.outputs]


def _shape_behind(step: Step, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(step(torch.empty(tuple(shape), device="meta")).shape)


def _sizes_and_scales(given: dict) -> tuple:
    return given.get("output_size"), given.get("scale_factors")


def _axes(given: dict, num_axes: int) -> set[int]:
    axes = given.get("dim")
    axes = range(num_axes) if axes is None or axes == () or axes == [] else axes
    return {axis % num_axes for axis in ([axes] if isinstance(axes, int) else axes)}


def _setting(kind: str, given: dict) -> float:
    if kind in ("variance", "deviation"):
        correction = given.get("correction", given.get("unbiased", True))
        return 1.0 if correction is None else float(correction)
    order = given.get("ord", given.get("p"))
    return 2.0 if order is None else float(order)


HANDLERS: dict[str, Handler] = {
    "constant_pad_nd": padded,
    "pad": padded,
    **{f"max_pool{n}d": windowed(n, "maximum") for n in (1, 2, 3)},
    "max_pool2d_with_indices": windowed(2, "maximum"),
    **{f"adaptive_max_pool{n}d": windowed(n, "maximum", is_adaptive=True) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": windowed(n, "sum") for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": windowed(n, "sum", is_adaptive=True) for n in (1, 2, 3)},
    "upsample_linear1d": resized(1),
    "upsample_bilinear2d": resized(2),
    "upsample_trilinear3d": resized(3),
    "mean": reduced("sum", is_mean=True),
    "sum": reduced("sum"),
    "amax": reduced("maximum"),
    "max": reduced("maximum"),
    "amin": reduced("minimum"),
    "min": reduced("minimum"),
    "var": reduced("variance"),
    "std": reduced("deviation"),
    "linalg_vector_norm": reduced("vector_norm"),
    "norm": reduced("vector_norm"),
    "softmax": softened,
    "_softmax": softened,
    "log_softmax": softened,
}
