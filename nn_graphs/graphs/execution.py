"""Run the networks that neural graphs show, by passing messages along their edges.

This proves that a graph holds everything that its network computes, and gives the probe features:
the values of all neurons at chosen inputs. `execute` runs networks of linear maps, activations and
skips at points. `propagate` runs networks of any kind, in which a neuron may have values at many
places, group by group: a group's blocks of edges carry the values of the groups before, each
through its matrix, kernel or diagonal; what arrives is added up (or put together by the group's
rule), and the neurons' own features are the biases.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock, EdgeKind
from nn_graphs.graphs.parts.group_rules import Directions, Normalization, OneHot, along, placed
from nn_graphs.graphs.parts.node_groups import NeuronKind, NodeGroup
from nn_graphs.graphs.topology import EdgeListTopology, LayeredTopology
from nn_graphs.networks.activations import ACTIVATION_NAMES, ACTIVATIONS


def execute(
    graphs: NeuralGraph | NeuralGraphStack, inputs: Float[Tensor, "points num_inputs"]
) -> Float[Tensor, "*B num_nodes points"]:
    """The value of every neuron at each of the input points, activation and offset included.

    Args:
        graphs: a graph or a batch of any architectures, or a stack of one.
        inputs: points that every network sees; one column per input neuron.

    Raises:
        NNGraphsError: the points have another number of coordinates than the networks.
    """
    if isinstance(graphs, NeuralGraphStack):
        return _execute_stack(graphs, inputs)
    return _execute_edge_list(graphs, inputs)


def network_outputs(
    graphs: NeuralGraphStack, inputs: Float[Tensor, "points num_inputs"]
) -> Float[Tensor, "B points num_outputs"]:
    """What the networks of a stack put out at the input points."""
    values = execute(graphs, inputs)
    return values[:, graphs.structure.kind_id == NeuronKind.OUTPUT.value].transpose(1, 2)


def _execute_stack(graphs: NeuralGraphStack, inputs: Tensor) -> Tensor:
    """One batched matrix product per dense block."""
    if not graphs.template.is_plain:
        raise NNGraphsError(
            "run networks at points with one column per input neuron",
            found="they have kernels, norms or gates, or read parts of a layer.",
            do="Use nn_graphs.graphs.execution.propagate, with what the modules take.",
        )
    topology: LayeredTopology = graphs.topology
    _check_inputs(inputs, graphs.template.num_neurons(NeuronKind.INPUT))
    edges, biases = graphs.edge_features.squeeze(-1), graphs.node_features
    values: list[Tensor] = []  # per group [B, width, points]
    for number, group in enumerate(topology.groups):
        if group.kind is NeuronKind.INPUT:
            columns = inputs.T[group.first_neuron : group.first_neuron + group.width]
            values.append(columns.expand(len(graphs), -1, -1))
            continue
        total = biases[:, group.start : group.stop].expand(-1, -1, len(inputs))
        for block in topology.blocks_into(number):
            weights = edges[:, block.start : block.stop]
            sources = values[block.source][:, : block.num_sources]
            if block.is_dense:
                total = total + weights.unflatten(1, (block.num_targets, -1)) @ sources
            else:
                padding = (0, 0, 0, group.width - block.num_targets)
                product = weights.unsqueeze(-1) * sources
                total = total + torch.nn.functional.pad(product, padding)
        values.append(group.activation(total) + group.offset)
    return torch.cat(values, dim=1)


def _execute_edge_list(graphs: NeuralGraph, inputs: Tensor) -> Tensor:
    """Layer by layer: every edge carries its source's value times its weight to its target."""
    topology: EdgeListTopology = graphs.topology
    structure = topology.structure
    is_input = structure.kind_id == NeuronKind.INPUT.value
    _check_inputs(inputs, int(structure.neuron_id[is_input].max()) + 1)
    first = torch.where(is_input, structure.neuron_id, 0)
    values = torch.where(is_input.unsqueeze(1), inputs.T[first], 0.0)
    edge_layer = structure.layer_id[topology.target]
    for layer in range(1, int(structure.layer_id.max()) + 1):
        nodes = ((structure.layer_id == layer) & ~is_input).nonzero().squeeze(1)
        edges = (edge_layer == layer).nonzero().squeeze(1)
        messages = values[topology.source[edges]] * graphs.edge_features[edges]
        total = torch.zeros_like(values).index_add(0, topology.target[edges], messages)[nodes]
        total = total + graphs.node_features[nodes]
        activated = _activate(total, nodes, graphs) + structure.offset[nodes].unsqueeze(1)
        values = values.index_add(0, nodes, activated)
    return values


def _check_inputs(inputs: Tensor, num_inputs: int) -> None:
    if inputs.shape[1] != num_inputs:
        raise NNGraphsError(
            f"run networks of {num_inputs} inputs",
            found=f"the points have {inputs.shape[1]} coordinates.",
            do="Pass `[points, num_inputs]`, one column per input neuron of the largest network.",
        )


def _activate(total: Tensor, nodes: Tensor, graphs: NeuralGraph) -> Tensor:
    kinds = graphs.activation_id[nodes]
    parameter = graphs.activation_parameter[nodes].unsqueeze(1)
    activated = total
    for kind in kinds.unique().tolist():
        value = ACTIVATIONS[ACTIVATION_NAMES[kind]].apply(total, parameter)
        activated = torch.where((kinds == kind).unsqueeze(1), value, activated)
    return activated


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
        if isinstance(group.rule, Directions):
            weights = F.normalize(weights.view(group.width, -1), dim=1, eps=0).flatten()
        is_apart = isinstance(group.rule, Normalization) and not block.kind.is_carrier
        if is_apart:
            own = placed(weights, -1, first=block.first_target, width=group.width)
            statistics[block.kind] = statistics.get(block.kind, 0) + own
        if block.kind in STATISTICS:
            continue
        read = _read(block, groups[block.source], values[block.source])
        message = read if is_apart else _message(block, group, read, weights)
        if not block.is_dense and block.num_targets != group.width:
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
        message = read * along(target.axis, weights)
        is_total = block.is_bundle and block.num_targets == 1
        return message.sum(target.axis, keepdim=True) if is_total else message
    rows, columns = block.num_targets, block.num_sources // block.num_groups
    if block.is_transposed:
        rows, columns = block.num_sources, block.num_targets // block.num_groups
    if block.convolution is not None:
        return block.convolution(read, weights.reshape(rows, columns, *block.kernel))
    matrix = weights.reshape(rows, columns * block.num_positions)
    return F.linear(read, matrix.T if block.is_transposed else matrix)
