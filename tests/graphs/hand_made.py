"""Neural graphs put down edge by edge, such as no network has."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nn_graphs.graphs.graph_structure import GraphStructure
from nn_graphs.graphs.neural_graph import NeuralGraph


def hand_made(
    num_nodes: int, edges: Sequence[tuple[int, int]], weights: Sequence[float] | Tensor = ()
) -> NeuralGraph:
    """A graph in float64; without weights, all are 1. Each neuron is a layer of its own."""
    zeros = torch.zeros(num_nodes, dtype=torch.long)
    structure = GraphStructure(
        edge_index=torch.tensor(list(edges), dtype=torch.long).reshape(-1, 2).T,
        layer_id=torch.arange(num_nodes),
        kind_id=zeros,
        neuron_id=torch.arange(num_nodes),
        activation_id=zeros,
        activation_parameter=zeros.double(),
        offset=zeros.double(),
        has_bias=zeros.bool(),
        edge_kind_id=torch.zeros(len(edges), dtype=torch.long),
        position_id=torch.zeros(len(edges), dtype=torch.long),
    )
    values = torch.ones(len(edges)) if len(weights) == 0 else torch.as_tensor(weights)
    return NeuralGraph.make(
        structure,
        node_features=torch.zeros(num_nodes, 1, dtype=torch.float64),
        edge_features=values.double().reshape(-1, 1),
    )


def random_graph(num_nodes: int, num_edges: int, *, seed: int = 0) -> NeuralGraph:
    """Normal weights on edges between random neurons, from one to a later one."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.combinations(torch.arange(num_nodes))
    chosen = torch.randperm(len(pairs), generator=generator)[:num_edges]
    weights = torch.randn(num_edges, dtype=torch.float64, generator=generator)
    return hand_made(num_nodes, pairs[chosen].tolist(), weights)
