"""Where a neuron is in its graph, told by the graph alone: Laplacian eigenvectors, random walks.

Dwivedi et al., JMLR 24 (2023), on Belkin and Niyogi, Neural Computation 15 (2003); and random
numbers, which tell nothing, to compare with. Both encodings read graphs without directions
(`undirected_graphs`). Two differences from the usual code: trivial eigenvectors, one for every
connected component, are known beforehand (`D^(1/2)` on the component) and moved out of the way, so
that none is lost or kept by rounding; and signs that are not drawn follow a rule that no order of
neurons changes.
"""

import math
from inspect import signature

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import sparse
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor
from torch.nn import functional as F

from nn_graphs.graphs.adjacency_spectra import (
    AWAY,
    IS_MOVED,
    largest_eigenvectors,
    normalised,
    trivial_vectors,
)
from nn_graphs.graphs.positional_encoding import PositionalEncoding
from nn_graphs.graphs.undirected_graphs import UndirectedGraphs
from nn_graphs.networks.classifiers.draws import joined, uniforms
from nn_graphs.ranges import Count, PositiveInt, in_ranges

SAME = 1e-5  # eigenvalues nearer to each other count as repeated, sums nearer to 0 as 0
NUM_COLUMNS = 256  # of powers of a large matrix, made at a time


@in_ranges
class LaplacianEncoding(PositionalEncoding):
    """Eigenvectors of the symmetric normalised Laplacian `1 - D^(-1/2) A D^(-1/2)`.

    Algorithm 1 of StructureReps: those of the smallest eigenvalues, in order, without the trivial
    ones: one of eigenvalue 0 for each connected component, a neuron without edges being one. There
    are `num_nodes - num_components` of them; columns beyond are 0. Graphs of `dense_below` neurons
    or more are solved by Lanczos iterations, which look at their edges alone.

    The vectors of a repeated eigenvalue span a space in which they stand anyhow. Networks are full
    of these: neurons of a layer are alike where weights do not count. So the encoding as published
    changes with the order of neurons; `is_equivariant` leaves such vectors, and those whose sign no
    rule can tell, as zeros.

    Args:
        num_features: how many eigenvectors, k.
        is_weighted, dense_below: see `PositionalEncoding`; T of the algorithm is `dense_below`.
        is_equivariant: neurons in another order have the same vectors, in that order.
    """

    def __init__(
        self,
        num_features: PositiveInt,
        *,
        is_weighted: bool = False,
        dense_below: Count = 512,
        is_equivariant: bool = False,
    ):
        super().__init__(num_features, is_weighted=is_weighted, dense_below=dense_below)
        self.is_equivariant = is_equivariant

    def _dense(
        self, graphs: UndirectedGraphs
    ) -> Float[Tensor, "num_graphs num_nodes num_features"]:
        # One more than is wanted tells whether the last one's eigenvalue is repeated.
        return self._chosen(*largest_eigenvectors(graphs, self.num_features + 1), graphs)

    def _sparse(self, graph: UndirectedGraphs) -> Float[Tensor, "1 num_nodes num_features"]:
        matrix, degree = _sparse_normalised(graph)
        labels, trivial = (each[0].cpu().numpy() for each in trivial_vectors(graph, degree))
        _, component = np.unique(labels, return_inverse=True)
        places = (np.arange(len(labels)), component)
        known = sparse.csr_array((trivial, places))  # [num_nodes, num_components]
        count = min(self.num_features + 1, graph.num_nodes - known.shape[1])
        if count < 1:
            return degree.new_zeros(1, graph.num_nodes, self.num_features)
        operator = LinearOperator(
            matrix.shape,
            matvec=lambda x: matrix @ x - AWAY * (known @ (known.T @ x)),
            dtype=np.float64,
        )
        try:
            values, vectors = eigsh(operator, count, **_iterations(graph.num_nodes, count))
        except ArpackNoConvergence:
            return self._dense(graph)
        order = np.argsort(-values)
        values, vectors = (
            torch.from_numpy(np.ascontiguousarray(each)).to(degree).unsqueeze(0)
            for each in (values[order], vectors[:, order])
        )
        return self._chosen(values, vectors, graph)

    def _signs(
        self, num_graphs: int, generator: torch.Generator
    ) -> Float[Tensor, "num_graphs num_features"]:
        shape = (num_graphs, self.num_features)
        return torch.randint(2, shape, generator=generator, device=generator.device) * 2.0 - 1

    def _chosen(
        self,
        values: Float[Tensor, "graphs found"],
        vectors: Float[Tensor, "graphs num_nodes found"],
        graphs: UndirectedGraphs,
    ) -> Float[Tensor, "graphs num_nodes num_features"]:
        """The first vectors, of a sign, and zeros.

        Args:
            values: of the adjacency matrix, the largest first.
            vectors: the same order.
            graphs: what they are of.
        """
        signs = _signs_by_rule(vectors, graphs)
        factors = torch.where(signs == 0, 0.0 if self.is_equivariant else 1.0, signs)
        if self.is_equivariant:
            factors = factors * ~_is_repeated(values)
        factors = factors * (values > IS_MOVED)
        found = (vectors * factors.unsqueeze(1))[..., : self.num_features]
        return F.pad(found, (0, self.num_features - found.shape[-1]))


@in_ranges
class ReturnProbabilities(PositionalEncoding):
    """Probabilities that a random walk is back after 1, 2 ... `num_features` steps.

    Diagonals of the powers of `D^(-1) A` (Dwivedi et al., ICLR 2022). They have no sign and no
    basis, so neurons in another order have the same ones, in that order. In graphs whose layers
    are joined to the next one alone, no walk is back after an odd number of steps. A neuron without
    edges has zeros.
    """

    def _dense(
        self, graphs: UndirectedGraphs
    ) -> Float[Tensor, "num_graphs num_nodes num_features"]:
        adjacency = graphs.matrices()
        matrix = normalised(adjacency, adjacency.sum(-1))  # similar to D^(-1) A: equal diagonals
        power = torch.eye(graphs.num_nodes).to(matrix).expand_as(matrix)
        columns, following = [], matrix
        for step in range(1, self.num_features + 1):
            if step % 2:
                columns.append((power * following).sum(-1))
            else:
                columns.append(following.square().sum(-1))
                power, following = following, following @ matrix
        return torch.stack(columns, dim=-1)

    def _sparse(self, graph: UndirectedGraphs) -> Float[Tensor, "1 num_nodes num_features"]:
        matrix, degree = _sparse_normalised(graph)
        rows = []
        for first in range(0, graph.num_nodes, NUM_COLUMNS):
            count = min(NUM_COLUMNS, graph.num_nodes - first)
            power = np.eye(graph.num_nodes, count, -first)
            following, columns = matrix @ power, []
            for step in range(1, self.num_features + 1):
                if step % 2:
                    columns.append((power * following).sum(0))
                else:
                    columns.append((following**2).sum(0))
                    power, following = following, matrix @ following
            rows.append(np.stack(columns, axis=-1))
        return torch.from_numpy(np.concatenate(rows)).to(degree).unsqueeze(0)


@in_ranges
class RandomFeatures(PositionalEncoding):
    """Standard normal numbers that tell the neurons of a graph apart, and nothing else.

    They depend on a neuron's number in its graph alone, so that they are the same in every graph
    and every time, and do not go along where neurons are put in another order.

    Args:
        num_features: how many numbers.
        seed: other numbers for another one.
    """

    def __init__(self, num_features: int, *, seed: int = 0):
        super().__init__(num_features)
        self.seed = seed

    def _dense(
        self, graphs: UndirectedGraphs
    ) -> Float[Tensor, "num_graphs num_nodes num_features"]:
        numbers = torch.arange(graphs.num_nodes, dtype=torch.int32)
        keys = joined(torch.tensor(self.seed, dtype=torch.int32), numbers)
        radius, angle = uniforms(keys, (2, self.num_features)).double().unbind(1)
        normal = (-2 * (1 - radius).log()).sqrt() * (2 * math.pi * angle).cos()
        return normal.to(graphs.device).expand(graphs.num_graphs, -1, -1)

    def _sparse(self, graph: UndirectedGraphs) -> Float[Tensor, "1 num_nodes num_features"]:
        return self._dense(graph)


def _sparse_normalised(graph: UndirectedGraphs) -> tuple[sparse.csr_array, Tensor]:
    """The same of one graph, and its degrees `[1, n]`, on the device of the graph."""
    (first, second), weight = (each.cpu().numpy() for each in (graph.joined.ends, graph.weights()))
    shape = (graph.num_nodes, graph.num_nodes)
    directed = sparse.coo_array((weight[0], (first, second)), shape=shape).tocsr()
    matrix = (directed + directed.T).tocsr()
    if graph.weight is None:
        matrix.data[:] = 1  # parallel edges had been added up
    degree = np.asarray(matrix.sum(axis=1)).ravel()
    scale = sparse.diags_array(1 / np.sqrt(np.where(degree > 0, degree, 1.0)))
    degrees = torch.from_numpy(degree).to(graph.device).unsqueeze(0)
    return (scale @ matrix @ scale).tocsr(), degrees


def _iterations(num_nodes: int, count: int) -> dict:
    """How `eigsh` goes on, in the same way each time."""
    draws = np.random.default_rng(0)
    options = {
        "which": "LA",
        "v0": draws.standard_normal(num_nodes),
        "ncv": min(num_nodes, max(2 * count + 1, 40)),
    }
    # Where neurons are alike, iterations run out of directions and go on in a random one.
    return options | ({"rng": draws} if "rng" in signature(eigsh).parameters else {})


def _signs_by_rule(
    vectors: Float[Tensor, "graphs n found"], graphs: UndirectedGraphs
) -> Float[Tensor, "graphs found"]:
    """1 or -1, so that values grow with the layer, or else the largest are positive; 0: neither."""
    layers = graphs.joined.layer_id.to(vectors).unsqueeze(-1)
    slope = (layers * vectors).sum(1) / layers.norm().clamp_min(1)
    cubes = vectors**3
    skewness = cubes.sum(1) / cubes.abs().sum(1).clamp_min(1e-30)
    return torch.where(_is_clear(slope), slope.sign(), skewness.sign() * _is_clear(skewness))


def _is_clear(sums: Float[Tensor, "graphs found"]) -> Bool[Tensor, "graphs found"]:
    return sums.abs() > SAME


def _is_repeated(values: Float[Tensor, "graphs found"]) -> Bool[Tensor, "graphs found"]:
    """Of eigenvalues in order, those that are near another one."""
    is_near = values.diff(dim=-1).abs() < SAME
    none = torch.zeros_like(values[:, :1], dtype=torch.bool)
    return torch.cat([none, is_near], -1) | torch.cat([is_near, none], -1)
