"""Metrics against hand-worked values and scikit-learn."""

import pytest
import torch
from sklearn.metrics import accuracy_score

from nn_graphs.metrics import accuracy


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
