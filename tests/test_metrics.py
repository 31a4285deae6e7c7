"""Metrics against hand-worked values and scikit-learn."""

from itertools import combinations

import numpy as np
import pytest
import sklearn.metrics
import torch
from scipy import stats
from sklearn.metrics import accuracy_score

from nn_graphs.metrics import (
    accuracy,
    balanced_accuracy,
    kendall_tau,
    kendall_tau_ceiling,
    mean_absolute_error,
    pearson_r,
    r_squared,
    spearman_rho,
)


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        ([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0], [1.0, 2.0]], [0, 1, 1, 1], 75.0),
        ([[-1.0, -2.0, -3.0]], [0], 100.0),
        ([[-1.0, -2.0, -3.0]], [2], 0.0),
    ],
)
def test_accuracy_by_hand(logits, labels, expected):
    assert accuracy(torch.tensor(logits), torch.tensor(labels)) == expected


def test_accuracy_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(301, 7, generator=generator)
    labels = torch.randint(7, (301,), generator=generator)
    expected = 100 * accuracy_score(labels.numpy(), logits.argmax(1).numpy())
    assert accuracy(logits, labels) == pytest.approx(expected, rel=1e-12)
    assert accuracy(logits, logits.argmax(1)) == 100


def plain_tau_b(first, second) -> float:
    """Over all pairs, as it is defined."""
    pairs = list(combinations(range(len(first)), 2))
    signs = [[np.sign(values[i] - values[j]) for i, j in pairs] for values in (first, second)]
    products = sum(a * b for a, b in zip(*signs, strict=True))
    untied = [sum(sign != 0 for sign in values) for values in signs]
    return products / np.sqrt(untied[0] * untied[1])


@pytest.mark.parametrize("num_values", [3, 10, 1000])
def test_kendall_tau_over_all_pairs(num_values):
    random = np.random.default_rng(num_values)
    predictions = random.normal(size=40)
    labels = (predictions + random.normal(size=40)).round(2) if num_values == 1000 else None
    labels = random.integers(0, num_values, 40) / 10 if labels is None else labels
    first, second = torch.from_numpy(predictions), torch.from_numpy(labels)
    assert kendall_tau(first, second) == pytest.approx(plain_tau_b(predictions, labels))


def test_kendall_tau_by_hand():
    labels = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert kendall_tau(labels, labels) == 1
    assert kendall_tau(-labels, labels) == -1
    assert kendall_tau(torch.tensor([1.0, 2.0, 4.0, 3.0]), labels) == pytest.approx(4 / 6)
    assert kendall_tau(torch.zeros(4), labels) == 0


def test_ceiling_is_reached_by_the_right_order_and_by_nothing_else():
    random = np.random.default_rng(0)
    labels = torch.from_numpy(np.sort(random.integers(0, 12, 60) / 12))
    ceiling = kendall_tau_ceiling(labels)
    assert kendall_tau(torch.arange(60.0), labels) == pytest.approx(ceiling)
    assert ceiling < 1
    for _ in range(20):
        order = torch.from_numpy(random.permutation(60).astype(float))
        assert kendall_tau(order, labels) < ceiling
    assert kendall_tau_ceiling(torch.arange(9.0)) == 1
    assert kendall_tau_ceiling(torch.ones(9)) == 0


def test_ceiling_of_published_ties():
    """18.4 % of pairs are tied: 0.9031, as measured on the relu part of SVHN-GS."""
    labels = torch.cat([torch.zeros(429), torch.arange(1.0, 572.0)])  # 429^2 of 1000^2 are tied
    share = 429 * 428 / (1000 * 999)
    assert kendall_tau_ceiling(labels) == pytest.approx(np.sqrt(1 - share))
    assert kendall_tau_ceiling(labels) == pytest.approx(0.9031, abs=1e-3)


def test_regression_metrics_against_libraries():
    random = np.random.default_rng(0)
    labels = random.random(50).round(1)
    predictions = labels + 0.1 * random.normal(size=50)
    ours = torch.from_numpy(predictions), torch.from_numpy(labels)
    assert spearman_rho(*ours) == pytest.approx(stats.spearmanr(predictions, labels).statistic)
    expected = 1 - ((predictions - labels) ** 2).sum() / ((labels - labels.mean()) ** 2).sum()
    assert r_squared(*ours) == pytest.approx(expected)
    expected = sklearn.metrics.mean_absolute_error(labels, predictions)
    assert mean_absolute_error(*ours) == pytest.approx(expected)
    assert spearman_rho(torch.ones(50), ours[1]) == 0
    assert r_squared(torch.full((50,), labels.mean()), ours[1]) == pytest.approx(0)


def test_balanced_accuracy():
    logits, labels = torch.randn(60, 4), torch.arange(60) % 3  # no network is of the last class
    predictions = logits.argmax(dim=1)
    shares = [(predictions[labels == label] == label).double().mean() for label in range(3)]
    assert balanced_accuracy(logits, labels) == pytest.approx(100 * float(np.mean(shares)))
    right = torch.nn.functional.one_hot(labels, 4).float()
    expected = sklearn.metrics.balanced_accuracy_score(labels, right.argmax(dim=1))
    assert balanced_accuracy(right, labels) == 100 * expected


def test_pearson_r_by_hand_and_by_scipy():
    assert pearson_r(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0])) == pytest.approx(
        1
    )
    pair = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    expected = stats.pearsonr(*pair.numpy()).statistic
    assert pearson_r(*pair) == pytest.approx(expected, rel=1e-5)
    assert pearson_r(pair[0], torch.ones(50)) == 0
