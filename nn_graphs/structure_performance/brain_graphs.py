"""Connectomes as neural graphs, so that an encoder of networks embeds them too.

StructureReps names biological networks as an application that is left to come. Neurons (or regions)
are hidden neurons without a bias, all of one layer; an arc is an edge, whose weight is the
logarithm of one plus what the file counts (synapses), in units of its root mean square over the
connectome: 1 where nothing is counted. All are positive, as those of artificial networks are not.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from scipy import stats
from torch import Tensor, nn

from nn_graphs.encoders.features import GraphFeatures
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_structure import GraphStructure
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.parts.kernels import padded_kernels
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.networks.activations import Activation
from nn_graphs.structure.connectomes import Connectome
from nn_graphs.structure_performance.embedding_space import project
from nn_graphs.structure_performance.probes import Features

LAYER = 1  # behind the inputs, of which there are none


def connectome_graph(
    connectome: Connectome, *, kernel_size: Sequence[int] = (), scale: float = 1.0
) -> NeuralGraph:
    """The neural graph of a connectome.

    Args:
        connectome: its arcs, and perhaps their weights.
        kernel_size: of the encoder's edge features (`GraphDims.kernel_size`); weights lie in the
            middle of kernels, as those of linear maps do.
        scale: the root mean square of the weights; that of the hidden weights an encoder was
            trained on, so that it sees numbers of the size it knows.

    Raises:
        NNGraphsError: there are no arcs.
    """
    source, target = np.nonzero(connectome.adjacency)
    if not len(source):
        raise NNGraphsError(
            f"make a neural graph of the connectome {connectome.name!r}",
            found=f"none of its {len(connectome.adjacency)} nodes has an arc.",
            do="Leave it out.",
        )
    weights = scale * torch.from_numpy(_weights(connectome, source, target)).float().unsqueeze(-1)
    num_nodes = len(connectome.adjacency)
    edge_index = torch.from_numpy(np.stack([source, target]))
    graph = NeuralGraph.make(
        _structure(num_nodes, edge_index),
        node_features=torch.zeros(num_nodes, 1),
        edge_features=padded_kernels(weights, (), tuple(kernel_size)),
    )
    if kernel_size:
        graph.is_value = padded_kernels(torch.ones_like(weights), (), tuple(kernel_size)) > 0
    return graph


def weight_scale(encoder: nn.Module) -> float:
    """The root mean square of the weights into the first hidden layer that an encoder knows.

    1 where it measured none.
    """
    for part in encoder.modules():
        if isinstance(part, GraphFeatures):
            row = min(LAYER, len(part.weight_mean) - 1)
            return torch.hypot(part.weight_mean[row], part.weight_std[row]).item()
    return 1.0


def embed_graphs(encoder: nn.Module, graphs: Sequence[NeuralGraph]) -> Features:
    """The vectors of graphs of any size, one after the other, on the encoder's device.

    Args:
        encoder: has a method `embed`, as `VGAE` does.
        graphs: single ones.
    """
    device = next(encoder.parameters()).device
    was_training = encoder.training
    encoder.eval()
    with torch.no_grad():
        found = [encoder.embed(graph.clone().to(device)).cpu() for graph in graphs]
    encoder.train(was_training)
    return torch.cat(found).double().numpy()


def order_along(series: Features) -> float:
    """How far a series lies in order along the direction in which it spreads most.

    The absolute rank correlation of a network's number in the series with its place: 1 is in order,
    one way or the other. With eight of them, one order in 20 gives .74 or more by chance.

    Raises:
        NNGraphsError: there are fewer than three.
    """
    place = project(series)[:, 0]
    if not np.ptp(place):
        return 0.0
    return abs(float(stats.spearmanr(np.arange(len(place)), place).statistic))


def _weights(connectome: Connectome, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    if connectome.weights is None:
        return np.ones(len(source))
    logs = np.log1p(np.abs(connectome.weights[source, target]))
    size = np.sqrt(np.square(logs).mean())
    return logs / size if size else np.ones(len(source))


def _structure(num_nodes: int, edge_index: Int[Tensor, "2 num_edges"]) -> GraphStructure:
    numbers, edges = torch.arange(num_nodes), edge_index.shape[1]
    identity = Activation()
    return GraphStructure(
        edge_index=edge_index,
        layer_id=torch.full((num_nodes,), LAYER),
        kind_id=torch.full((num_nodes,), NeuronKind.HIDDEN.value),
        neuron_id=numbers,
        activation_id=torch.full((num_nodes,), identity.activation_id),
        activation_parameter=torch.full((num_nodes,), float(identity.parameter)),
        offset=torch.zeros(num_nodes),
        has_bias=torch.zeros(num_nodes, dtype=torch.bool),
        edge_kind_id=torch.zeros(edges, dtype=torch.long),
        position_id=torch.zeros(edges, dtype=torch.long),
    )
