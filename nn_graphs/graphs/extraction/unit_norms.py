"""Norms at unit level, as sums and products of nodes.

With running statistics a norm is one edge into each node, of the weight `gain / sqrt(variance +
eps)`, and a bias. Without, the mean and the inverse deviation of every set of elements are nodes:
as many edges as there are elements, not as pairs of them. A softmax reads a node of the logarithm
of its sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction.edge_bundles import SingleEdges
from nn_graphs.graphs.extraction.graph_plan import PlanDraft
from nn_graphs.graphs.extraction.node_layers import along_axis
from nn_graphs.graphs.extraction.unit_steps import soft_layer, without_zeros
from nn_graphs.graphs.extraction.unit_values import UnitValue
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock, EdgeKind
from nn_graphs.graphs.parts.group_rules import Normalization
from nn_graphs.graphs.parts.node_groups import NodeGroup


@dataclass(frozen=True, eq=False)
class NormParameters:
    """What stands on the edges into a norm: places in the flat vector, `[width]`, or None."""

    gain: np.ndarray | None
    mean: np.ndarray | None
    variance: np.ndarray | None

    @classmethod
    def of_blocks(cls, blocks: Sequence[EdgeBlock], width: int) -> "NormParameters":
        found = {}
        for block in blocks:
            if block.weight is not None:
                ids = found.setdefault(block.kind, np.zeros(width, dtype=np.int64))
                first = block.weight.offset + (block.columns[0] if block.columns else 0)
                own = slice(block.first_target, block.first_target + block.num_targets)
                ids[own] = first + np.arange(block.num_targets)
        kinds = EdgeKind.GAIN, EdgeKind.MEAN, EdgeKind.VARIANCE
        return cls(*(found.get(kind) for kind in kinds))

    def folded(self, params: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
        """`[width]` each: what a norm with running statistics multiplies by, and adds."""
        mean, variance = params[self.mean], params[self.variance]
        factor = 1 / np.sqrt(variance + params.dtype.type(eps))
        gain = 1 if self.gain is None else params[self.gain]
        return factor, -mean * factor * gain


@dataclass(frozen=True, eq=False)
class NormReading:
    """What a norm reads, and what is known of it.

    Attributes:
        draft: the plan.
        group: the norm's group of neurons.
        parameters: its gain and running statistics.
        values: what each of its blocks reads.
        sources: of every value, the nodes in the shape of the norm's own; -1 where it has none.
        name: of its layer.
        layer_settings: activation, offset, bias and the like, of the last layer.
    """

    draft: PlanDraft
    group: NodeGroup
    parameters: NormParameters
    values: Sequence[UnitValue]
    sources: Sequence[np.ndarray]
    name: str
    layer_settings: dict

    @property
    def gains(self) -> np.ndarray | None:
        """Places of the gains, along the channels."""
        gain = self.parameters.gain
        return None if gain is None else along_axis(gain, self.group.axis)

    def read_by(self, layer: int, targets: np.ndarray, **edges) -> None:
        """Adds edges from all that is read."""
        for value, own in zip(self.values, self.sources, strict=True):
            bundle = SingleEdges(value.layer, layer, sources=own, targets=targets, **edges)
            self.draft.bundles.append(bundle)


def add_norm(
    draft: PlanDraft,
    group: NodeGroup,
    *,
    blocks: Sequence[EdgeBlock],
    read: Sequence[UnitValue],
    name: str,
    layer_settings: dict,
) -> int:
    """The layers of a norm; the number of the last.

    Args:
        draft: the plan.
        group: the norm's group of neurons.
        blocks: the edges into it.
        read: what each of the blocks reads.
        name: of the layer.
        layer_settings: activation, offset, bias and the like, of the last layer.

    Raises:
        NNGraphsError: the norm's statistics are those of a batch.
    """
    parameters = NormParameters.of_blocks(blocks, group.width)
    kind = EdgeKind.CONSTANT if parameters.gain is None else EdgeKind.GAIN
    carriers = [
        (block, value) for block, value in zip(blocks, read, strict=True) if block.kind is kind
    ]
    if parameters.mean is None:
        carriers = [(block, without_zeros(draft, value, name)) for block, value in carriers]
    values, sources = [value for _, value in carriers], _whole(group, carriers)
    reading = NormReading(draft, group, parameters, values, sources, name, layer_settings)
    if parameters.mean is not None:
        return _folded(reading)
    if group.rule.kind == "batch":
        raise NNGraphsError(
            "extract a graph at the level 'unit'",
            found=f"{name} has no running statistics: samples of a batch change each other.",
            do="Use a norm with track_running_stats=True, or the level 'neuron'.",
        )
    sets = _sets(group.rule, sources[0].shape, group.axis)
    if group.rule.kind in ("softmax", "log_softmax"):
        settings = {"is_log": group.rule.kind == "log_softmax", **layer_settings}
        return soft_layer(draft, values, sources, sets, name=name, **settings)
    return _by_sets(reading, sets)


def _folded(reading: NormReading) -> int:
    """One edge into each node."""
    draft, group = reading.draft, reading.group
    factor, shift = reading.parameters.folded(draft.params, group.rule.eps)
    bias = reading.layer_settings.get("bias")
    settings = {**reading.layer_settings, "bias": shift if bias is None else bias + shift}
    layer = draft.new_layer(reading.name, "sum", reading.sources[0].shape, **settings)
    factors = along_axis(factor, group.axis)
    reading.read_by(layer, draft.ids(layer), ids=reading.gains, factors=factors)
    return layer


def _by_sets(reading: NormReading, sets: np.ndarray) -> int:
    """`gain * (x - mean) * inverse deviation + bias` over every set of elements."""
    draft, name, gains = reading.draft, reading.name, reading.gains
    count, eps = int(sets.max()) + 1, reading.group.rule.eps
    if reading.group.rule.kind == "rms":
        mean, kind = None, "inverse_root_mean_square"
    else:
        mean, kind = draft.new_layer(f"{name}/mean", "sum", (count,)), "inverse_deviation"
        reading.read_by(mean, draft.ids(mean)[sets], factors=count / sets.size)
    spread = draft.new_layer(f"{name}/{kind}", kind, (count,), setting=eps)
    reading.read_by(spread, draft.ids(spread)[sets])
    layer = draft.new_layer(name, "product", sets.shape, **reading.layer_settings)
    ids = draft.ids(layer)
    reading.read_by(layer, ids, ids=gains)
    if mean is not None:
        means = {"sources": draft.ids(mean)[sets], "targets": ids, "factors": -1.0}
        draft.bundles.append(SingleEdges(mean, layer, ids=gains, **means))
    spreads = draft.ids(spread)[sets]
    draft.bundles.append(SingleEdges(spread, layer, 1, sources=spreads, targets=ids))
    return layer


def _whole(group: NodeGroup, carriers: Sequence[tuple[EdgeBlock, UnitValue]]) -> list[np.ndarray]:
    """What each block reads, in the shape of the norm's value, -1 where it reads nothing."""
    found = []
    for block, value in carriers:
        if block.num_targets == group.width:
            found.append(value.ids)
            continue
        shape = list(value.shape)
        shape[group.axis] = group.width
        ids = np.full(shape, -1, dtype=value.ids.dtype)
        index = [slice(None)] * len(shape)
        index[group.axis] = slice(block.first_target, block.first_target + block.num_targets)
        ids[tuple(index)] = value.ids
        found.append(ids)
    return found


def _sets(rule: Normalization, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Which set of elements, that are normalised together, each element belongs to."""
    kept = [1] * len(shape)
    channels = axis % len(shape)
    if rule.kind == "group":
        numbers = np.arange(shape[channels]) // (shape[channels] // rule.num_groups)
        numbers = along_axis(numbers, axis)
        if channels:
            samples = np.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1))
            numbers = samples * rule.num_groups + numbers
        return np.broadcast_to(numbers, shape)
    if rule.kind == "instance":
        kept[0], kept[channels] = shape[0], shape[channels]
    else:
        kept = [1 if n == channels else size for n, size in enumerate(shape)]
    return np.broadcast_to(np.arange(np.prod(kept, dtype=np.int64)).reshape(kept), shape)
