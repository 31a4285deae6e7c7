"""Behaviours of deepstruct's pruning to have, and its faults, which are not ours.

Release 0.10.0 and the development version behind it (Stier & Granitzer), whose networks and numbers
these are.
"""

import copy

import pytest
import torch
from torch import nn

import nn_graphs.networks.pruning
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks import MaskedLinear
from nn_graphs.networks.pruning import (
    Bucket,
    Count,
    RandomSaliency,
    Share,
    Threshold,
    attach_masks,
    prunable_names,
    prune,
    pruning_masks,
    spread_magnitude,
)
from tests.networks.pruning.modules import Nested, mlp

NUM_WEIGHTS = 16280  # of their network


def network() -> nn.Sequential:
    return mlp(784, 20, 15, 12, 10)


@pytest.mark.parametrize(
    ("amount", "scope", "left"),
    [
        (Share(0.5), "global", 8140),
        (Count(1000), "global", 15280),
        (Share(0.5), "layer", 8140),
    ],
    ids=str,
)
def test_their_counts(amount, scope, left):
    report = prune(network(), amount, saliency=RandomSaliency(0), scope=scope)
    assert sum(report.num_all.values()) == NUM_WEIGHTS
    assert sum(report.num_left.values()) == left


def test_a_bucket_of_random_saliencies():
    """Saliencies up to t sum up to 16280 t^2 / 2: a bucket of 100 takes about 1804 weights."""
    report = prune(network(), Bucket(100.0), saliency=RandomSaliency(0))
    assert abs(sum(report.num_left.values()) - (NUM_WEIGHTS - 1804)) < 60  # theirs: 14518


def test_counts_by_layer_leave_the_rest():
    """There, 1000 of a layer left nothing: the count's place was taken for a threshold."""
    report = prune(network(), Count(100), saliency=RandomSaliency(0), scope="layer")
    assert [*report.num_left.values()] == [15680 - 100, 300 - 100, 180 - 100, 120 - 100]
    with pytest.raises(NNGraphsError, match="300 of 300 are left"):
        prune(network(), Count(1000), scope="layer")


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("amount", [Share(0.3), Count(60), Bucket(20.0)], ids=str)
def test_every_layer_loses_something(amount, scope):
    report = prune(network(), amount, saliency=RandomSaliency(2), scope=scope)
    lost = [report.num_all[name] - left for name, left in report.num_left.items()]
    assert min(lost) > 0 or (scope == "global" and amount != Share(0.3))


def test_spread_magnitudes_do_not_divide_by_zero():
    module = network()
    with torch.no_grad():
        module[2].weight.fill_(0.1)
    found = spread_magnitude(module, prunable_names(module))
    assert all(values.isfinite().all() for values in found.values())


def test_masks_are_checked():
    """There, any mask was taken, and one of floats changed what masks are."""
    module = network()
    for mask in (torch.ones(20, 784), torch.ones(784, 20) > 0):
        with pytest.raises(NNGraphsError, match="Give a boolean tensor"):
            attach_masks(module, {"0.weight": mask})


def test_masks_are_never_opened_again():
    """There, masks were computed anew by a default threshold, whatever they had been."""
    module = network()
    prune(module, Share(0.9), saliency=RandomSaliency(0))
    before = {name: mask.clone() for name, mask in pruning_masks(module).items()}
    prune(module, Threshold(0.0))
    assert all(torch.equal(mask, before[name]) for name, mask in pruning_masks(module).items())


def test_a_threshold_is_the_one_that_is_given():
    """There, two defaults (0.001 and 0.0001) stood in the place of what the user gave."""
    module = network()
    values = module[0].weight.detach().abs()
    prune(module, Threshold(0.02), names=["0.weight"])
    assert torch.equal(pruning_masks(module)["0.weight"], values >= torch.tensor(0.02))


def test_weights_are_found_wherever_they_stand():
    """There, in direct children of one exact class alone."""
    assert len(prunable_names(Nested())) == 3
    recurrent = nn.ModuleDict({"cell": nn.GRU(3, 4), "head": MaskedLinear(4, 2)})
    names = ["cell.weight_ih_l0", "cell.weight_hh_l0", "head.weight"]
    assert prunable_names(recurrent) == names
    assert sum(prune(recurrent, Count(20)).num_left.values()) == 36 + 48 + 8 - 20


def test_weights_under_masks_are_not_overwritten():
    """There, applying a mask set weights to zero, for good."""
    module = network()
    before = copy.deepcopy(module.state_dict())
    prune(module, Share(0.5))
    stored = module.state_dict()
    assert torch.equal(stored["0.parametrizations.weight.original"], before["0.weight"])


def test_initial_values_leave_masks_as_they_are():
    """There, new initial values opened all masks, or ended in an AttributeError."""
    module = network()
    prune(module, Share(0.5))
    before = pruning_masks(module)["0.weight"].clone()
    for layer in module:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    assert torch.equal(pruning_masks(module)["0.weight"], before)
    assert torch.equal(module[0].weight != 0, before)


def test_what_is_named_can_be_imported():
    """There, the documentation imported a function that was gone."""
    package = nn_graphs.networks.pruning
    assert "prune" in package.__all__
    assert all(getattr(package, name) is not None for name in package.__all__)
