"""The stack against its plain twin: one network at a time with torch's own optimizers."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nn_graphs.networks.classifiers import train_stack
from nn_graphs.networks.classifiers.data import Orders
from nn_graphs.networks.classifiers.schedules import Schedule
from nn_graphs.networks.classifiers.single import measure_norms, torch_optimizer, train_module
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from nn_graphs.networks.optimizers import Optimizer, make_coefficients
from nn_graphs.progress import ProgressBar
from tests.networks.classifiers.stacks import (
    SmallStack,
    buffers_of,
    make_data,
    make_module,
    parameters_of,
    train,
)

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIMIZERS = (
    Optimizer("sgd", 0.1),
    Optimizer("sgd", 0.05, momentum=0.9, weight_decay=0.01),
    Optimizer("sgd", 0.05, momentum=0.9, is_nesterov=True, weight_decay=0.01),
    Optimizer("adam", 0.01, weight_decay=0.02),
    Optimizer("adamw", 0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    Optimizer("rmsprop", 0.003, weight_decay=0.01),
    Optimizer("rmsprop", 0.003, momentum=0.7, alpha=0.9),
)
RECIPES = [
    Recipe(optimizer, seed=number, train_fraction=fraction, schedule=schedule)
    for number, (optimizer, fraction, schedule) in enumerate(
        zip(
            OPTIMIZERS,
            (1.0, 0.4, 1.0, 0.65, 0.8, 1.0, 0.25),
            [Schedule("cosine"), Schedule(), Schedule("steps", (2, 3)), *[Schedule("cosine")] * 4],
            strict=True,
        )
    )
]
PLAN = Plan(num_epochs=4, batch_size=8, is_compiled=False)


def train_alone(number: int, recipe: Recipe, plan: Plan = PLAN):
    """Plain twin of network `number`: module, optimizer, a loop over batches."""
    module, data = make_module(number), make_data()
    optimizer = torch_optimizer(recipe.optimizer, module)
    orders = Orders(
        data.num_train,
        fractions=[recipe.train_fraction],
        seeds=[recipe.seed],
        batch_size=plan.batch_size,
    )
    for epoch in range(plan.num_epochs):
        factor = recipe.schedule.at(epoch, plan.num_epochs)
        optimizer.param_groups[0]["lr"] = recipe.optimizer.learning_rate * factor
        for index in orders.epoch(epoch)[:, 0]:
            optimizer.zero_grad()
            inputs = (data.inputs[index] - data.mean) / data.std
            F.cross_entropy(module(inputs), data.labels[index]).backward()
            optimizer.step()
    return module, orders.membership()[0]


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_a_network_of_a_mixed_stack_is_as_if_trained_alone(mixed, number):
    module, seen = train_alone(number, RECIPES[number])
    torch.testing.assert_close(mixed.params[number], parameters_of(module), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(mixed.buffers[number], buffers_of(module), rtol=1e-9, atol=1e-10)
    data = make_data()
    module.eval()
    logits = module((data.inputs - data.mean) / data.std)
    losses = F.cross_entropy(logits, data.labels, reduction="none")
    is_right = (logits.argmax(1) == data.labels).double()
    expected = [
        values[places].mean()
        for places in (
            torch.cat([seen, seen.new_zeros(data.num_test)]).nonzero()[:, 0],
            torch.arange(data.num_train, len(data.labels)),
        )
        for values in (is_right, losses)
    ]
    for score, value in zip(mixed.scores, expected, strict=True):
        torch.testing.assert_close(score[number], value.detach(), rtol=1e-9, atol=1e-10)


@pytest.fixture(scope="module")
def mixed():
    torch.set_num_threads(1)
    return train(RECIPES, plan=PLAN)[-1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_twenty_steps_of_one_optimizer(optimizer):
    recipes = [Recipe(optimizer, seed=0)] * 2  # one order, which is shared
    found = train(recipes)[-1]
    for number, recipe in enumerate(recipes):
        module, _ = train_alone(number, recipe)
        torch.testing.assert_close(
            found.params[number], parameters_of(module), rtol=1e-9, atol=1e-10
        )


@pytest.mark.parametrize("number", [1, 4])
def test_one_module_by_itself(mixed, number):
    module = make_module(number)
    scores = train_module(module, make_data(), RECIPES[number], PLAN)
    torch.testing.assert_close(parameters_of(module), mixed.params[number], rtol=1e-9, atol=1e-10)
    for found, expected in zip(scores, mixed.scores, strict=True):
        torch.testing.assert_close(found.double()[0], expected[number], rtol=1e-5, atol=1e-6)


def make_dropping_module(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3)
    ).double()


@pytest.mark.parametrize(
    "optimizer", [Optimizer("sgd", 0.1, 0.9), Optimizer("adam", 0.01)], ids=str
)
def test_one_module_goes_on_after_an_interruption_bit_for_bit(tmp_path, optimizer):
    plan, recipe = replace(PLAN, save_seconds=0.0), Recipe(optimizer, seed=3)
    steps = 4 * (40 // 8)

    def interrupt(step, inputs, labels):
        if step == steps - 3:
            raise KeyboardInterrupt

    whole = make_dropping_module()
    scores = train_module(whole, make_data(), recipe, plan)
    file = tmp_path / "state.pt"
    begun = make_dropping_module()
    with pytest.raises(KeyboardInterrupt):
        train_module(begun, make_data(), recipe, plan, before_step=interrupt, state_file=file)
    again, seen = make_dropping_module(), []
    torch.manual_seed(99)  # of a fresh process
    found = train_module(
        again,
        make_data(),
        recipe,
        plan,
        before_step=lambda step, inputs, labels: seen.append(step),
        state_file=file,
    )
    assert seen == list(range(15, 20))  # the last of four epochs
    assert all(torch.equal(*pair) for pair in zip(found, scores, strict=True))
    for ours, theirs in zip(again.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_state_of_another_module_is_refused(tmp_path, raises_saying):
    plan, file = replace(PLAN, save_seconds=0.0), tmp_path / "state.pt"
    train_module(make_dropping_module(), make_data(), RECIPES[1], plan, state_file=file)
    asked, do = f"go on with the training in {file}", "delete the file"
    with raises_saying(asked=asked, found="another network, data, recipe or plan", do=do):
        train_module(make_dropping_module(1), make_data(), RECIPES[1], plan, state_file=file)
    file.write_bytes(file.read_bytes()[:200])
    with raises_saying(asked=asked, found="cannot be read", do=do):
        train_module(make_dropping_module(), make_data(), RECIPES[1], plan, state_file=file)


def test_optimizers_that_differ_in_rates_alone_take_the_same_steps(monkeypatch):
    """Terms that none of them has are left out, which changes nothing but roundings."""
    recipes = [Recipe(Optimizer("adam", rate), seed=1) for rate in (0.01, 0.02)]
    ours = train(recipes)[-1].params
    monkeypatch.setattr(
        train_stack,
        "shared_coefficients",
        lambda one: make_coefficients([one] * len(recipes), torch.zeros(1, dtype=torch.float64)),
    )
    theirs = train(recipes)[-1].params
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)
    assert not torch.equal(ours[0], ours[1])


def test_norms_measured_anew_are_those_of_all_batches_together():
    torch.manual_seed(0)
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.BatchNorm1d(12)).double()
    batches = [torch.randn(8, 3, 2, 2).double() * 3 + shift for shift in (1, -2, 4, 0)]
    module(batches[0])  # running statistics that must not count
    flat = module[2].running_mean.clone()
    measure_norms(module, batches)
    columns = [batch.movedim(1, 0).flatten(1) for batch in batches]
    means = torch.stack([column.mean(1) for column in columns]).mean(0)
    within = torch.stack([column.var(1) for column in columns]).mean(0)
    between = torch.stack([column.mean(1) for column in columns]).var(0, correction=0)
    torch.testing.assert_close(module[0].running_mean, means)
    torch.testing.assert_close(module[0].running_var, within + between)
    together = torch.cat(columns, 1).var(1)  # but for the corrections of samples
    torch.testing.assert_close(module[0].running_var, together, rtol=0.02, atol=0)
    torch.testing.assert_close(module[2].running_mean, flat)
    assert module[0].momentum == 0.1


def test_a_module_is_scored_with_norms_measured_anew():
    scores = []
    for plan in (PLAN, replace(PLAN, num_norm_inputs=20)):
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Unflatten(1, (5, 1, 1)), nn.Conv2d(5, 4, 1), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Flatten(), nn.Linear(4, 3),
        ).double()  # fmt: skip
        scores.append(train_module(module, make_data(), RECIPES[1], plan))
    assert scores[0].test_loss != scores[1].test_loss


def test_a_network_that_diverges_does_so_alone():
    healthy = [Recipe(Optimizer("sgd", 0.1, 0.9), seed=0) for _ in range(3)]
    wild = [*healthy]
    wild[1] = Recipe(Optimizer("sgd", 1e300, 0.9), seed=0)
    expected, found = train(healthy)[-1], train(wild)[-1]
    assert not found.params[1].isfinite().all()
    assert math.isnan(found.scores.test_loss[1])
    for number in (0, 2):
        assert torch.equal(found.params[number], expected.params[number])
    assert found.scores.test_loss[[0, 2]].isfinite().all()


DROPPING = [replace(recipe, dropout=0.1 * number) for number, recipe in enumerate(RECIPES)]


@pytest.mark.parametrize("recipes", [RECIPES, DROPPING], ids=["plain", "dropout"])
def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path, recipes):
    plan = replace(PLAN, checkpoint_epochs=(0, 1, 3), checkpoint_steps=(2, 9), save_seconds=0.0)
    expected = train(recipes, plan=plan)
    file = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        train(recipes, plan=plan, state_file=file, progress=Interrupting(after=3))
    found = train(recipes, plan=plan, state_file=file)
    assert len(found) == len(expected) == 6
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.epoch, ours.step) == (theirs.epoch, theirs.step)
        assert torch.equal(ours.params, theirs.params)
        assert torch.equal(ours.buffers, theirs.buffers)
        assert all(map(torch.equal, ours.scores, theirs.scores))


class Interrupting(ProgressBar):
    """Stands for somebody who interrupts a training."""

    def __init__(self, *, after: int):
        self.left = after

    def advance(self, steps, figures=None):
        self.left -= bool(figures)
        if not self.left:
            raise KeyboardInterrupt


def test_the_state_of_another_training_is_refused(tmp_path, raises_saying):
    plan, file = replace(PLAN, save_seconds=0.0), tmp_path / "state.pt"
    train(RECIPES, plan=plan, state_file=file)
    with raises_saying(asked="go on with", found="other networks", do="delete"):
        train(RECIPES, plan=replace(plan, num_epochs=9), state_file=file)


def test_dropout_does_not_depend_on_neighbours():
    stack = train(DROPPING)[-1]
    alone = train([*DROPPING[:2]])[-1]
    torch.testing.assert_close(alone.params, stack.params[:2], rtol=1e-9, atol=1e-10)
    assert not torch.allclose(stack.params[1], train(RECIPES)[-1].params[1])


def test_checkpoints_by_steps_are_each_networks_own():
    recipes = [Recipe(seed=0), Recipe(seed=1, train_fraction=0.4)]  # five and two steps an epoch
    plan = replace(PLAN, num_epochs=2, checkpoint_epochs=(0, 1), checkpoint_steps=(1, 4, 5, 6))
    kept = {(one.epoch, one.step): one for one in train(recipes, plan=plan)}
    assert torch.equal(kept[None, 5].params[0], kept[1, None].params[0])
    assert torch.equal(kept[None, 4].params[1], kept[2, None].params[1])
    assert torch.equal(kept[None, 5].params[1], kept[2, None].params[1])  # it has taken four
    assert not torch.equal(kept[None, 1].params, kept[0, None].params)
    assert not torch.equal(kept[None, 6].params[0], kept[2, None].params[0])


def test_what_is_not_trainable_stays():
    trainable = torch.rand(2, train([Recipe()])[0].params.shape[1]) < 0.5
    plan = replace(PLAN, checkpoint_epochs=(0,))
    recipes = [Recipe(Optimizer("sgd", 0.1, 0.9, weight_decay=0.1)), Recipe(OPTIMIZERS[4])]
    before, after = train(recipes, plan=plan, trainable=trainable)
    assert torch.equal(before.params[~trainable], after.params[~trainable])
    assert (before.params != after.params)[trainable].float().mean() > 0.9


def test_bad_input(raises_saying):
    with raises_saying(asked="train 2 networks", found="1 recipes", do="one per network"):
        train_two_with_one_recipe()
    with raises_saying(asked="batches of 8", found="sees 4 of 40", do="smaller"):
        train([Recipe(train_fraction=0.1)])
    with raises_saying(asked="2 epochs", found="[3]", do="checkpoints"):
        Plan(2, 8, checkpoint_epochs=(3,))
    with raises_saying(asked="'lion'", found="no 'lion'", do="adamw"):
        Optimizer("lion")
    with raises_saying(asked="Nesterov", found="adam", do="SGD"):
        Optimizer("adam", is_nesterov=True)
    with raises_saying(asked="'warm'", found="no 'warm'", do="cosine"):
        Schedule("warm")


def train_two_with_one_recipe():
    from nn_graphs.networks.classifiers.train_stack import train_classifiers
    from tests.networks.classifiers.stacks import make_stack

    train_classifiers(SmallStack(), *make_stack(2), make_data(), [Recipe()], PLAN)


def test_names_stand_for_optimizers_and_schedules(raises_saying):
    assert Recipe("adam", "cosine") == Recipe(Optimizer("adam"), Schedule("cosine"))
    with raises_saying(asked="'lion'", found="no 'lion'", do="adamw"):
        Recipe("lion")
