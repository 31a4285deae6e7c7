"""Iterative tickets: counts, rewinding bit for bit, masks that only shrink."""

import copy
from itertools import pairwise

import torch

from nn_graphs.networks.pruning import (
    RandomSaliency,
    lottery_tickets,
    magnitude,
    plain_copy,
    pruning_masks,
)
from nn_graphs.networks.pruning.attached_masks import original_weights
from tests.networks.pruning.modules import batches, cnn, mlp, train

DATA = batches(4, 3)
DENSITIES = (0.8, 0.64, 0.3, 0.15)


def run(module, **settings) -> list:
    return list(lottery_tickets(module, lambda m: train(m, DATA), DENSITIES, **settings))


def test_tickets_have_the_densities_and_the_initial_weights():
    module = mlp(4, 20, 3)
    start = copy.deepcopy(module)
    left = []
    for ticket in lottery_tickets(module, lambda m: train(m, DATA), DENSITIES):
        left.append(sum(ticket.report.num_left.values()))
        for layer, own in zip(module, start, strict=True):
            if hasattr(own, "weight"):
                assert torch.equal(layer.bias, own.bias)
        for name, mask in ticket.masks.items():
            own = start.get_parameter(name)
            assert torch.equal(original_weights(module, [name])[name], own)
            assert torch.equal(plain_copy(module).get_parameter(name), torch.where(mask, own, 0))
        assert isinstance(ticket.trained, float)
    assert left == [round(140 * density) for density in DENSITIES]


def test_masks_are_those_of_the_trained_weights():
    module, other = mlp(4, 20, 3), mlp(4, 20, 3)
    train(other, DATA)
    values = torch.cat([v.flatten() for v in magnitude(other, ["0.weight", "2.weight"]).values()])
    ticket = next(lottery_tickets(module, lambda m: train(m, DATA), [0.5]))
    mask = torch.cat([mask.flatten() for mask in ticket.masks.values()])
    assert values[mask].min() >= values[~mask].max()


def test_masks_shrink():
    tickets = run(mlp(4, 20, 3))
    for before, after in pairwise(tickets):
        assert all((before.masks[name] | ~mask).all() for name, mask in after.masks.items())


def test_rewinding_to_an_early_step():
    module, other = mlp(4, 20, 3), mlp(4, 20, 3)
    start = copy.deepcopy(module)
    train(other, DATA, num_steps=3)
    run(module, warm_up=lambda m: train(m, DATA, num_steps=3))
    found = original_weights(module, ["0.weight"])["0.weight"]
    assert torch.equal(found, other[0].weight)
    assert not torch.equal(found, start[0].weight)


def test_statistics_are_rewound_too():
    module = cnn()
    start = copy.deepcopy(module.state_dict())
    data = [(torch.randn(6, 1, 6, 6), torch.tensor([0, 1, 2, 0, 1, 2]))]

    def learn(own):
        train(own, data, num_steps=3)
        assert not torch.equal(own[1].running_mean, start["1.running_mean"])

    list(lottery_tickets(module, learn, [0.5, 0.25], names=["3.weight"]))
    assert torch.equal(module[1].running_mean, start["1.running_mean"])
    assert module[1].num_batches_tracked == 0
    assert [*pruning_masks(module)] == ["3.weight"]


def test_tickets_can_be_found_by_other_saliencies():
    first = run(mlp(4, 20, 3), saliency=RandomSaliency(1), scope="layer")
    assert first[-1].report.num_left == {"0.weight": 12, "2.weight": 9}


def test_tickets_repeat():
    masks = [run(mlp(4, 20, 3))[-1].masks for _ in range(2)]
    assert all(torch.equal(mask, masks[1][name]) for name, mask in masks[0].items())
