"""Exact counts in every mode and scope, ties, and what is refused."""

import pytest
import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning import (
    Bucket,
    Count,
    Density,
    RandomSaliency,
    Share,
    Threshold,
    magnitude,
    prunable_names,
    prune,
    prune_in_rounds,
    pruning_masks,
    spread_magnitude,
)
from tests.networks.pruning.modules import Nested, cnn, mlp

SIZES = {"0.weight": 48, "2.weight": 40, "4.weight": 15}  # of mlp(6, 8, 5, 3)
SALIENCIES = {"magnitude": magnitude, "spread": spread_magnitude, "random": RandomSaliency(1)}
LEFT = {
    (Share(0.5), "global"): 51,  # of 103: 51.5 go, rounded up
    (Share(0.5), "layer"): 24 + 20 + 7,
    (Count(10), "global"): 93,
    (Count(10), "layer"): 73,
    (Density(0.1), "global"): 10,
    (Density(0.1), "layer"): 5 + 4 + 2,
    (Share(0.0), "global"): 103,
    (Count(0), "layer"): 103,
    (Density(1.0), "layer"): 103,
}


def network() -> nn.Sequential:
    return mlp(6, 8, 5, 3)


def num_zeros(module: nn.Module) -> int:
    names = prunable_names(module)
    return sum(int((module.get_submodule(n[:-7]).weight == 0).sum()) for n in names)


@pytest.mark.parametrize("saliency", SALIENCIES.values(), ids=SALIENCIES)
@pytest.mark.parametrize(("amount", "scope"), LEFT, ids=str)
def test_counts_are_exact(amount, scope, saliency):
    module = network()
    report = prune(module, amount, saliency=saliency, scope=scope)
    assert sum(report.num_left.values()) == LEFT[amount, scope]
    assert num_zeros(module) == 103 - LEFT[amount, scope]
    assert report.num_all == SIZES
    assert f"{LEFT[amount, scope]} of 103" in str(report)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_bucket_is_filled_as_far_as_it_goes(scope):
    module = network()
    values = magnitude(module, list(SIZES))
    prune(module, Bucket(1.0), scope=scope)
    masks = pruning_masks(module)
    parts = [list(SIZES)] if scope == "global" else [[name] for name in SIZES]
    for part in parts:
        gone = torch.cat([values[name][~masks[name]] for name in part]).double()
        left = torch.cat([values[name][masks[name]] for name in part]).double()
        assert gone.sum() <= 1.0 < gone.sum() + left.min()
        assert gone.max() <= left.min()


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_threshold_keeps_what_reaches_it(scope):
    module = network()
    values = magnitude(module, list(SIZES))
    bound = values["0.weight"][3, 2].item()
    prune(module, Threshold(bound), scope=scope)
    for name, mask in pruning_masks(module).items():
        assert torch.equal(mask, values[name] >= bound)


def test_least_salient_weights_go():
    module = network()
    values = magnitude(module, list(SIZES))
    prune(module, Count(30))
    gone = torch.cat([values[name][~mask] for name, mask in pruning_masks(module).items()])
    assert torch.equal(
        gone.sort().values, torch.cat([v.flatten() for v in values.values()]).sort().values[:30]
    )


def test_ties_are_broken_by_name_and_place():
    module = network()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.5)
    with pytest.warns(UserWarning, match=r"left nothing of 0\.weight"):
        prune(module, Count(50))
    masks = pruning_masks(module)
    assert not masks["0.weight"].any()
    assert masks["2.weight"].flatten().tolist() == [False] * 2 + [True] * 38
    assert masks["4.weight"].all()


def test_pruning_goes_on_from_the_masks_that_are_there():
    module = network()
    prune(module, Share(0.5))
    before = {name: mask.clone() for name, mask in pruning_masks(module).items()}
    report = prune(module, Share(0.5), saliency=RandomSaliency(5))
    assert sum(report.num_left.values()) == 51 - 26
    after = pruning_masks(module)
    assert all((before[name] | ~after[name]).all() for name in before)


def test_saliencies_of_pruned_weights_do_not_count():
    module = network()
    prune(module, Count(40))
    worst = {name: torch.full((mask.shape), 1.0) for name, mask in pruning_masks(module).items()}
    for name, mask in pruning_masks(module).items():
        worst[name][~mask] = torch.nan
    assert sum(prune(module, Count(3), saliency=lambda m, n: worst).num_left.values()) == 60


def test_any_module_is_pruned_by_names():
    module = Nested()
    names = ["matrix", "parts.0.0.weight", "parts.1.weight"]
    assert prunable_names(module) == names
    report = prune(module, Density(0.2), scope="layer")
    assert report.num_left == {"parts.0.0.weight": 5, "parts.1.weight": 6, "matrix": 3}
    assert int((module.matrix != 0).sum()) == 3
    assert prune(module, Count(2), names=["parts.1.bias"]).num_left == {"parts.1.bias": 3}
    assert module(torch.randn(2, 4)).shape == (2, 3)


def test_a_function_of_the_user_is_a_saliency():
    module = cnn()

    def squares(module, names):
        return {name: module.get_parameter(name) ** 2 for name in names}

    prune(module, Share(0.3), saliency=squares)
    other = cnn()
    prune(other, Share(0.3))
    assert all(
        torch.equal(mask, pruning_masks(other)[name])
        for name, mask in pruning_masks(module).items()
    )


def test_a_threshold_may_remove_everything_and_says_so():
    module = network()
    with pytest.warns(UserWarning, match=r"left nothing of 0\.weight, 2\.weight, 4\.weight"):
        report = prune(module, Threshold(100.0))
    assert report.empty == list(SIZES)
    assert report.density == 0
    assert "nothing in 0.weight, 2.weight, 4.weight" in str(report)
    assert torch.equal(module(torch.zeros(1, 6)), module(torch.ones(1, 6)))


def test_everything_may_go_by_share_too():
    with pytest.warns(UserWarning, match="left nothing"):
        assert prune(network(), Share(1.0)).density == 0


def nan_saliency(module, names):
    return {name: torch.full_like(module.get_parameter(name), torch.nan) for name in names}


def narrow_saliency(module, names):
    return {name: torch.ones(2, 2) for name in names}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"amount": Count(104)}, "103 of 103 are left"),
        ({"amount": Count(16), "scope": "layer"}, "15 of 15 are left"),
        ({"amount": Count(-1)}, "Give a whole number"),
        ({"amount": Count(1), "saliency": nan_saliency}, "48 of 0.weight are NaN"),
        ({"amount": Count(1), "saliency": narrow_saliency}, r"\[2, 2\] instead of \[8, 6\]"),
        ({"amount": Count(1), "saliency": lambda m, n: {}}, "NoneType instead of"),
        ({"amount": Count(1), "names": ["0.weigth"]}, "no parameter '0.weigth'"),
        ({"amount": Count(1), "names": []}, "no weight is named"),
    ],
)
def test_bad_input_gives_one_error_and_no_masks(arguments, message):
    module = network()
    with pytest.raises(NNGraphsError, match=message):
        prune(module, **arguments)
    assert pruning_masks(module) == {}


@pytest.mark.parametrize("make", [Share, Density])
@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_shares_lie_between_0_and_1(make, share):
    with pytest.raises(NNGraphsError, match="from 0 to 1"):
        make(share)


def test_a_density_that_is_passed_already_is_an_error():
    module = network()
    prune(module, Density(0.1))
    with pytest.raises(NNGraphsError, match=r"only 10 are left"):
        prune(module, Density(0.2))


def test_a_bucket_wants_saliencies_without_signs():
    with pytest.raises(NNGraphsError, match="some are negative"):
        prune(
            network(),
            Bucket(1.0),
            saliency=lambda m, n: {k: -v for k, v in magnitude(m, n).items()},
        )


def test_spread_magnitudes_are_those_of_each_layer():
    module = network()
    with torch.no_grad():
        module[2].weight.mul_(100)
    found = spread_magnitude(module, list(SIZES))
    weight = module[2].weight.detach()
    expected = weight.abs() / weight.double().std(correction=0)
    torch.testing.assert_close(found["2.weight"], expected.float())
    with torch.no_grad():
        module[2].weight.fill_(3.0)
    assert torch.equal(spread_magnitude(module, ["2.weight"])["2.weight"], torch.full((5, 8), 3.0))


def test_spread_magnitudes_keep_layers_of_small_weights():
    module = network()
    with torch.no_grad():
        module[4].weight.mul_(1e-6)
    assert prune(module, Density(0.5), saliency=spread_magnitude).num_left["4.weight"] > 0
    module = network()
    with torch.no_grad():
        module[4].weight.mul_(1e-6)
    with pytest.warns(UserWarning, match="left nothing of 4.weight"):
        prune(module, Density(0.5))


def test_random_pruning_follows_its_seed():
    masks = []
    for seed in (1, 1, 2):
        module = network()
        prune(module, Share(0.5), saliency=RandomSaliency(seed))
        masks.append(torch.cat([mask.flatten() for mask in pruning_masks(module).values()]))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_rounds_end_at_the_density(scope):
    module, densities = network(), []

    def watched(module, names):
        masks = pruning_masks(module, names)
        densities.append(sum(int(mask.sum()) for mask in masks.values()))
        return magnitude(module, names)

    report = prune_in_rounds(module, 0.2, saliency=watched, num_rounds=4, scope=scope)
    assert sum(report.num_left.values()) == (21 if scope == "global" else 10 + 8 + 3)
    assert densities[0] == 103
    if scope == "global":
        assert densities[1:] == [round(103 * 0.2 ** (n / 4)) for n in (1, 2, 3)]


@pytest.mark.parametrize("arguments", [{"num_rounds": 0}, {"num_rounds": 2, "density": 1.5}])
def test_rounds_that_make_no_sense(arguments):
    with pytest.raises(NNGraphsError, match="at least one round"):
        prune_in_rounds(network(), **{"density": 0.5, "saliency": magnitude, **arguments})
