"""RigL and SET: counts stay, what is dropped and grown is what shall be."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning import (
    DynamicSparsity,
    plain_copy,
    pruning_masks,
    sparsify,
)
from nn_graphs.networks.pruning.attached_masks import original_weights
from tests.networks.pruning.modules import batches, cnn, mlp

DATA = batches(4, 3)


def loss_of(module: nn.Module) -> torch.Tensor:
    return sum(F.cross_entropy(module(x), y) for x, y in DATA)


def masks_of(module: nn.Module) -> dict:
    return {name: mask.clone() for name, mask in pruning_masks(module).items()}


@pytest.mark.parametrize("growth", ["gradient", "random"])
def test_counts_stay_through_training(growth):
    module = mlp(4, 20, 3)
    report = sparsify(module, 0.3)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    sparse = DynamicSparsity(module, 40, growth=growth, every=5, optimizer=optimizer)
    first, changes = masks_of(module), []
    for step in range(45):
        if sparse.is_due(step):
            changes.append(sparse.update(step, lambda: loss_of(module)))
        optimizer.zero_grad()
        loss_of(module).backward()
        optimizer.step()
        found = {name: int(mask.sum()) for name, mask in pruning_masks(module).items()}
        assert found == report.num_left
        plain = plain_copy(module)
        assert int((plain[0].weight != 0).sum()) <= report.num_left["0.weight"]
    assert len(changes) == 7
    assert any(changes)
    assert not all(torch.equal(mask, first[name]) for name, mask in pruning_masks(module).items())


def test_rigl_drops_small_weights_and_grows_where_gradients_are_large():
    module = mlp(4, 20, 3)
    sparsify(module, 0.4, seed=3)
    before, weights = masks_of(module), original_weights(module, ["0.weight"])["0.weight"]
    values = weights.detach().clone()
    plain = plain_copy(module)
    (slopes,) = torch.autograd.grad(loss_of(plain), [plain[0].weight])
    sparse = DynamicSparsity(module, 100, drop_share=0.25, is_annealed=False)
    sparse.update(50, lambda: loss_of(module))
    old, new = before["0.weight"], pruning_masks(module)["0.weight"]
    number = int(0.25 * int(old.sum()))
    after_drop = old.clone().flatten()
    after_drop[old.flatten().nonzero()[:, 0][values[old].abs().argsort()[:number]]] = False
    candidates = (~after_drop).nonzero()[:, 0]
    grown = candidates[slopes.flatten()[candidates].abs().argsort(descending=True)[:number]]
    expected = after_drop.clone()
    expected[grown] = True
    assert torch.equal(new.flatten(), expected)
    assert (weights[new & ~old] == 0).all()
    assert torch.equal(weights[new & old], values[new & old])


def test_the_memory_of_grown_weights_is_forgotten():
    module = mlp(4, 20, 3)
    sparsify(module, 0.4)
    optimizer = torch.optim.Adam(module.parameters())
    loss_of(module).backward()
    optimizer.step()
    weight = original_weights(module, ["0.weight"])["0.weight"]
    optimizer.state[weight]["exp_avg"].fill_(1.0)
    before = masks_of(module)["0.weight"]
    DynamicSparsity(module, 100, optimizer=optimizer).update(10, lambda: loss_of(module))
    is_new = pruning_masks(module)["0.weight"] & ~before
    memory = optimizer.state[weight]["exp_avg"]
    assert is_new.any()
    assert (memory[is_new] == 0).all()
    assert (memory[before] == 1).all()


def test_the_share_falls_along_a_cosine():
    module = mlp(4, 20, 3)
    sparsify(module, 0.4)
    sparse = DynamicSparsity(module, 100, drop_share=0.3)
    assert [sparse.share(step) for step in (0, 50, 100)] == pytest.approx([0.3, 0.15, 0.0])
    constant = DynamicSparsity(module, 100, drop_share=0.3, is_annealed=False)
    assert constant.share(99) == 0.3
    assert [step for step in range(0, 401, 50) if sparse.is_due(step)] == []
    assert [s for s in range(401) if DynamicSparsity(module, 301).is_due(s)] == [100, 200, 300]


def test_random_growth_follows_its_seed():
    found = []
    for seed in (0, 0, 1):
        module = mlp(4, 20, 3)
        sparsify(module, 0.4)
        DynamicSparsity(module, 100, growth="random", seed=seed).update(10)
        found.append(pruning_masks(module)["0.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("distribution", ["uniform", "erdos_renyi"])
@pytest.mark.parametrize("density", [0.0, 0.01, 0.1, 0.5, 0.97, 1.0])
@pytest.mark.filterwarnings("ignore:Pruning left nothing")
def test_random_masks_have_exact_counts(distribution, density):
    module = cnn()
    report = sparsify(module, density, distribution=distribution)
    assert sum(report.num_left.values()) == int(density * 540 + 0.5)
    if distribution == "uniform":
        for name, number in report.num_left.items():
            assert abs(number - density * report.num_all[name]) < 1


def test_erdos_renyi_shares_follow_the_axes():
    """A layer keeps in proportion to the sum of its sizes: 1 + 4 + 3 + 3 for the first one."""
    report = sparsify(cnn(), 0.1)
    sums = {"0.weight": 1 + 4 + 3 + 3, "3.weight": 4 + 6 + 3 + 3, "6.weight": 96 + 3}
    scale = 54 / sum(sums.values())
    for name, total in sums.items():
        assert abs(report.num_left[name] - scale * total) < 1


def test_layers_that_would_be_fuller_than_full_are_full():
    report = sparsify(mlp(2, 30, 30, 2), 0.3)
    assert report.num_left["0.weight"] == report.num_all["0.weight"] == 60
    assert sum(report.num_left.values()) == round(0.3 * 1020)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"last_step": 0}, "last_step 0"),
        ({"drop_share": 1.5}, "drop_share is 1.5"),
        ({"every": 0}, "every 0"),
        ({"names": ["1.weight"]}, r"no parameter '1\.weight'"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    module = mlp(4, 20, 3)
    sparsify(module, 0.4)
    with pytest.raises(NNGraphsError, match=message):
        DynamicSparsity(module, **{"last_step": 10, **settings})


def test_other_bad_input():
    module = mlp(4, 20, 3)
    with pytest.raises(NNGraphsError, match="it has no masks"):
        DynamicSparsity(module, 10)
    with pytest.raises(NNGraphsError, match="from 0 to 1"):
        sparsify(module, 1.5)
    sparsify(module, 0.4)
    with pytest.raises(NNGraphsError, match="there is no loss"):
        DynamicSparsity(module, 10).update(1)
    before = masks_of(module)
    with pytest.raises(NNGraphsError, match=r"those of 0\.weight are NaN"):
        DynamicSparsity(module, 10).update(1, lambda: loss_of(module) * torch.nan)
    assert all(torch.equal(mask, before[name]) for name, mask in masks_of(module).items())
