"""Stacks that learn to predict numbers: scores by scikit-learn, training by a plain twin."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import r2_score
from torch import nn

from nn_graphs.networks.classifiers.data import LabelledData, Orders, network_keys
from nn_graphs.networks.classifiers.evaluation import evaluate
from nn_graphs.networks.classifiers.objectives import (
    Classification,
    Regression,
    RegressionScores,
    objective_of,
    variances,
)
from nn_graphs.networks.classifiers.single import torch_optimizer, train_module
from nn_graphs.networks.classifiers.spec_model import SpecModel
from nn_graphs.networks.classifiers.train_stack import (
    Checkpoint,
    Plan,
    Recipe,
    train_classifiers,
)
from nn_graphs.networks.initializers import torch_initial_params
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.networks.spec import NetworkSpec

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = NetworkSpec.mlp((3, 6, 1), activation="tanh")
MODEL = SpecModel(SPEC)
PARAMS = torch_initial_params(SPEC, network_keys([0, 1, 2], torch.device("cpu"))).double()
RECIPES = [
    Recipe(Optimizer("adam", 0.02), seed=3),
    Recipe(Optimizer("sgd", 0.05, momentum=0.9), train_fraction=0.5, seed=4),
    Recipe(Optimizer("adamw", 0.01), train_fraction=0.7),
]
PLAN = Plan(num_epochs=6, batch_size=8, checkpoint_epochs=(0, 3), is_compiled=False)


def make_data(num_train: int = 50, num_test: int = 20) -> LabelledData:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(num_train + num_test, 3, generator=generator, dtype=torch.float64)
    targets = inputs[:, 0].sin() + 0.5 * inputs[:, 1] * inputs[:, 2]
    zero, one = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    return LabelledData(inputs, targets, num_train, zero, one)


def train(plan: Plan = PLAN, **options) -> list[Checkpoint]:
    buffers = PARAMS.new_zeros(3, 0)
    return train_classifiers(MODEL, PARAMS, buffers, make_data(), RECIPES, plan, **options)


@pytest.fixture(scope="module")
def trained() -> list[Checkpoint]:
    torch.set_num_threads(1)
    return train()


def module_of(params: torch.Tensor) -> nn.Module:
    module = SPEC.make_module().double()
    nn.utils.vector_to_parameters(params.clone(), module.parameters())
    return module


def orders_of(recipe: Recipe) -> Orders:
    return Orders(50, fractions=[recipe.train_fraction], seeds=[recipe.seed], batch_size=8)


def test_labels_tell_what_is_asked():
    assert isinstance(objective_of(torch.zeros(2)), Regression)
    assert isinstance(objective_of(torch.zeros(2, dtype=torch.long)), Classification)
    assert make_data().is_regression


@pytest.mark.parametrize("number", range(3))
def test_scores_are_those_of_scikit_learn(trained, number):
    data, last = make_data(), trained[-1]
    seen = orders_of(RECIPES[number]).membership()[0].nonzero()[:, 0]
    with torch.no_grad():
        outputs = module_of(last.params[number])(data.inputs)[:, 0]
    assert isinstance(last.scores, RegressionScores)
    test = torch.arange(50, 70)
    for part, r2, mse in zip((seen, test), last.scores[::2], last.scores[1::2], strict=True):
        assert r2[number].item() == pytest.approx(r2_score(data.labels[part], outputs[part]))
        loss = F.mse_loss(outputs[part], data.labels[part])
        assert mse[number].item() == pytest.approx(loss.item())


@pytest.mark.parametrize("number", range(3))
def test_a_network_of_a_stack_is_as_if_trained_alone(trained, number):
    module, data, recipe = module_of(PARAMS[number]), make_data(), RECIPES[number]
    optimizer, orders = torch_optimizer(recipe.optimizer, module), orders_of(recipe)
    for epoch in range(PLAN.num_epochs):
        for index in orders.epoch(epoch)[:, 0]:
            optimizer.zero_grad()
            F.mse_loss(module(data.inputs[index])[:, 0], data.labels[index]).backward()
            optimizer.step()
    alone = nn.utils.parameters_to_vector(module.parameters())
    torch.testing.assert_close(trained[-1].params[number], alone.detach(), rtol=1e-9, atol=1e-11)


def test_networks_learn(trained):
    first, last = trained[0].scores, trained[-1].scores
    assert (first.test_r2 < 0.3).all()
    assert (last.test_r2 > first.test_r2).all()
    assert last.train_r2[0] > 0.5


def test_an_interrupted_training_goes_on_bit_for_bit(trained, tmp_path):
    class Interrupting:
        calls = 0

        def advance(self, steps, figures=None):
            self.calls += bool(figures)
            if self.calls == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            replace(PLAN, save_seconds=0.0),
            state_file=tmp_path / "state.pt",
            progress=Interrupting(),
        )
    for ours, theirs in zip(train(state_file=tmp_path / "state.pt"), trained, strict=True):
        assert torch.equal(ours.params, theirs.params)
        assert type(ours.scores) is RegressionScores
        assert all(map(torch.equal, ours.scores, theirs.scores))


def test_equal_numbers_have_no_r2():
    seen = torch.tensor([[True] * 4, [False, False, True, True]])
    found = variances(torch.tensor([1.0, 3.0, 2.0, 2.0]), seen)
    assert found[0].item() == 0.5
    assert found[1].isnan()
    data = make_data()
    data.labels[50:] = 1.0
    scores = evaluate(MODEL, PARAMS, PARAMS.new_zeros(3, 0), data, seen.new_ones(1, 50))
    assert scores.test_r2.isnan().all()
    assert scores.test_mse.isfinite().all()
    assert scores.train_r2.isfinite().all()


def test_a_single_module_is_not_trained_to_predict_numbers(raises_saying):
    with raises_saying(asked="one module", found="1.4", do="train_classifiers"):
        data = make_data()
        data.labels[0] = 1.4
        train_module(module_of(PARAMS[0]), data, RECIPES[0], PLAN)
