"""Run the networks that neural graphs show, by passing messages along their edges.

This proves that a graph holds everything that its network computes, and gives the probe features:
the values of all neurons at chosen inputs. Networks with kernels, norms or gates, in which a neuron
has values at many places, are run by `propagation`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.neural_graph import NeuralGraph, NeuralGraphStack, NeuronKind
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
            do="Use nn_graphs.graphs.propagation.propagate, with what the modules take.",
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
