"""Baselines against torch's own optimizers, and tuned on a grid that is one stack."""

from functools import partial

import pytest
import torch

from nn_graphs.datasets import load_images
from nn_graphs.learned_optimizers.inner_curves import train_networks
from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.learned_optimizers.inner_training import InnerTraining
from nn_graphs.learned_optimizers.optimizee import Optimizee
from nn_graphs.learned_optimizers.stacked_baselines import RULES, hand_designed, settings_row
from nn_graphs.learned_optimizers.tuned_baselines import TuningBudget, tune
from nn_graphs.learned_optimizers.update_rules import Muon, ScheduleFree, orthogonal
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.spec import ConvSpec, NetworkSpec

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = LabelledData.from_dataset(load_images("digits"), dtype=torch.float64)
CNN = NetworkSpec.cnn(
    (1, 4, 5), convs=ConvSpec.square(3, padding=1), activations="relu", num_outputs=10
)
TASK = InnerTask("cnn", CNN, DATA, batch_size=16)
MLP = InnerTask("mlp", NetworkSpec.mlp([64, 6, 10], activation="relu"), DATA.flattened())
KEYS = torch.tensor([3, 7], dtype=torch.int32)
optim = torch.optim
TWINS = {
    "sgd": (partial(optim.SGD, lr=0.1), 0.1, 0.0),
    "momentum": (partial(optim.SGD, lr=0.1, momentum=0.9), 0.1, 0.0),
    "adam": (partial(optim.Adam, lr=0.01), 0.01, 0.0),
    "adamw": (partial(optim.AdamW, lr=0.01, weight_decay=0.1), 0.01, 0.1),
    "adafactor": (partial(optim.Adafactor, lr=0.2, weight_decay=0.1), 0.2, 0.1),
}


def stacked(name, weights, task=TASK, num_steps=6):
    training = InnerTraining(task, hand_designed(name))
    state = training.start(KEYS)
    for step in range(num_steps):
        _, state = training.step(weights, state, KEYS, torch.full_like(KEYS, step))
    return training.judged_params(state)


@pytest.mark.parametrize("name", TWINS)
def test_rules_are_those_of_torch(name):
    make, rate, decay = TWINS[name]
    found = stacked(name, torch.tensor([[rate, decay]], dtype=torch.float64))
    layout = TASK.spec.parameters
    for row in range(2):
        params = TASK.initial_params(KEYS)[row]
        tensors = [torch.nn.Parameter(layout.view(params, slot).clone()) for slot in layout.slots]
        optimizer = make(tensors)
        for step in range(6):
            flat = torch.cat([tensor.detach().flatten() for tensor in tensors]).unsqueeze(0)
            key = KEYS[row : row + 1]
            _, gradients = TASK.losses_and_gradients(flat, key, torch.full_like(key, step))
            for tensor, slot in zip(tensors, layout.slots, strict=True):
                tensor.grad = layout.view(gradients[0], slot).clone()
            optimizer.step()
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        torch.testing.assert_close(found[row], flat, rtol=1e-9, atol=1e-9)


def test_lion_moves_by_signs():
    found = stacked("lion", settings_row(1e-3).double(), num_steps=1) - TASK.initial_params(KEYS)
    _, gradients = TASK.losses_and_gradients(
        TASK.initial_params(KEYS), KEYS, torch.zeros_like(KEYS)
    )
    rate = settings_row(1e-3)[0, 0].double()
    torch.testing.assert_close(found, -rate * gradients.sign(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6)])
def test_muon_makes_matrices_about_orthogonal(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)).double()
    values = torch.linalg.svdvals(orthogonal(matrices, 5))
    assert ((values > 0.3) & (values < 1.3)).all()
    u, _, v = torch.linalg.svd(matrices[0], full_matrices=False)
    nearest = (u @ v).flatten()
    found = orthogonal(matrices, 5)[0].flatten()
    assert torch.dot(found, nearest) / found.norm() / nearest.norm() > 0.95


def test_muon_is_that_of_torch():
    """Whose iterations are in half precision."""
    values = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    twin = torch.nn.Parameter(values[0].clone())
    theirs = optim.Muon([twin], lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    rule, state = Muon(), Muon().start(values)
    one, rate = torch.ones(1, 1, 1), torch.full((1, 1, 1), 0.1)
    for seed in range(3):
        gradient = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(seed))
        change, state = rule.change(values, gradient, state, one, rate)
        values = values - change
        twin.grad = gradient[0]
        theirs.step()
    assert (values[0] - twin).abs().max() < 0.01  # of steps of 0.3 in all


def test_schedule_free_is_its_published_form():
    """With the point z, the mean x of its places, and gradients taken between them."""
    rule, beta, rate = ScheduleFree(), 0.9, 0.05
    y = torch.randn(1, 7, generator=torch.Generator().manual_seed(0)).double()
    state, z, x, v = rule.start(y), y.clone(), y.clone(), torch.zeros_like(y)
    for number in range(1, 6):
        gradient = torch.randn(1, 7, generator=torch.Generator().manual_seed(number)).double()
        count, rates = (torch.full((1, 1), one, dtype=y.dtype) for one in (number, rate))
        change, state = rule.change(y, gradient, state, count, rates)
        y = y - change
        v = 0.999 * v + 0.001 * gradient**2
        z = z - rate * gradient / ((v / (1 - 0.999**number)).sqrt() + 1e-8)
        x = (1 - 1 / number) * x + z / number
        torch.testing.assert_close(y, (1 - beta) * z + beta * x, rtol=0, atol=1e-10)
        torch.testing.assert_close(rule.judged(y, state), x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_trains_and_settings_are_rows(name):
    rows = torch.tensor([[1e-3, 0.0], [1e-2, 0.1]]).double()
    together = stacked(name, rows, MLP)
    assert not torch.equal(together[0], MLP.initial_params(KEYS)[0])
    for row in range(2):
        alone = stacked(name, rows[row : row + 1], MLP)[row]
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_tuning_finds_the_setting_that_trains(name):
    budget = TuningBudget(rates=(1e-7, 3e-3), decays=(0.0,))
    best = tune(name, [MLP], budget, num_steps=20, keys=KEYS)
    assert best.weights[0, 0].item() == pytest.approx(3e-3)
    assert best.setting.startswith("rate 0.003, weight decay 0, ")
    curves = train_networks(
        InnerTraining(MLP, best.update), best.weights.double(), KEYS, num_steps=20
    )
    found = curves.val_losses[:, -1].mean().item() / MLP.guessing_loss
    assert found == pytest.approx(best.val_loss, rel=1e-6)


def test_cosine_goes_down_to_nothing():
    update = hand_designed("sgd", schedule="cosine", horizon=10)
    params = MLP.initial_params(KEYS)
    optimizee = Optimizee.of_spec(MLP.spec)
    moved = [
        update.step(
            settings_row(1.0).double(), optimizee, params, torch.ones_like(params),
            update.start(optimizee, params), torch.full_like(KEYS, step),
        )[0]
        for step in (0, 5, 10)
    ]  # fmt: skip
    sizes = [(params - one).mean().item() for one in moved]
    assert sizes == pytest.approx([1.0, 0.5, 0.0], abs=1e-9)


def test_mistakes_are_told(raises_saying):
    with raises_saying(asked="rule 'lbfgs'", found="no 'lbfgs'", do="muon"):
        hand_designed("lbfgs")
    with raises_saying(asked="by a rule", found="rate is -1", do="at least 0"):
        settings_row(-1.0)
    with raises_saying(asked="tune adam", found="0 tasks", do="one or more"):
        tune("adam", [], TuningBudget(), num_steps=3, keys=KEYS)
    with raises_saying(asked="tune adam", found="0 settings", do="one or more"):
        tune("adam", [MLP], TuningBudget(rates=()), num_steps=3, keys=KEYS)
