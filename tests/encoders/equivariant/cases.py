"""Architectures of every kind of symmetry, and the equivariant maps that they have, counted."""

from collections.abc import Callable

import torch
from jaxtyping import Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from nn_graphs.graphs.builder import template_from_spec, without_fixed_neurons
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.symmetry import SymmetryElement, apply_to_graphs, sample_symmetries
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from tests.encoders.cases import RELU, TANH, TEMPLATES, inr
from tests.graphs.architectures import ARCHITECTURES


def residual(width: int) -> GraphTemplate:
    """A skip around a weight, whose rows and columns so move together."""
    layers = (LayerSpec(width, TANH), LayerSpec(width, RELU, skips=(1,)), LayerSpec(2))
    return template_from_spec(NetworkSpec(2, layers))


def traced(name: str) -> GraphTemplate:
    architecture = ARCHITECTURES[name]
    return trace(architecture.module(), architecture.example())


def skip_to_more() -> GraphTemplate:
    """Four of six neurons move with those of the layer before."""
    layers = (LayerSpec(4, TANH), LayerSpec(6, RELU, skips=(1,)), LayerSpec(2))
    return template_from_spec(NetworkSpec(1, layers))


def both(cases: dict[str, Callable[[], GraphTemplate]]) -> dict[str, Callable[[], GraphTemplate]]:
    """Every architecture twice: with its own symmetries, and without fixed neurons."""
    free = {
        f"{name}, all free": lambda make=make: without_fixed_neurons(make())
        for name, make in cases.items()
    }
    return cases | free


CASES: dict[str, Callable[[], GraphTemplate]] = {
    **TEMPLATES,
    "one output": lambda: inr(2, 3, 3, 1),
    "width one": lambda: inr(1, 1, 3, 1),
    "residual": lambda: residual(4),
    "skip to more": skip_to_more,
    "skip from the input": lambda: traced("skip from the input"),
    "two inputs": lambda: traced("two inputs"),
    "tied parameters": lambda: traced("tied parameters"),
}
ALL = both(CASES)


def permutations(template: GraphTemplate, count: int) -> SymmetryElement:
    generator = torch.Generator().manual_seed(3)
    return sample_symmetries(
        template, count, kinds=["permutation"], generator=generator, dtype=torch.float64
    )


def moves(template: GraphTemplate, count: int = 12) -> Int[Tensor, "count places"]:
    """Random permutations of all biases and weights: place i gets what was at `moves[i]`."""
    structure = template.structure()
    is_parameter = torch.cat([structure.has_bias, structure.edge_kind_id == 0])
    places = torch.cumsum(is_parameter, 0).double() - 1
    nodes, edges = (
        part.expand(count, -1).unsqueeze(-1)
        for part in places.split([template.num_nodes, template.num_edges])
    )
    stack = NeuralGraphStack(template, nodes, edges)
    moved = apply_to_graphs(template, stack, permutations(template, count))
    values = torch.cat([moved.node_features, moved.edge_features], dim=1).squeeze(-1)
    return values[:, is_parameter].long()


def num_equivariant_maps(template: GraphTemplate) -> int:
    """The dimension of the space of equivariant linear maps: orbits of pairs of places."""
    elements = moves(template)
    size = elements.shape[1]
    pairs = torch.arange(size**2).unflatten(0, (size, size))
    moved = torch.cat([pairs[element][:, element].flatten() for element in elements])
    starts = pairs.flatten().repeat(len(elements))
    graph = coo_matrix((torch.ones(len(moved)), (starts, moved)), shape=(size**2, size**2))
    return connected_components(graph, directed=False)[0]
