"""Orders of networks, views of sources, and parts of several processes."""

import math

import numpy as np
import pytest
import torch
from torch.utils.data import DistributedSampler

from nn_graphs.encoders.flat_mlp import FlatMLP
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.training import EpochSampler, in_split_order, train_and_test
from tests.training.runs import change, train

pytestmark = pytest.mark.usefixtures("one_thread")


def test_order_depends_on_seed_and_epoch_alone():
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(np.arange(20), seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert sorted(order(0, 0)) == list(range(20))
    torch.rand(5)
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_an_epoch_has_one_view_of_each_source():
    sources = np.array([7, 7, 7, 7, 3, 3, 9])
    sampler, chosen = EpochSampler(sources, seed=0), []
    assert len(sampler) == 3
    for epoch in range(400):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(sources[order]) == [3, 7, 9]
        chosen += order
    counts = np.bincount(chosen) / 400
    assert counts == pytest.approx([0.25] * 4 + [0.5] * 2 + [1], abs=0.07)
    sampler.set_epoch(5)
    assert list(sampler) == chosen[15:18]


def test_training_with_one_view_of_each_image(tmp_path, tiny_zoo):
    """24 images with two INRs each: an epoch is 2 steps of at most 16, not 3."""
    seen = []

    class Counted(INRClassification):
        def loss(self, outputs, labels):
            seen.append(len(labels))
            return super().loss(outputs, labels)

    for has_one_view, sizes in ((True, [16, 8]), (False, [16] * 3)):
        task = Counted(tiny_zoo)
        model = FlatMLP(task.templates[0], hidden_dims=(4,), out_dim=10)
        settings = change(num_epochs=2, has_one_view=has_one_view)
        train_and_test(model, task, settings, tmp_path / str(has_one_view))
        assert seen == sizes * 2
        seen.clear()


def test_views_of_what_is_not_known(raises_saying, tmp_path):
    with raises_saying(asked="views of the same image", found="label, split", do="`source_id`"):
        train(tmp_path, change(has_one_view=True))


@pytest.mark.parametrize(("num_networks", "processes"), [(8, 2), (7, 2), (10, 4), (3, 4)])
def test_parts_of_several_processes_make_the_split_again(num_networks, processes):
    values = torch.randn(num_networks, 3)
    parts = [
        list(DistributedSampler(values, num_replicas=processes, rank=rank, shuffle=False))
        for rank in range(processes)
    ]
    assert sum(map(len, parts)) == math.ceil(num_networks / processes) * processes
    gathered = torch.stack([values[part] for part in parts])
    assert torch.equal(in_split_order(gathered, num_networks=num_networks), values)
    labels = gathered[..., 0]
    assert torch.equal(in_split_order(labels, num_networks=num_networks), values[:, 0])
