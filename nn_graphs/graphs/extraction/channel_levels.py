"""The levels of neurons and layers: the groups and blocks of a template, whatever the places."""

from collections.abc import Sequence

import numpy as np

from nn_graphs.graphs.extraction.block_weights import weight_places
from nn_graphs.graphs.extraction.edge_bundles import EdgeBundle, KernelEdges, SingleEdges
from nn_graphs.graphs.extraction.graph_plan import GraphPlan, PlanDraft
from nn_graphs.graphs.extraction.layer_names import group_names
from nn_graphs.graphs.extraction.node_layers import NODE_KINDS
from nn_graphs.graphs.extraction.unit_norms import NormParameters
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock, EdgeKind
from nn_graphs.graphs.parts.group_rules import Normalization, OneHot
from nn_graphs.graphs.parts.node_groups import NeuronKind, NodeGroup


def neuron_plan(template: GraphTemplate, params: np.ndarray) -> GraphPlan:
    """The plan of the graph of channels.

    One edge joins two channels, whatever the kernel between them; pooling and all that acts on
    every channel alone is no node. A norm that goes over channels is told by its kind, "norm".
    """
    draft, names = PlanDraft(params), group_names(template)
    for group, name in zip(template.groups, names, strict=True):
        _add_channels(draft, template, group, name)
    for block in template.blocks:
        if block.kind not in (EdgeKind.MEAN, EdgeKind.VARIANCE):
            draft.bundles.append(_edges(draft, template, block))
    return draft.finished("neuron", template.parameters)


def layer_plan(template: GraphTemplate, params: np.ndarray) -> GraphPlan:
    """The plan of the graph of layers: a node for each, an edge where one reads another.

    An edge's weight is the root of the summed squares of its block's weights, or else the constant.
    """
    draft, names = PlanDraft(params), group_names(template)
    for group, name in zip(template.groups, names, strict=True):
        settings = {"activation": group.activation, "offset": group.offset}
        is_output = group.kind is NeuronKind.OUTPUT
        draft.new_layer(name, kind_of(group), (1,), is_output=is_output, **settings)
    joined: dict[tuple[int, int, int], list[EdgeBlock]] = {}
    for block in template.blocks:
        if block.kind not in (EdgeKind.MEAN, EdgeKind.VARIANCE):
            joined.setdefault((block.target, block.source, block.argument), []).append(block)
    for (target, source, argument), blocks in joined.items():
        draft.bundles.append(_layer_edge(draft, (source, target, argument), blocks))
    return draft.finished("layer", template.parameters)


def kind_of(group: NodeGroup) -> str:
    """What the nodes of a group do with what arrives."""
    if group.kind is NeuronKind.INPUT:
        return "input"
    name = type(group.rule).__name__.lower()
    if isinstance(group.rule, OneHot):
        return "constant"
    if isinstance(group.rule, Normalization):
        return "norm"
    assert name in NODE_KINDS
    return name


def _add_channels(draft: PlanDraft, template: GraphTemplate, group: NodeGroup, name: str) -> None:
    """A layer of one node a channel; norms with running statistics are sums."""
    kind, bias, ids = kind_of(group), None, None
    if group.bias is not None:
        ids = np.arange(group.bias.offset, group.bias.stop)
        bias = draft.params[ids]
    parameters = _norm_parameters(template, group)
    if parameters is not None and parameters.mean is not None:
        _, shift = parameters.folded(draft.params, group.rule.eps)
        kind, bias = "sum", shift if bias is None else bias + shift
    draft.new_layer(
        name,
        kind,
        (group.width,),
        activation=group.activation,
        offset=group.offset,
        bias=bias,
        bias_ids=ids,
        is_output=group.kind is NeuronKind.OUTPUT,
    )


def _norm_parameters(template: GraphTemplate, group: NodeGroup) -> NormParameters | None:
    if not isinstance(group.rule, Normalization):
        return None
    blocks = [block for block in template.blocks if template.groups[block.target] is group]
    return NormParameters.of_blocks(blocks, group.width)


def _edges(draft: PlanDraft, template: GraphTemplate, block: EdgeBlock) -> EdgeBundle:
    """The edges of a block, a kernel or many positions being one of them."""
    common = {
        "source_layer": block.source,
        "target_layer": block.target,
        "argument": block.argument,
        "parameter": None if block.weight is None else block.weight.name,
        "first_parameter": 0 if block.weight is None else block.weight.offset,
        "kernel": block.kernel,
    }
    firsts = draft.layers[block.source].start, draft.layers[block.target].start
    if not block.is_dense:
        ends = (end.numpy() + first for end, first in zip(block.ends(), firsts, strict=True))
        sources, targets = (end.astype(np.int32) for end in ends)
        return SingleEdges(
            **common,
            sources=sources,
            targets=targets,
            **_single_weights(draft, template, block),
        )
    sources = firsts[0] + block.first_source + np.arange(block.num_sources, dtype=np.int32)
    targets = firsts[1] + block.first_target + np.arange(block.num_targets, dtype=np.int32)
    return KernelEdges(
        **common,
        sources=sources.reshape(block.num_groups, 1, -1),
        targets=targets.reshape(block.num_groups, -1, 1),
        weights=weight_places(block, are_positions_apart=False),
        num_values=block.num_positions * block.kernel_size,
    )


def _single_weights(draft: PlanDraft, template: GraphTemplate, block: EdgeBlock) -> dict:
    """The weights of edges one by one: gains, divided by running deviations; else constants."""
    group = template.groups[block.target]
    factors: np.ndarray | float = block.constant if block.weight is None else 1.0
    parameters = _norm_parameters(template, group)
    if parameters is not None and parameters.mean is not None:
        factor, _ = parameters.folded(draft.params, group.rule.eps)
        own = slice(block.first_target, block.first_target + block.num_targets)
        factors = factor[own] * factors
    if block.weight is None:
        return {"ids": None, "factors": factors}
    first = block.weight.offset + (block.columns[0] if block.columns else 0)
    return {"ids": np.arange(first, first + block.num_targets), "factors": factors}


def _layer_edge(
    draft: PlanDraft, ends: tuple[int, int, int], blocks: Sequence[EdgeBlock]
) -> SingleEdges:
    """The edge between two layers."""
    source, target, argument = ends
    squares, weight = 0.0, blocks[0].constant
    slots = [block.weight for block in blocks if block.weight is not None]
    for slot in slots:
        squares += float((draft.params[slot.offset : slot.stop] ** 2).sum())
    return SingleEdges(
        source,
        target,
        argument,
        parameter=slots[0].name if slots else None,
        first_parameter=slots[0].offset if slots else 0,
        kernel=blocks[0].kernel,
        sources=draft.ids(source),
        targets=draft.ids(target),
        factors=squares**0.5 if slots else weight,
    )
