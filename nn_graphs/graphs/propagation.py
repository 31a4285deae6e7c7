"""Run networks of any kind that neural graphs show, group by group, along their edges.

Everything with a parameter is read from the graph: a group's blocks of edges carry the values of
the groups before, each through its matrix, kernel or diagonal; what arrives is added up (or put
together by the group's rule), and the neurons' own features are the biases.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.neural_graph import NeuralGraphStack, NeuronKind
from nn_graphs.graphs.parts.groups import EdgeBlock, NodeGroup
from nn_graphs.graphs.parts.rules import EdgeKind, Normalization, OneHot, along, placed
from nn_graphs.graphs.template import GraphTemplate

STATISTICS = (EdgeKind.MEAN, EdgeKind.VARIANCE)


def propagate(graphs: NeuralGraphStack, *inputs: Tensor) -> list[Tensor]:
    """The values of every group of neurons, `[B, ...]` each, as the modules arrange them.

    Args:
        graphs: networks as their template shows them (kernels of their own sizes).
        inputs: what the modules take; every network sees the same.

    Raises:
        NNGraphsError: the networks take another number of inputs, or hold attention or recurrence.
    """
    template = graphs.template
    if not template.is_runnable:
        raise NNGraphsError(
            "run networks along the edges of their graphs",
            found="they hold attention or recurrent layers, whose places the graph does not tell.",
            do="Run the module itself, on template.parameters.unflatten(graphs.params[0]).",
        )
    num_inputs = sum(group.kind is NeuronKind.INPUT for group in template.groups)
    if len(inputs) != num_inputs:
        raise NNGraphsError(
            f"run networks of {num_inputs} inputs",
            found=f"{len(inputs)} tensors are given.",
            do="Pass what the modules take.",
        )

    def values_of(nodes: Tensor, edges: Tensor) -> tuple[Tensor, ...]:
        return tuple(_group_values(template, nodes, edges, inputs))

    features = graphs.node_features.squeeze(-1), graphs.edge_features.squeeze(-1)
    return list(torch.func.vmap(values_of, randomness="error")(*features))


def module_outputs(graphs: NeuralGraphStack, *inputs: Tensor) -> list[Tensor]:
    """What the networks put out, `[B, ...]` each, in the order of the modules' outputs."""
    values = propagate(graphs, *inputs)
    groups = graphs.template.groups
    return [v for v, group in zip(values, groups, strict=True) if group.kind is NeuronKind.OUTPUT]


def _group_values(
    template: GraphTemplate, nodes: Tensor, edges: Tensor, inputs: Sequence[Tensor]
) -> list[Tensor]:
    """The values of every group of one network."""
    waiting, values = list(inputs), []
    arriving = defaultdict(list)
    for block in template.blocks:
        arriving[block.target].append(block)
    for number, group in enumerate(template.groups):
        if group.kind is NeuronKind.INPUT:
            given = waiting.pop(0)
            is_token = not given.is_floating_point()
            values.append(F.one_hot(given, group.width).to(nodes) if is_token else given)
            continue
        if isinstance(group.rule, OneHot):
            values.append(group.rule([], {}, group.axis).to(nodes))
            continue
        total = _arrived(group, arriving[number], template.groups, values, edges)
        bias = along(group.axis, nodes[group.start : group.stop])
        values.append(group.activation(total + bias) + group.offset)
    return values


def _arrived(
    group: NodeGroup,
    blocks: Sequence[EdgeBlock],
    groups: Sequence[NodeGroup],
    values: Sequence[Tensor],
    edges: Tensor,
) -> Tensor:
    """What reaches a group along its edges, put together by its rule."""
    arguments: dict[int, Tensor] = {}
    statistics: dict[EdgeKind, Tensor] = {}
    for block in blocks:
        weights = edges[block.first_value : block.last_value]
        is_apart = isinstance(group.rule, Normalization) and not block.kind.is_carrier
        if is_apart:
            own = placed(weights, -1, first=block.first_target, width=group.width)
            statistics[block.kind] = statistics.get(block.kind, 0) + own
        if block.kind in STATISTICS:
            continue
        read = _read(block, groups[block.source], values[block.source])
        message = read if is_apart else _message(block, group, read, weights)
        if not block.is_dense:
            message = placed(message, group.axis, first=block.first_target, width=group.width)
        have = arguments.get(block.argument)
        arguments[block.argument] = message if have is None else have + message
    return group.rule([arguments[n] for n in sorted(arguments)], statistics, group.axis)


def _read(block: EdgeBlock, source: NodeGroup, values: Tensor) -> Tensor:
    """The values of the neurons that a block reads, after its steps."""
    if block.num_sources != source.width:
        values = values.narrow(source.axis, block.first_source, block.num_sources)
    for step in block.steps:
        values = step(values)
    return values


def _message(block: EdgeBlock, target: NodeGroup, read: Tensor, weights: Tensor) -> Tensor:
    """What a block makes of the values it reads."""
    if not block.is_dense:
        if block.joins is not None:
            read = read.index_select(target.axis, torch.tensor(block.joins[0]).to(read.device))
        return read * along(target.axis, weights)
    rows, columns = block.num_targets, block.num_sources // block.num_groups
    if block.is_transposed:
        rows, columns = block.num_sources, block.num_targets // block.num_groups
    if block.convolution is not None:
        return block.convolution(read, weights.reshape(rows, columns, *block.kernel))
    matrix = weights.reshape(rows, columns * block.num_positions)
    return F.linear(read, matrix.T if block.is_transposed else matrix)
