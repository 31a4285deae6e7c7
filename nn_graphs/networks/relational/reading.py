"""The relational graph of a network, read out of its masks."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.masked import MaskedLayer
from nn_graphs.networks.relational.partition import group_sizes
from nn_graphs.structure.adjacency import Adjacency


def read_relational_graph(network: nn.Module, num_nodes: int) -> Adjacency:
    """The one graph that all masked layers of a network follow.

    Masks alone do not say how many nodes there are: channels of two nodes with the same neighbours
    look like those of one. Layers with fewer channels than nodes follow a smaller graph and are
    left out.

    Args:
        network: any module with masked layers.
        num_nodes: nodes of the graph.

    Returns:
        The adjacency matrix, without self loops.

    Raises:
        NNGraphsError: there is no masked layer with enough channels; a mask is not made of whole
            nodes, or a node does not hear itself; or two layers follow different graphs.
    """
    asked = f"read a relational graph of {num_nodes} nodes out of a {type(network).__name__}"
    first_name, first = None, None
    for name, layer in _layers(network, num_nodes):
        messages = _messages(name, layer, num_nodes, asked)
        if first is None:
            first_name, first = name, messages
        elif not np.array_equal(first, messages):
            raise NNGraphsError(
                asked,
                found=f"the layers {first_name} and {name} follow different graphs.",
                do="Read them one by one: pass a layer as the network.",
            )
    if first is None:
        raise NNGraphsError(
            asked,
            found="it has no masked layer with so many channels.",
            do="Give the number of nodes of the graph that the network was made from.",
        )
    return first & ~np.eye(num_nodes, dtype=bool)


def _layers(network: nn.Module, num_nodes: int) -> Iterator[tuple[str, MaskedLayer]]:
    for name, module in network.named_modules():
        if isinstance(module, MaskedLayer) and min(module.weight.shape[:2]) >= num_nodes:
            yield name, module


def _messages(name: str, layer: MaskedLayer, num_nodes: int, asked: str) -> Bool[np.ndarray, "n n"]:
    """Who hears whom, in one layer."""
    mask = layer.mask.detach().cpu().numpy()
    counts = mask.reshape(*mask.shape[:2], -1).sum(-1)
    for axis, channels in enumerate(mask.shape[:2]):
        starts = np.cumsum([0, *group_sizes(channels, num_nodes)[:-1]])
        counts = np.add.reduceat(counts, starts, axis=axis)
    sizes = [group_sizes(channels, num_nodes) for channels in mask.shape[:2]]
    whole = np.outer(*sizes) * (mask.size // (mask.shape[0] * mask.shape[1]))
    messages = counts == whole
    is_partial = ~messages & (counts > 0)
    if is_partial.any() or not messages.diagonal().all():
        node = np.argwhere(is_partial)
        found = (
            f"the mask of {name} connects nodes {node[0, 0]} and {node[0, 1]} only in part."
            if len(node)
            else f"in the mask of {name}, not every node hears itself."
        )
        raise NNGraphsError(
            asked, found=found, do="Give a network made from a graph with that number of nodes."
        )
    return messages
