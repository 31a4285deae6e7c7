"""Stacks of structures: the same accuracies one by one, and going on where rows are missing."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.single import train_module
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.sparse_structure import (
    StructureJob,
    StructureTraining,
    sample_structures,
    score_structures,
    train_structures,
)
from nn_graphs.sparse_structure.structure_training import in_stacks

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = Recipe(Optimizer("adam", 0.01))


@pytest.fixture(scope="module")
def data() -> LabelledData:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(160, 1, 2, 3, generator=generator)
    labels = inputs.flatten(1)[:, :3].argmax(1)
    return LabelledData(inputs, labels, 120, torch.tensor(0.0), torch.tensor(1.0))


@pytest.fixture(scope="module")
def jobs() -> list[StructureJob]:
    graphs = [one.make() for one in sample_structures(6, num_nodes=(12, 16))]
    return [StructureJob(n, graph, seed) for seed in (1, 2) for n, graph in enumerate(graphs)]


@pytest.fixture(scope="module")
def training(data) -> StructureTraining:
    return StructureTraining.of_data(data, RECIPE, Plan(4, 20, is_compiled=False))


def test_of_data(training):
    assert (training.in_features, training.out_features) == (6, 3)


def test_stacks_have_one_seed_and_nearly_one_depth(jobs):
    groups = in_stacks(jobs, 2)
    assert sorted(job.key for group in groups for job in group) == sorted(job.key for job in jobs)
    depths = [[job.structure.num_layers for job in group] for group in groups]
    for group in groups:
        assert len({job.seed for job in group}) == 1
        assert len(group) == 2
    for mine, following in pairwise(depths[:3]):
        assert max(mine) <= min(following)


def test_accuracies_are_those_of_networks_alone(training, jobs, data):
    found = score_structures(training, jobs, data, chunk_size=3)
    for place in (0, 4, 9):
        job = jobs[place]
        network = training.make_network(job)
        recipe = training.recipes([job])[0]
        alone = train_module(network, data, recipe, training.plan)
        assert found[place] == pytest.approx(float(alone.test_accuracy[0]), abs=1e-6)
    assert np.ptp(found) > 0


def test_a_draw_gives_other_initial_values_and_the_same_order(training, jobs):
    job = jobs[0]
    other = StructureJob(job.number, job.structure, job.seed, 3)
    weights = [training.make_network(one).layers[0].weight for one in (job, other, other)]
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2])
    assert training.recipes([job]) == training.recipes([other])


def test_only_what_is_missing_is_trained(training, jobs, data, tmp_path):
    seen = []
    options = {"folder": tmp_path, "chunk_size": 3, "num_workers": 1}

    def train(done: set) -> dict:
        found = {}

        def record(group, scores):
            seen.append(len(group))
            found.update(
                zip((job.key for job in group), scores.test_accuracy.tolist(), strict=True)
            )

        train_structures(training, jobs, data, done=done, on_done=record, **options)
        return found

    every = train(set())
    assert set(every) == {job.key for job in jobs}
    left = in_stacks(jobs, 3)[1]
    seen.clear()
    again = train(set(every) - {left[0].key})
    assert seen == [3]
    assert again == {job.key: every[job.key] for job in left}
    assert not list(tmp_path.glob("chunk_*"))
