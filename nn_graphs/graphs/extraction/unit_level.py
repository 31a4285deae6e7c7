"""The unit level: every element of every value a node, layer by layer as a network runs."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction.axis_windows import (
    Window,
    convolution_window,
    convolved_sizes,
    point_window,
)
from nn_graphs.graphs.extraction.block_weights import weight_places
from nn_graphs.graphs.extraction.edge_bundles import DenseEdges, SingleEdges
from nn_graphs.graphs.extraction.graph_plan import GraphPlan, PlanDraft
from nn_graphs.graphs.extraction.layer_names import group_names
from nn_graphs.graphs.extraction.node_layers import along_axis
from nn_graphs.graphs.extraction.unit_norms import add_norm
from nn_graphs.graphs.extraction.unit_steps import behind_step, no_units
from nn_graphs.graphs.extraction.unit_values import UnitValue
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.group_rules import Choice, Normalization, OneHot, Product, Sum
from nn_graphs.graphs.parts.node_groups import NeuronKind, NodeGroup

KINDS = {Sum: "sum", Product: "product", Choice: "choice"}


def unit_plan(
    template: GraphTemplate, params: np.ndarray, shapes: Sequence[tuple[int, ...]]
) -> GraphPlan:
    """The plan of the unit graph of a network.

    Args:
        template: its architecture.
        params: its flat parameter vector.
        shapes: of its inputs, for one sample.

    Raises:
        NNGraphsError: the template does not tell which places meet (attention, recurrent layers),
            or has another number of inputs.
    """
    return _UnitLevel(template, params, shapes).plan()


class _UnitLevel:
    """Follows a template group by group."""

    def __init__(self, template: GraphTemplate, params: np.ndarray, shapes: Sequence):
        self.template, self.draft, self.waiting = template, PlanDraft(params), list(shapes)
        self.names = group_names(template)
        self.values: list[UnitValue] = []
        self.behind: dict[tuple, UnitValue] = {}
        self.arriving: dict[int, list[EdgeBlock]] = defaultdict(list)
        for block in template.blocks:
            self.arriving[block.target].append(block)

    def plan(self) -> GraphPlan:
        num_inputs = sum(group.kind is NeuronKind.INPUT for group in self.template.groups)
        if num_inputs != len(self.waiting):
            raise NNGraphsError(
                "extract a graph at the level 'unit'",
                found=f"{len(self.waiting)} inputs are given, {num_inputs} of which are neurons.",
                do="Choose the level 'neuron', 'layer' or 'module'.",
            )
        for number, group in enumerate(self.template.groups):
            self.values.append(self._value(number, group))
        return self.draft.finished("unit", self.template.parameters)

    def _value(self, number: int, group: NodeGroup) -> UnitValue:
        name, blocks = self.names[number], self.arriving[number]
        if group.kind is NeuronKind.INPUT:
            shape = self.waiting.pop(0)
            layer = self.draft.new_layer(name, "input", shape, axis=group.axis)
        elif isinstance(group.rule, OneHot):
            rows = group.rule([], {}, group.axis).numpy()
            layer = self.draft.constant_layer(name, rows)
        elif isinstance(group.rule, Normalization):
            read = [self._read(block) for block in blocks]
            given = {"blocks": blocks, "read": read, "name": name}
            settings = self._settings(group)
            layer = add_norm(self.draft, group, **given, layer_settings=settings)
        elif type(group.rule) in KINDS:
            layer = self._summed(group, blocks, name)
        else:
            raise no_units(type(group.rule).__name__.lower())
        return UnitValue.of_layer(self.draft.ids(layer), group.axis, group.width, layer)

    def _settings(self, group: NodeGroup) -> dict:
        """What a layer of nodes has from its group."""
        bias = ids = None
        if group.bias is not None:
            ids = np.arange(group.bias.offset, group.bias.stop)
            bias = self.draft.params[ids]
        return {
            "axis": group.axis,
            "activation": group.activation,
            "offset": group.offset,
            "bias": bias,
            "bias_ids": ids,
            "is_output": group.kind is NeuronKind.OUTPUT,
        }

    def _read(self, block: EdgeBlock) -> UnitValue:
        """What a block reads, behind its steps."""
        value, key, name = self.values[block.source], (block.source,), self.names[block.source]
        for step in block.steps:
            key = (*key, id(step))
            if key not in self.behind:
                self.behind[key] = behind_step(self.draft, value, step, name)
            value = self.behind[key]
        if block.num_sources != self.template.groups[block.source].width:
            value = value.chosen(block.first_source, block.num_sources)
        return value

    def _summed(self, group: NodeGroup, blocks: Sequence[EdgeBlock], name: str) -> int:
        """A layer that all of its blocks reach."""
        read = [self._read(block) for block in blocks]
        shapes = [
            _message_shape(block, group, value) for block, value in zip(blocks, read, strict=True)
        ]
        shape = np.broadcast_shapes(*shapes)
        kind = KINDS[type(group.rule)]
        layer = self.draft.new_layer(name, kind, shape, **self._settings(group))
        targets = self.draft.ids(layer)
        for block, value in zip(blocks, read, strict=True):
            add = _dense if block.is_dense else _single
            self.draft.bundles.append(add(block, group, value, layer, targets))
        return layer


def _message_shape(block: EdgeBlock, group: NodeGroup, value: UnitValue) -> tuple[int, ...]:
    """The shape of what a block brings to a group."""
    shape = list(value.shape)
    if block.convolution is not None:
        count = block.convolution.num_axes
        shape[-count:] = convolved_sizes(block.convolution, block.kernel, shape[-count:])
        shape[-1 - count] = block.num_targets
    elif block.is_dense:
        shape[-1] = block.num_targets
    elif block.joins is not None or block.num_targets != group.width:
        shape[group.axis] = group.width
    return tuple(shape)


def _dense(
    block: EdgeBlock, group: NodeGroup, value: UnitValue, layer: int, targets: np.ndarray
) -> DenseEdges:
    """The edges of a linear map or a convolution."""
    count = 0 if block.convolution is None else block.convolution.num_axes
    axis, sources = -1 - count, value.ids
    if count == 0:
        if targets.shape[-1] != block.num_targets:  # one channel that is added at every place
            sources, targets = sources[..., None, :], targets[..., None]
        sources = np.broadcast_to(sources, (*targets.shape[:-1], sources.shape[-1]))
    elif _message_shape(block, group, value) != targets.shape:
        raise no_units("a convolution that is added to larger maps")
    window = _window(block, sources.shape, targets.shape, count)
    groups = block.num_groups

    def arranged(ids: np.ndarray) -> np.ndarray:  # [groups, channels, places]
        ids = np.moveaxis(ids, axis, 0)
        return ids.reshape(groups, ids.shape[0] // groups, -1)

    return DenseEdges(
        source_layer=value.layer,
        target_layer=layer,
        argument=block.argument,
        parameter=block.weight.name,
        first_parameter=block.weight.offset,
        kernel=block.kernel,
        sources=arranged(sources),
        targets=arranged(targets),
        window=window,
        weights=weight_places(block, are_positions_apart=True),
    )


def _window(
    block: EdgeBlock, in_shape: Sequence[int], out_shape: Sequence[int], count: int
) -> Window:
    """Which places meet; all that stand before the channels and places are maps of their own."""
    if count == 0:
        places = math.prod(out_shape[:-1])
        return point_window().repeated(places, num_outputs=1, num_inputs=1)
    inner = in_shape[-count:], out_shape[-count:]
    window = convolution_window(block.convolution, block.kernel, *inner)
    maps = math.prod(out_shape[: -1 - count])
    sizes = {"num_outputs": math.prod(inner[1]), "num_inputs": math.prod(inner[0])}
    return window.repeated(maps, **sizes)


def _single(
    block: EdgeBlock, group: NodeGroup, value: UnitValue, layer: int, targets: np.ndarray
) -> SingleEdges:
    """Edges from each element to its own: skips, gates, gains, joins."""
    sources, axis = value.ids, group.axis
    if block.joins is not None:
        sources = np.take(sources, block.joins[0], axis=axis)
    elif block.num_targets != group.width:
        own = range(block.first_target, block.first_target + block.num_targets)
        targets = np.take(targets, own, axis=axis)
    shape = np.broadcast_shapes(sources.shape, targets.shape)
    ids, parameter = None, None
    if block.weight is not None:
        first = block.weight.offset + (block.columns[0] if block.columns else 0)
        ids = along_axis(np.arange(first, first + block.num_targets), axis)
        parameter = block.weight.name
    return SingleEdges(
        source_layer=value.layer,
        target_layer=layer,
        argument=block.argument,
        parameter=parameter,
        first_parameter=0 if block.weight is None else block.weight.offset,
        sources=np.broadcast_to(sources, shape),
        targets=np.broadcast_to(targets, shape),
        ids=ids,
        factors=1.0 if block.weight is not None else block.constant,
    )
