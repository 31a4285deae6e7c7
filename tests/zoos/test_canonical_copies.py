"""Canonical zoos: other parameters, the same functions and the same table."""

import pandas as pd
import torch

from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.zoos.canonical_copies import canonical_zoo
from tests.toy_zoos import mixed_zoo


def test_networks_of_a_canonical_zoo_compute_the_same(tiny_zoo):
    canonical = canonical_zoo(tiny_zoo, kinds=["sign", "phase"])
    assert not torch.equal(canonical.params[0], tiny_zoo.params[0])
    inputs = torch.linspace(-1, 1, 14).reshape(7, 2)
    for before, after in zip(tiny_zoo.params, canonical.params, strict=True):
        torch.testing.assert_close(
            stacked_forward(tiny_zoo.spec, after, inputs),
            stacked_forward(tiny_zoo.spec, before, inputs),
            rtol=1e-4,
            atol=1e-4,
        )
    pd.testing.assert_frame_equal(canonical.table, tiny_zoo.table)
    assert canonical.metadata["canonical"] == ["phase", "sign"]


def test_no_kind_leaves_the_zoo_as_it_is(tiny_zoo):
    assert canonical_zoo(tiny_zoo, kinds=[]) is tiny_zoo


def test_zoo_of_several_architectures():
    zoo = mixed_zoo()
    again = canonical_zoo(canonical_zoo(zoo, kinds=["sign"]), kinds=["sign"])
    for once, twice in zip(canonical_zoo(zoo, kinds=["sign"]).params, again.params, strict=True):
        torch.testing.assert_close(once, twice)


def test_one_kind_by_its_name(tiny_zoo):
    assert canonical_zoo(tiny_zoo, kinds="sign").metadata["canonical"] == ["sign"]
