"""The choice of a table, and how networks see it."""

import numpy as np
import pytest
import torch

from nn_graphs.datasets import TableDataset
from nn_graphs.zoos.makers.labelled_tables import LabelledTable


def test_the_first_rows_are_taken():
    choice = LabelledTable("moons", num_train=50, num_test=20)
    table = choice.load()
    data = choice.labelled(table)
    assert (data.num_train, data.num_test) == (50, 20)
    values = data.take(torch.arange(50))
    torch.testing.assert_close(values.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.std(0, correction=0), torch.ones(2))
    assert data.labels.tolist() == [*table.labels[:50], *table.labels[800:820]]


def test_features_far_away_are_brought_closer():
    features = np.random.default_rng(0).normal(5, 3, (60, 2)).astype(np.float32)
    features[55] = 5000.0, -5000.0  # among the test rows
    table = TableDataset("far", features, np.arange(60.0), 50, ("a", "b"))
    free, held = (LabelledTable("far", max_deviations=number) for number in (None, 4.0))
    free, held = (choice.labelled(table).take(torch.arange(60)) for choice in (free, held))
    assert free[55].abs().min() > 1000
    assert held[55].tolist() == pytest.approx([4.0, -4.0], abs=1e-4)
    others = [number for number in range(60) if number != 55]
    assert torch.equal(free[others], held[others])
