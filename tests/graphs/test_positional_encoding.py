"""What is kept of encodings stays behind when they are copied or written to a file."""

import pickle
from copy import deepcopy

import pytest
import torch

from nn_graphs.graphs import positional_encoding
from nn_graphs.graphs.positional import LaplacianEncoding
from tests.graphs.hand_made import random_graph


@pytest.mark.parametrize("copied", [deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies(copied):
    encoding, graph = LaplacianEncoding(3, is_weighted=False), random_graph(8, 12)
    before = encoding(graph)
    other = copied(encoding)
    assert repr(other) == repr(encoding)
    assert "is_equivariant=False" in repr(encoding)
    assert not other._of_structure
    assert torch.equal(other(graph), before)


def test_not_more_than_some_are_kept(monkeypatch):
    monkeypatch.setattr(positional_encoding, "MAX_STRUCTURES", 2)
    encoding = LaplacianEncoding(3)
    graphs = [random_graph(8, 12, seed=seed) for seed in range(5)]
    found = [encoding(graph) for graph in graphs]
    assert len(encoding._of_structure) <= 2
    assert all(
        torch.equal(encoding(graph), each) for graph, each in zip(graphs, found, strict=True)
    )
