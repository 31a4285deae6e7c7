"""Largest eigenvalues of normalised adjacency matrices, and their vectors, of many small graphs.

Normalised is `D^(-1/2) A D^(-1/2)`, one minus the Laplacian. Its trivial eigenvectors, `D^(1/2)` on
each connected component, are known, and moved below all others before any solver runs.

Where neurons stand on two sides, as those of even and odd layers without skips do, the matrix is
`[[0, B], [B^T, 0]]`: each singular value s of B, with its vectors u and v, is an eigenvalue s with
`(u, v) / sqrt(2)`, and `B B^T` is a fourth as large. Values near 0 would be told by their squares,
and the eigenvalue 0 itself has vectors that no product shows: graphs in which these are asked for
are solved as a whole.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.graphs.undirected_graphs import UndirectedGraphs

AWAY = 3.0  # by how much trivial eigenvectors are moved; all others lie within 2
IS_MOVED = -1.5  # below it lie those alone
LEAST_SINGULAR = 1e-3  # whose square, and so its vectors, are told to 1e-9


def largest_eigenvectors(
    graphs: UndirectedGraphs, count: int
) -> tuple[Float[Tensor, "graphs found"], Float[Tensor, "graphs n found"]]:
    """Eigenvalues from the largest on and their vectors, trivial ones last, moved below `IS_MOVED`.

    Args:
        graphs: whose.
        count: how many; all where there are fewer.
    """
    sides = graphs.joined.sides
    if sides is None or len(sides[0]) < count:
        return _of_whole(graphs, count)
    values, vectors = _of_sides(graphs, count)
    is_open = ~(values[:, -1] > LEAST_SINGULAR)
    if is_open.any():
        values[is_open], vectors[is_open] = _of_whole(graphs.of(is_open), count)
    return values, vectors


def normalised(
    adjacency: Float[Tensor, "graphs n n"], degree: Float[Tensor, "graphs n"]
) -> Float[Tensor, "graphs n n"]:
    """`D^(-1/2) A D^(-1/2)`, zeros where a node has no edge."""
    scale = _inverse_roots(degree)
    return adjacency * scale.unsqueeze(1) * scale.unsqueeze(2)


def trivial_vectors(
    graphs: UndirectedGraphs, degree: Float[Tensor, "graphs n"]
) -> tuple[Tensor, Float[Tensor, "graphs n"]]:
    """The component of each node, and the trivial eigenvectors of all components, added up."""
    labels = graphs.components()
    mass = torch.where(degree > 0, degree, 1.0)  # a node without edges is all of its component
    of_node = labels.expand_as(mass)
    total = torch.zeros_like(mass).scatter_add_(1, of_node, mass)
    return labels, (mass / total.gather(1, of_node)).sqrt()


def _of_whole(graphs: UndirectedGraphs, count: int) -> tuple[Tensor, Tensor]:
    adjacency = graphs.matrices()
    degree = adjacency.sum(-1)
    moved = _moved(*trivial_vectors(graphs, degree))
    return _last(normalised(adjacency, degree) - moved, count)


def _of_sides(graphs: UndirectedGraphs, count: int) -> tuple[Tensor, Tensor]:
    """Of the square of the smaller side; vectors of small singular values are not told well."""
    one, other = graphs.joined.sides
    between = graphs.matrices_of_sides()
    order = torch.cat([one, other])
    by_side = between.sum(2), between.sum(1)
    scale_one, scale_other = map(_inverse_roots, by_side)
    between = between * scale_one.unsqueeze(2) * scale_other.unsqueeze(1)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    labels, trivial = trivial_vectors(graphs, torch.cat(by_side, dim=1)[:, place])
    # Of a component with edges, either side has half of the vector's length.
    trivial = trivial[:, one] * torch.where(by_side[0] > 0, math.sqrt(2), 1.0)
    squares = between @ between.mT - _moved(labels[:, one], trivial)
    values, lengths = _last(squares, count)
    roots = values.clamp_min(0).sqrt()
    opposite = between.mT @ lengths / roots.clamp_min(LEAST_SINGULAR).unsqueeze(1)
    vectors = torch.cat([lengths, opposite], dim=1)[:, place] * math.sqrt(0.5)
    return torch.where(values > IS_MOVED, roots, values), vectors


def _moved(labels: Tensor, trivial: Float[Tensor, "graphs n"]) -> Float[Tensor, "graphs n n"]:
    """What is taken off a matrix, so that its trivial eigenvectors come last."""
    is_together = labels.unsqueeze(1) == labels.unsqueeze(2)
    return is_together * (AWAY * trivial).unsqueeze(1) * trivial.unsqueeze(2)


def _last(matrices: Float[Tensor, "graphs n n"], count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues, the largest first, and their vectors."""
    values, vectors = torch.linalg.eigh(matrices)
    return values[:, -count:].flip(-1), vectors[..., -count:].flip(-1)


def _inverse_roots(degree: Tensor) -> Tensor:
    return torch.where(degree > 0, degree, 1.0).rsqrt()
