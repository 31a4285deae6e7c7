"""What stands beside every embedding: simpler vectors of the same networks, each with its probe.

An embedding that tells performance no better than the number of the epoch, or than the norms of
weights, has found nothing of structure. All are functions of a zoo, with a row a network; NaN where
a network has no such layer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.encoders.statnn import tensor_statistics
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.undirected_graphs import GraphEdges
from nn_graphs.structure_performance.probes import (
    Features,
    Probe,
    fit_quadratic,
    fit_ridge,
    fit_trees,
)
from nn_graphs.zoos.batches import check_finite, make_templates
from nn_graphs.zoos.zoo import Zoo

BLOCK_VALUES = 1 << 22  # that are looked at together
MEASURES = ("nodes", "edges", "strength", "deviation", "maximum", "efficiency", "spectral_gap")

FeatureFn = Callable[[Zoo], Features]


@dataclass(frozen=True)
class Baseline:
    """Vectors of networks, and what predicts from them."""

    features: FeatureFn
    fit: Probe


def epoch_index(zoo: Zoo) -> Float[np.ndarray, "N 1"]:
    """The number of the epoch alone, the column `epoch` of the zoo's table.

    Raises:
        NNGraphsError: there is no such column.
    """
    if "epoch" not in zoo.table:
        raise NNGraphsError(
            f"tell the epochs of {len(zoo)} networks",
            found=f"their table has the columns {', '.join(zoo.table)}.",
            do="Use a zoo of training trajectories.",
        )
    return zoo.table["epoch"].to_numpy(dtype=float)[:, None]


def weight_norms(zoo: Zoo) -> Float[np.ndarray, "N tensors"]:
    """Root mean squares of the weights into each layer, then of the biases of each layer."""
    mean, variance = np.moveaxis(_tensor_statistics(zoo)[:, :, :2], -1, 0)
    return np.sqrt(np.square(mean) + variance)


def statnn_statistics(zoo: Zoo) -> Float[np.ndarray, "N features"]:
    """Mean, variance and quantiles of the same tensors (Unterthiner et al., 2020)."""
    return _tensor_statistics(zoo).reshape(len(zoo), -1)


def graph_measures(zoo: Zoo) -> Float[np.ndarray, "N measures"]:
    """Numbers of neurons and edges, and measures of the graph of absolute weights (`MEASURES`).

    The strength of a neuron is the sum of its edges' absolute weights (norms of kernels): its mean,
    deviation and maximum. Efficiency is the mean of 1 / distance over pairs of neurons, where an
    edge is the longer the weaker it is (1 / weight); the spectral gap is the second smallest
    eigenvalue of the normalised Laplacian. Clustering is left out: layers without skips have no
    triangles.
    """
    return _by_architecture(zoo, _measures, values_of=lambda template: template.num_nodes**2)


BASELINES: dict[str, Baseline] = {
    "epoch_index": Baseline(epoch_index, fit_ridge),
    "weight_norms": Baseline(weight_norms, fit_ridge),
    "statnn_statistics": Baseline(statnn_statistics, fit_ridge),
    "boosted_trees": Baseline(statnn_statistics, fit_trees),
    "graph_measures": Baseline(graph_measures, fit_quadratic),
}


def _tensor_statistics(zoo: Zoo) -> Float[np.ndarray, "N tensors statistics"]:
    dims = GraphDims.of(make_templates(zoo))

    def statistics(graphs: NeuralGraphStack) -> Float[Tensor, "B tensors statistics"]:
        values, is_there = tensor_statistics(graphs, dims)
        return torch.where(is_there.unsqueeze(-1), values, torch.nan)

    return _by_architecture(zoo, statistics, values_of=lambda template: 4 * template.num_params)


def _by_architecture(zoo: Zoo, function: Callable, *, values_of: Callable) -> np.ndarray:
    """Rows for all networks, made from stacks of one architecture of which a block is at hand."""
    check_finite(zoo)
    kinds, found, rows = zoo.table["spec"].to_numpy(), [], []
    for kind, template in enumerate(make_templates(zoo)):
        numbers = np.flatnonzero(kinds == kind)
        size = max(1, BLOCK_VALUES // values_of(template))
        for first in range(0, len(numbers), size):
            chosen = numbers[first : first + size]
            found.append(function(template.stack(zoo.take(chosen))).double().numpy())
            rows.append(chosen)
    return np.concatenate(found)[np.argsort(np.concatenate(rows))]


def _measures(graphs: NeuralGraphStack) -> Float[Tensor, "B measures"]:
    edges = GraphEdges(graphs, is_weighted=True)
    weights = edges.chosen(range(len(graphs))).matrices()
    strength = weights.sum(-1)
    counts = weights.new_tensor([graphs.template.num_nodes, graphs.template.num_edges])
    return torch.cat(
        [
            counts.expand(len(graphs), -1),
            strength.mean(-1, keepdim=True),
            strength.std(-1, keepdim=True, correction=0),
            strength.amax(-1, keepdim=True),
            _efficiency(weights).unsqueeze(-1),
            _spectral_gap(weights, strength).unsqueeze(-1),
        ],
        dim=-1,
    )


def _efficiency(weights: Float[Tensor, "B n n"]) -> Float[Tensor, "B"]:
    """By Floyd's algorithm, of all graphs at once."""
    size = weights.shape[-1]
    distance = 1 / weights
    distance.diagonal(dim1=-2, dim2=-1).zero_()
    for between in range(size):
        by_way = distance[:, :, between, None] + distance[:, None, between, :]
        torch.minimum(distance, by_way, out=distance)
    distance.diagonal(dim1=-2, dim2=-1).fill_(torch.inf)
    return (1 / distance).sum((-2, -1)) / max(1, size * (size - 1))


def _spectral_gap(
    weights: Float[Tensor, "B n n"], strength: Float[Tensor, "B n"]
) -> Float[Tensor, "B"]:
    if weights.shape[-1] < 2:
        return weights.new_zeros(len(weights))
    scale = torch.where(strength > 0, strength, 1.0).rsqrt()
    laplacian = -scale.unsqueeze(-1) * weights * scale.unsqueeze(-2)
    laplacian.diagonal(dim1=-2, dim2=-1).add_((strength > 0).double())
    return torch.linalg.eigvalsh(laplacian)[:, 1]
