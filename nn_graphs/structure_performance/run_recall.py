"""Embeddings as fingerprints: is a network's nearest neighbour one of the same training run?

StructureReps names "hashes" of networks as future work. A fingerprint should know a network again
after its neurons have changed places, which leaves its function as it was; the distance of plain
weights does not.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.symmetry.symmetry_elements import apply_symmetries, sample_symmetries
from nn_graphs.structure_performance.probes import Features
from nn_graphs.zoos.batches import make_templates
from nn_graphs.zoos.zoo import Zoo

BLOCK_ROWS = 256  # queries whose distances are held at once


def permuted_zoo(zoo: Zoo, *, seed: int) -> Zoo:
    """The same networks with hidden neurons in an order drawn for each; functions stay.

    The table is the same; its columns `spec` and `row` then say where the copies are.
    """
    generator = torch.Generator().manual_seed(seed)
    kinds = zoo.table["spec"].to_numpy()
    params, rows = [], np.zeros(len(zoo), dtype=int)
    for kind, template in enumerate(make_templates(zoo)):
        numbers = np.flatnonzero(kinds == kind)
        rows[numbers] = np.arange(len(numbers))
        own = zoo.take(numbers) if len(numbers) else zoo.params[kind][:0]
        element = sample_symmetries(template, len(own), kinds=["permutation"], generator=generator)
        params.append(apply_symmetries(template, own, element))
    return Zoo(zoo.specs, tuple(params), zoo.table.assign(row=rows), zoo.metadata)


def flat_weights(zoo: Zoo) -> Features:
    """All parameters of each network, then a column an architecture that is 0 for its own.

    Elsewhere they are NaN, so that networks of two architectures are no neighbours of each other,
    see `recall_at_one`.
    """
    size = max(params.shape[1] for params in zoo.params)
    kinds = zoo.table["spec"].to_numpy()
    found = np.full((len(zoo), size + len(zoo.specs)), np.nan, dtype=np.float32)
    for kind, params in enumerate(zoo.params):
        numbers = np.flatnonzero(kinds == kind)
        if len(numbers):
            found[numbers, : params.shape[1]] = zoo.take(numbers).numpy()
            found[numbers, size + kind] = 0
    return found


def recall_at_one(
    queries: Features,
    gallery: Features,
    runs: Shaped[np.ndarray, " N"],
    epochs: Shaped[np.ndarray, " N"],
    *,
    min_gap: int = 1,
) -> float:
    """Share of networks whose nearest neighbour is of their run.

    A neighbour of a network's own run counts only from `min_gap` epochs on, so that a network is
    not found by itself, nor, with a larger gap, by the epoch before. Of neighbours that are equally
    near, the share of its own run counts. Networks with missing features (NaN) in different places
    are never neighbours.

    Args:
        queries: a vector a network.
        gallery: of the same networks in the same order, perhaps before a change to the queries.
        runs, epochs: of them.
        min_gap: at least 1.

    Raises:
        NNGraphsError: shapes differ, or no network has another one of its run that far away.
    """
    _check(queries, gallery, runs, epochs, min_gap)
    is_own = runs[:, None] == runs
    is_near = np.abs(epochs[:, None] - epochs) < min_gap
    is_left_out = is_own & is_near
    has_match = (is_own & ~is_near).any(axis=1)
    if not has_match.any():
        raise NNGraphsError(
            f"find networks of the same run, {min_gap} epochs apart",
            found="no run has two such.",
            do="Choose a smaller gap, or keep more epochs.",
        )
    chosen = np.flatnonzero(has_match)
    shares = [
        _shares(queries[block], gallery, is_own[block], is_left_out[block])
        for block in np.split(chosen, range(BLOCK_ROWS, len(chosen), BLOCK_ROWS))
    ]
    return float(np.concatenate(shares).mean())


def _shares(
    queries: Float[np.ndarray, "B dim"],
    gallery: Float[np.ndarray, "N dim"],
    is_own: Bool[np.ndarray, "B N"],
    is_left_out: Bool[np.ndarray, "B N"],
) -> Float[np.ndarray, " B"]:
    """Of the nearest neighbours of each query, the share that is of its run."""
    distance = _distances(queries, gallery)
    distance[is_left_out] = np.inf
    least = distance.min(axis=1, keepdims=True)
    is_nearest = (distance <= least * (1 + 1e-9)) & np.isfinite(distance)
    return (is_nearest & is_own).sum(1) / np.maximum(1, is_nearest.sum(1))


def _distances(
    queries: Float[np.ndarray, "B dim"], gallery: Float[np.ndarray, "N dim"]
) -> Float[np.ndarray, "B N"]:
    """Euclidean; infinite between vectors that miss different features."""
    misses = [np.isnan(values) for values in (queries, gallery)]
    first, second = (
        torch.from_numpy(np.where(miss, 0, values).astype(np.float64))
        for values, miss in zip((queries, gallery), misses, strict=True)
    )
    distance = torch.cdist(first, second).numpy()
    _, kinds = np.unique(np.concatenate(misses), axis=0, return_inverse=True)
    kinds = kinds.reshape(-1)
    distance[kinds[: len(first), None] != kinds[len(first) :]] = np.inf
    return distance


def _check(
    queries: np.ndarray, gallery: np.ndarray, runs: np.ndarray, epochs: np.ndarray, min_gap: int
) -> None:
    if queries.shape != gallery.shape or not len(queries) == len(runs) == len(epochs):
        raise NNGraphsError(
            f"find {len(queries)} networks among {len(gallery)}",
            found=f"their vectors are {list(queries.shape)} and {list(gallery.shape)}, with "
            f"{len(runs)} runs and {len(epochs)} epochs.",
            do="Give the same networks in the same order.",
        )
    if min_gap < 1:
        raise NNGraphsError(
            f"find networks of the same run, {min_gap} epochs apart",
            found="each would be found by itself.",
            do="Choose a gap of 1 or more.",
        )
