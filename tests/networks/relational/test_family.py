"""Padded stacks of relational MLPs against each network trained by itself in plain torch."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nn_graphs.networks.classifiers.data import LabelledData, Orders
from nn_graphs.networks.classifiers.model import EVALUATION, Mode
from nn_graphs.networks.classifiers.schedules import Schedule
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe, train_classifiers
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.networks.relational.architectures import mlp
from nn_graphs.networks.relational.family import groups_by_width, stack_family
from nn_graphs.networks.relational.network import RelationalNetwork
from tests.networks.relational.cases import graph_of_row, small

pytestmark = pytest.mark.usefixtures("one_thread")

ARCHITECTURE = mlp(24, depth=2, in_channels=1, in_side=3, num_classes=4)
ROWS = ((8, 0.3, 0.2, 0), (8, 0.6, 0.5, 1), (8, 0.875, 0.0, 2))
RECIPE = Recipe(
    Optimizer("sgd", 0.05, momentum=0.9, is_nesterov=True, weight_decay=0.01), Schedule("cosine")
)
PLAN = Plan(num_epochs=4, batch_size=8, is_compiled=False)


def make_networks() -> list[RelationalNetwork]:
    graphs = [*map(graph_of_row, ROWS), None]
    return [
        RelationalNetwork(
            ARCHITECTURE, graph, generator=torch.Generator().manual_seed(seed)
        ).double()
        for seed, graph in enumerate(graphs)
    ]


def make_data() -> LabelledData:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(52, 1, 3, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (52,), generator=generator)
    return LabelledData(images, labels, 40, torch.zeros(1).double(), torch.ones(1).double())


def train_alone(network: RelationalNetwork, data: LabelledData) -> None:
    settings = RECIPE.optimizer
    optimizer = torch.optim.SGD(
        network.parameters(),
        settings.learning_rate,
        settings.momentum,
        nesterov=True,
        weight_decay=settings.weight_decay,
    )
    orders = Orders(data.num_train, fractions=[1.0], seeds=[0], batch_size=PLAN.batch_size)
    for epoch in range(PLAN.num_epochs):
        factor = RECIPE.schedule.at(epoch, PLAN.num_epochs)
        optimizer.param_groups[0]["lr"] = settings.learning_rate * factor
        for index in orders.epoch(epoch)[:, 0]:
            optimizer.zero_grad()
            F.cross_entropy(network(data.inputs[index]), data.labels[index]).backward()
            optimizer.step()


@pytest.fixture(scope="module")
def trained():
    """The stack, and what twenty steps make of it."""
    torch.set_num_threads(1)
    stack = stack_family(make_networks())
    recipes = [RECIPE] * len(stack.params)
    (last,) = train_classifiers(
        stack.model, stack.params, stack.buffers, make_data(), recipes, PLAN,
        trainable=stack.trainable,
    )  # fmt: skip
    return stack, last


@pytest.mark.parametrize("number", range(len(ROWS) + 1))
def test_twenty_steps_equal_those_of_the_network_alone(trained, number):
    stack, last = trained
    alone, loaded = make_networks()[number], make_networks()[number]
    train_alone(alone, make_data())
    stack.load(loaded, last.params[number], last.buffers[number])
    for (name, ours), theirs in zip(
        loaded.state_dict().items(), alone.state_dict().values(), strict=True
    ):
        if ours.is_floating_point():
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9, msg=name)
    data = make_data()
    logits = alone.eval()(data.inputs[data.num_train :])
    loss = F.cross_entropy(logits, data.labels[data.num_train :]).detach()
    torch.testing.assert_close(last.scores.test_loss[number], loss, rtol=1e-8, atol=1e-9)


def test_what_is_masked_or_padded_stays_exactly_zero(trained):
    stack, last = trained
    assert len({network.widths for network in make_networks()}) >= 3
    assert not last.params[~stack.trainable].any()
    changed = (last.params != stack.params)[stack.trainable]
    assert changed.double().mean() > 0.95
    assert last.buffers.isfinite().all()


@pytest.mark.parametrize("mode", [EVALUATION, Mode(is_training=True)], ids=["eval", "training"])
@pytest.mark.parametrize("more", [0, 13])
def test_padding_changes_no_output(mode, more):
    networks = make_networks()
    width = max(network.widths[0] for network in networks)
    stack = stack_family(networks, width=width + more)
    inputs = make_data().inputs[:20]
    logits, _ = stack.model(stack.params, stack.buffers, inputs[None], mode)
    for network, found in zip(networks, logits, strict=True):
        expected = network.train(mode.is_training)(inputs)
        torch.testing.assert_close(found, expected.detach(), rtol=1e-10, atol=1e-12)


def test_padded_share_is_of_multiply_accumulates():
    networks = make_networks()
    assert stack_family(networks[:1]).padded_share == 0
    width, more = networks[0].widths[0], 10
    dense = [9 * 24 + 24 * wide + wide**2 + 4 * wide for wide in (width, width + more)]
    assert stack_family(networks[:1], width=width + more).padded_share == pytest.approx(
        1 - dense[0] / dense[1]
    )


def test_groups_by_width_hold_each_network_once_and_similar_ones_together():
    widths = np.random.default_rng(0).integers(20, 60, 23).tolist()
    groups = groups_by_width(widths, 6)
    assert sorted(np.concatenate(groups)) == list(range(23))
    assert max(map(len, groups)) <= 6
    taken = [np.take(widths, group) for group in groups]
    bounds = [(one.min(), one.max()) for one in taken]
    assert all(high <= low for (_, high), (low, _) in pairwise(bounds))


def test_what_cannot_be_stacked(raises_saying):
    networks = make_networks()
    with raises_saying(asked="stack 1 relational", found="not multilayer", do="one by one"):
        stack_family([RelationalNetwork(small("cnn6"), None)])
    with raises_saying(asked="with 20 channels", found="has", do="larger"):
        stack_family(networks, width=20)
