"""Where networks lie in the space of embeddings: clusters, two dimensions, distances.

After figure 2 of StructureReps. Embeddings are standardised dimension by dimension before any
distance is measured.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.structure_performance.probes import Features, Labels

Projection = Literal["pca", "tsne"]
MAX_SILHOUETTE = 2000  # networks, for whose pairs there is a distance each
MAX_MANTEL = 400
PERPLEXITY = 30.0


@dataclass(frozen=True)
class MantelTest:
    """How distances of embeddings go along with differences of performance.

    Attributes:
        correlation: of both over all pairs.
        p_value: share of permutations of the networks whose correlation is as large, the one
            that was found among them.
        distances, differences: of all pairs that were looked at.
    """

    correlation: float
    p_value: float
    distances: Float[np.ndarray, " pairs"]
    differences: Float[np.ndarray, " pairs"]


def standardised(embedding: Features) -> Features:
    """Every dimension with mean 0 and deviation 1; one in which all are equal becomes 0."""
    centred = embedding - embedding.mean(0)
    deviation = centred.std(0)
    is_constant = deviation <= 1e-9 * np.abs(embedding).max(0, initial=0)
    return np.where(is_constant, 0.0, centred / np.where(is_constant, 1.0, deviation))


def silhouette(
    embedding: Features,
    kinds: Shaped[np.ndarray, " N"],
    *,
    max_networks: int = MAX_SILHOUETTE,
    seed: int = 0,
) -> float:
    """How well kinds of networks are apart: 1 far, 0 not at all, below 0 within each other.

    Args:
        embedding: of the networks.
        kinds: of each, e.g. its structure.
        max_networks: of more, some are drawn.
        seed: of the draw.

    Raises:
        NNGraphsError: there are fewer than two kinds, or no two networks of one.
    """
    chosen = _drawn(len(embedding), max_networks, seed)
    embedding, kinds = embedding[chosen], kinds[chosen]
    num_kinds = len(np.unique(kinds))
    if not 1 < num_kinds < len(kinds):
        raise NNGraphsError(
            f"tell how far kinds of networks are apart, among {len(kinds)} networks",
            found=f"they are of {num_kinds} kinds.",
            do="Give networks of two kinds or more, several of each.",
        )
    return float(silhouette_score(standardised(embedding), kinds))


def project(
    embedding: Features, method: Projection = "pca", *, seed: int = 0
) -> Float[np.ndarray, "N 2"]:
    """Two dimensions to draw: the principal ones, or those of t-SNE; zeros where all are equal.

    Raises:
        NNGraphsError: an unknown method, or fewer than three networks.
    """
    check_known(method, get_args(Projection), asked=f"project embeddings by {method!r}")
    if len(embedding) < 3:
        raise NNGraphsError(
            f"project {len(embedding)} embeddings",
            found="there are fewer than three.",
            do="Give more networks.",
        )
    scaled = standardised(embedding)
    if not scaled.any():
        return np.zeros((len(scaled), 2))
    if scaled.shape[1] < 2:
        scaled = np.pad(scaled, ((0, 0), (0, 2 - scaled.shape[1])))
    if method == "pca":
        return PCA(2, random_state=seed).fit_transform(scaled)
    perplexity = min(PERPLEXITY, (len(scaled) - 1) / 3)
    projection = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return projection.fit_transform(scaled).astype(float)


def mantel_test(
    embedding: Features,
    performance: Labels,
    *,
    num_permutations: int = 999,
    max_networks: int = MAX_MANTEL,
    seed: int = 0,
) -> MantelTest:
    """Whether networks whose embeddings are near have a performance that is near.

    Pairs that share a network depend on each other, so networks are permuted, not pairs (Mantel,
    1967). Networks of one training run depend on each other too, for which this does not allow:
    a small p-value says that the relation is there in these networks, not in those of other runs.

    Args:
        embedding: of the networks.
        performance: of each.
        num_permutations: drawn at random.
        max_networks: of more, some are drawn.
        seed: of all draws.

    Raises:
        NNGraphsError: all distances, or all differences, are equal.
    """
    chosen = _drawn(len(embedding), max_networks, seed)
    distances = pdist(standardised(embedding[chosen]))
    values = performance[chosen]
    differences = _differences(values)
    if len(distances) < 3 or not (np.ptp(distances) and np.ptp(differences)):
        raise NNGraphsError(
            f"correlate distances with differences of performance, of {len(chosen)} networks",
            found="all of one are equal, so that the correlation is undefined.",
            do="Give networks that differ in embedding and performance.",
        )
    random = np.random.default_rng(seed)
    unit = _unit(distances)
    found = float(unit @ _unit(differences))
    drawn = [
        float(unit @ _unit(_differences(random.permutation(values))))
        for _ in range(num_permutations)
    ]
    num_as_large = sum(value >= found - 1e-12 for value in drawn)
    return MantelTest(found, (1 + num_as_large) / (1 + num_permutations), distances, differences)


def _differences(values: Labels) -> Float[np.ndarray, " pairs"]:
    return pdist(values[:, None])


def _unit(values: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """Moved and scaled so that products of two are correlations."""
    centred = values - values.mean()
    return centred / np.linalg.norm(centred)


def _drawn(number: int, limit: int, seed: int) -> Int[np.ndarray, " M"]:
    if number <= limit:
        return np.arange(number)
    return np.sort(np.random.default_rng(seed).choice(number, limit, replace=False))
