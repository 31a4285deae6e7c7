"""Padded stacks of networks of many graphs against each network by itself in plain torch."""

import pytest
import torch
import torch.nn.functional as F

from nn_graphs.networks.classifiers.data import LabelledData, Orders
from nn_graphs.networks.classifiers.model import EVALUATION, StackedModel
from nn_graphs.networks.classifiers.schedules import Schedule
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe, train_classifiers
from nn_graphs.networks.dag.dag_family import stack_dags
from nn_graphs.networks.dag.dag_network import DAGNetwork, masked_feed_forward
from nn_graphs.networks.optimizers import Optimizer
from tests.networks.dag.structures import random_structure

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = Recipe(
    Optimizer("sgd", 0.05, momentum=0.9, is_nesterov=True, weight_decay=0.01), Schedule("cosine")
)
PLAN = Plan(num_epochs=3, batch_size=8, is_compiled=False)


def make(seed: int, **options) -> DAGNetwork:
    generator = torch.Generator().manual_seed(seed)
    options = {"in_features": 9, "out_features": 4, "generator": generator, **options}
    return DAGNetwork(random_structure(seed), **options).double()


def make_data() -> LabelledData:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(52, 1, 3, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (52,), generator=generator)
    return LabelledData(images, labels, 40, torch.zeros(1).double(), torch.ones(1).double())


@pytest.mark.parametrize("few_weights", [0, 2**16])
def test_outputs_are_those_of_each_network(monkeypatch, few_weights):
    """Of different depths and widths, read both ways; inputs shared or of one's own."""
    networks = [make(seed) for seed in range(12)]
    monkeypatch.setattr("nn_graphs.networks.dag.layer_reading.FEW_WEIGHTS", few_weights)
    monkeypatch.setattr("nn_graphs.networks.dag.layer_reading.MAX_SURPLUS", 0.5)
    family = stack_dags(networks)
    assert family.model.reading.is_windowed == (few_weights > 0)
    assert isinstance(family.model, StackedModel)
    inputs = torch.randn(12, 5, 1, 3, 3).double()
    outputs, buffers = family.model(family.params, family.buffers, inputs, EVALUATION)
    assert buffers.shape == (12, 0)
    for network, own, seen in zip(networks, outputs, inputs, strict=True):
        assert torch.allclose(own, network(seen), rtol=0, atol=1e-12)
    shared, _ = family.model(family.params, family.buffers, inputs[:1], EVALUATION)
    assert torch.allclose(shared[3], networks[3](inputs[0]), rtol=0, atol=1e-12)


def test_a_network_has_its_own_parameters_and_no_others():
    networks = [make(seed) for seed in range(6)]
    family = stack_dags(networks)
    for network, known in zip(networks, family.trainable, strict=True):
        biases = sum(layer.out_features for layer in network.layers)
        assert int(known.sum()) == network.num_connections + biases
    assert (family.params[~family.trainable] == 0).all()
    assert 0 < family.padded_share < 1
    assert stack_dags([masked_feed_forward(9, 4, [3])]).padded_share == 0


def test_training_equals_each_network_alone():
    data = make_data()
    networks = [make(seed, activation="tanh") for seed in (0, 1, 2, 7)]
    family = stack_dags(networks)
    checkpoint = train_classifiers(
        family.model,
        family.params,
        family.buffers,
        data,
        [RECIPE] * len(networks),
        PLAN,
        trainable=family.trainable,
    )[-1]
    for number, network in enumerate(networks):
        trained = make((0, 1, 2, 7)[number], activation="tanh")
        family.load(trained, number, checkpoint.params[number])
        train_alone(network, data)
        for mine, theirs in zip(trained.parameters(), network.parameters(), strict=True):
            assert torch.allclose(mine, theirs, rtol=0, atol=1e-10)
        assert trained.structure.equals(network.structure)


def train_alone(network: DAGNetwork, data: LabelledData) -> None:
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
            F.cross_entropy(network(data.take(index)), data.labels[index]).backward()
            optimizer.step()


def test_networks_that_are_no_stack(raises_saying):
    asked = "networks of directed acyclic graphs"
    with raises_saying(asked=f"stack 0 {asked}", found="there is none", do="alike"):
        stack_dags([])
    with raises_saying(asked=f"stack 2 {asked}", found="(9, 4, 'relu')", do="alike"):
        stack_dags([make(0), make(0, activation="tanh")])
    with raises_saying(asked=f"stack 1 {asked}", found="some have norms", do="without norms"):
        stack_dags([make(0, has_norm=True)])
