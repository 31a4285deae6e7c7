"""Words that are not known, and things of other kinds, as users give them: without type checks."""

import re

import pytest
import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning import Count, DynamicSparsity, attach_masks, prune, sparsify
from tests.networks.pruning.modules import mlp
from tests.processes import assert_runs_in_own_process


def test_wrong_kinds():
    assert_runs_in_own_process(give_wrong_kinds)


def give_wrong_kinds() -> None:
    module, masked = mlp(4, 6, 3), mlp(4, 6, 3)
    attach_masks(masked, {"0.weight": torch.ones(6, 4) > 0})
    for give, found in (
        (lambda: prune(module, Count(1), scope="row"), "there is no 'row'"),
        (lambda: prune(module, Count(1), saliency=lambda m, n: None), "NoneType instead of"),
        (
            lambda: prune(module, Count(1), saliency="magnitude"),
            "'magnitude', which cannot be called",
        ),
        (lambda: prune(module, Count(1.5)), "Give a whole number"),
        (lambda: attach_masks(module, {"0.weight": [[True]]}), "is a list"),
        (lambda: sparsify(module, 0.5, distribution="even"), "there is no 'even'"),
        (lambda: DynamicSparsity(masked, 10, growth="fast"), "there is no 'fast'"),
    ):
        with pytest.raises(NNGraphsError, match=re.escape(found)):
            give()
