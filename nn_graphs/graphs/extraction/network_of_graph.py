"""From an extracted graph back to a network: the third side of the round trip.

A unit graph of weighted sums and one activation is the graph of a `DAGNetwork`, which carries its
weights and biases. Convolutions become what they are as units: one weight an edge, not shared.
"""

import numpy as np
import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction.network_graph import NetworkGraph
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.structure.layered_graph import LayeredGraph

ASKED = "make a network of an extracted graph"
PLAIN = Activation()


def to_dag_network(graph: NetworkGraph) -> DAGNetwork:
    """A network of the graph's nodes and edges, with its weights and biases, in its precision.

    Its inputs are the nodes of the first layer, its outputs those of the last one. Edges of the
    same two nodes become one; nodes without edges keep their biases.

    Raises:
        NNGraphsError: the graph is of another level, a layer does something else than to add what
            arrives, hidden layers differ in activation, or outputs are not the last layer.
    """
    activation = _common_activation(graph)
    structure = LayeredGraph.from_edges(
        graph.source, graph.target, graph.num_nodes, layers=graph.layer_id()
    )
    network = DAGNetwork(structure, activation=activation)
    network = network.to(torch.from_numpy(graph.weight[:0]).dtype)
    place, layer_of_edge = np.zeros(graph.num_nodes, np.int64), structure.layers[graph.target]
    bias = graph.bias()
    with torch.no_grad():
        for number, (layer, reads) in enumerate(
            zip(network.layers, network.reading.layers, strict=True), 1
        ):
            nodes, columns = network.nodes_by_layer[number], place.copy()
            place[nodes] = np.arange(len(nodes))
            read = np.concatenate([network.nodes_by_layer[one] for one in reads])
            columns[read] = np.arange(len(read))
            own = layer_of_edge == number
            weight = np.zeros(tuple(layer.weight.shape), graph.weight.dtype)
            ends = place[graph.target[own]], columns[graph.source[own]]
            np.add.at(weight, ends, graph.weight[own])
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias[nodes]))
    return network


def _common_activation(graph: NetworkGraph) -> Activation:
    """That of all hidden layers, where the graph is one of plain networks."""
    last, kinds = graph.layers[-1], [layer.kind for layer in graph.layers]
    activations = list(dict.fromkeys(layer.activation for layer in graph.layers[1:-1]))
    names = ", ".join(one.name for one in activations)
    are_outputs = [layer.is_output for layer in graph.layers]
    is_last = [layer is last for layer in graph.layers]
    is_plain = kinds == ["input", *["sum"] * (len(kinds) - 1)] and len(kinds) > 1
    faults = {
        f"it is one of the level {graph.level!r}": graph.level != "unit",
        f"its layers are {', '.join(dict.fromkeys(kinds))}": not is_plain,
        f"activations of its hidden layers are {names}": len(activations) > 1,
        "a layer adds a constant at its end": any(layer.offset for layer in graph.layers),
        "its last layer has an activation": last.activation != PLAIN,
        "its outputs are not its last layer": are_outputs != is_last,
    }
    wrong = [fault for fault, is_there in faults.items() if is_there]
    if wrong:
        raise NNGraphsError(
            ASKED,
            found=f"{wrong[0]}.",
            do="Give a unit graph of one input, weighted sums and one activation, or run_graph it.",
        )
    return activations[0] if activations else PLAIN
