"""Structures, and networks of them written plainly: one product per pair of layers."""

from collections.abc import Callable

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.structure.framing import frame
from nn_graphs.structure.layered_graph import LayeredGraph


def small_world(num_nodes: int, *, degree: int = 4, rewiring: float = 0.5, seed: int = 0):
    graph = nx.watts_strogatz_graph(num_nodes, degree, rewiring, seed=seed)
    return LayeredGraph.from_networkx(graph)


def random_structure(seed: int) -> LayeredGraph:
    """With layers of the longest path, or given ones in which nodes may start or end anywhere."""
    rng = np.random.default_rng(seed)
    number = int(rng.integers(2, 16))
    sources, targets = np.triu_indices(number, 1)
    is_edge = rng.random(len(sources)) < rng.choice([0.1, 0.3, 0.8])
    names = rng.permutation(number)
    ends = names[sources[is_edge]], names[targets[is_edge]]
    layers = np.argsort(names) // 2 if seed % 2 else None
    if layers is not None:
        is_forward = layers[ends[0]] < layers[ends[1]]
        ends = ends[0][is_forward], ends[1][is_forward]
    return LayeredGraph.from_edges(*ends, number, layers=layers)


def layers_of_pairs(
    structure: LayeredGraph, num_inputs: int | None, num_outputs: int | None, network: DAGNetwork
) -> list[dict[int, Tensor]]:
    """For every layer behind the first, a matrix from each earlier one, out of a network's own."""
    framed = frame(structure, num_inputs, num_outputs)
    sizes = framed.layer_sizes.tolist()
    pairs = []
    for number, layer in enumerate(network.layers, 1):
        reads = network.reading.layers[number - 1]
        parts = layer.weight.split([sizes[read] for read in reads], 1)
        own = {}
        for read, part in zip(reads, parts, strict=True):
            mask = torch.from_numpy(framed.mask([read], number))
            assert (part[~mask] == 0).all()
            if mask.any():
                own[read] = part * mask
        pairs.append(own)
    return pairs


def outputs_of_pairs(
    inputs: Tensor, network: DAGNetwork, pairs: list[dict[int, Tensor]], activation: Callable
) -> Tensor:
    """The formula of the paper, pair by pair of layers."""
    values = [inputs]
    for number, own in enumerate(pairs):
        total = network.layers[number].bias.expand(len(inputs), -1)
        for read, weight in own.items():
            total = total + values[read] @ weight.T
        is_last = number == len(pairs) - 1
        values.append(total if is_last else activation(total))
    return values[-1]
