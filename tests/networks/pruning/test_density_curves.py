"""Curves of accuracy against density on a part of the digits."""

import pytest
import torch
from torch import nn

from nn_graphs.datasets.digits import read_digits
from nn_graphs.networks import LabelledData, Plan, Recipe
from nn_graphs.networks.pruning import density_curve, pruning_masks, sparsify
from tests.networks.pruning.modules import mlp

DENSITIES = (0.5, 0.1, 0.01)
NUM_WEIGHTS = 64 * 20 + 20 * 10


@pytest.fixture(scope="module")
def data() -> LabelledData:
    return LabelledData.from_dataset(read_digits(), num_train=300, num_test=100)


def make() -> nn.Module:
    return nn.Sequential(nn.Flatten(), mlp(64, 20, 10))


@pytest.mark.parametrize("method", ["magnitude", "random", "snip", "synaptic_flow", "rigl"])
@pytest.mark.filterwarnings("ignore:Pruning left nothing")
def test_curves(data, method):
    plan = Plan(num_epochs=6, batch_size=30)
    found = list(
        density_curve(make, data, Recipe("adam"), plan, method=method, densities=DENSITIES)
    )
    assert [one.density for one in found] == [*DENSITIES]
    assert [one.num_left for one in found] == [int(d * NUM_WEIGHTS + 0.5) for d in DENSITIES]
    assert found[0].test_accuracy > 0.5
    assert found[0].test_accuracy > found[2].test_accuracy
    assert all(torch.is_tensor(mask) for one in found for mask in one.masks.values())


def test_rigl_changes_its_masks_while_it_trains(data):
    start, plan = make(), Plan(num_epochs=2, batch_size=30)
    sparsify(start, 0.2, seed=3)
    recipe = Recipe("adam", seed=3)
    (found,) = density_curve(make, data, recipe, plan, method="rigl", densities=[0.2])
    for name, mask in pruning_masks(start).items():
        assert found.masks[name].sum() == mask.sum()
        assert not torch.equal(found.masks[name], mask)
