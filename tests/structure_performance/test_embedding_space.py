"""Clusters, projections and the permutation test, on points whose places are known."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from nn_graphs.structure_performance import mantel_test, project, silhouette, standardised
from tests.structure_performance.trajectories import unchecked

RANDOM = np.random.default_rng(0)
POINTS = RANDOM.normal(size=(60, 5))


def test_standardised_dimensions():
    scaled = standardised(np.stack([np.arange(4.0), np.full(4, 0.1), [0, 0, 1e6, 1e6]], axis=1))
    np.testing.assert_allclose(scaled[:, 1], 0)
    np.testing.assert_allclose(scaled[:, [0, 2]].std(0), 1)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-12)


def test_silhouette_of_what_is_apart_and_of_what_is_not():
    kinds = np.repeat(["regular", "deeper", "wider"], 20)
    apart = 0.01 * POINTS[:, :3] + np.repeat(np.eye(3), 20, axis=0)
    assert silhouette(apart, kinds) > 0.95
    assert abs(silhouette(POINTS, kinds)) < 0.1
    assert silhouette(apart * [1, 1000, 1], kinds) == pytest.approx(silhouette(apart, kinds))


def test_silhouette_of_some_of_many():
    kinds = np.repeat([0, 1], 30)
    points = POINTS + 20 * kinds[:, None]
    assert silhouette(points, kinds, max_networks=20) > 0.7


@pytest.mark.parametrize("kinds", [np.zeros(60), np.arange(60)])
def test_silhouette_needs_kinds(raises_saying, kinds):
    found = f"they are of {len(np.unique(kinds))} kinds"
    with raises_saying(asked="among 60 networks", found=found, do="two kinds or more"):
        silhouette(POINTS, kinds)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_projections_keep_clusters_apart(method):
    kinds = np.repeat([0, 1], 30)
    places = project(POINTS + 8 * kinds[:, None], method)
    assert places.shape == (60, 2)
    assert silhouette(places, kinds) > 0.5
    np.testing.assert_array_equal(places, project(POINTS + 8 * kinds[:, None], method))


def test_the_first_principal_direction_is_the_widest():
    wide = np.arange(60.0)
    in_turn = np.resize([1.0, -1.0], 60)
    places = project(np.stack([wide, wide + 3 * in_turn, in_turn], axis=1))
    assert abs(np.corrcoef(places[:, 0], wide)[0, 1]) > 0.97
    assert abs(np.corrcoef(places[:, 1], in_turn)[0, 1]) > 0.97


def test_projections_of_one_dimension_and_of_few():
    assert project(POINTS[:, :1]).shape == (60, 2)
    assert project(POINTS[:5], "tsne").shape == (5, 2)


def test_what_cannot_be_projected(raises_saying):
    with raises_saying(asked="2 embeddings", found="fewer than three", do="more networks"):
        project(POINTS[:2])
    with raises_saying(asked="'umap'", found="no 'umap'", do="pca, tsne"):
        unchecked(project)(POINTS, "umap")


# Distances and differences.


def test_mantel_correlation_is_that_of_pairs():
    performance = POINTS[:, 0] + RANDOM.normal(size=60)
    found = mantel_test(POINTS, performance, num_permutations=9)
    distances, differences = pdist(standardised(POINTS)), pdist(performance[:, None])
    np.testing.assert_allclose(found.distances, distances)
    assert found.correlation == pytest.approx(np.corrcoef(distances, differences)[0, 1])


def test_mantel_finds_what_is_there():
    found = mantel_test(POINTS[:, :1], POINTS[:, 0], num_permutations=199)
    assert found.correlation == pytest.approx(1)
    assert found.p_value == 1 / 200


def test_mantel_of_chance_is_small_as_often_as_it_says():
    """Where nothing is there, p is below 0.2 in about one of five; pairs alone would say more."""
    values = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        points, performance = random.normal(size=(12, 2)), random.normal(size=12)
        values.append(mantel_test(points, performance, num_permutations=49, seed=seed).p_value)
    assert 0.07 < np.mean(np.array(values) <= 0.2) < 0.35


def test_mantel_of_some_of_many():
    found = mantel_test(POINTS, POINTS[:, 0], max_networks=20, num_permutations=9)
    assert len(found.distances) == 20 * 19 / 2


@pytest.mark.parametrize(
    ("points", "performance"), [(np.ones((60, 2)), POINTS[:, 0]), (POINTS, np.ones(60))]
)
def test_mantel_of_what_does_not_vary(raises_saying, points, performance):
    with raises_saying(asked="of 60 networks", found="undefined", do="differ"):
        mantel_test(points, performance)
