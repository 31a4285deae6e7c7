"""The torch optimizer: equal to the stacked form, and a good citizen of torch."""

import copy
import logging
import pickle

import pytest
import torch
from torch import nn

import nn_graphs
from nn_graphs.datasets import load_images
from nn_graphs.errors import NNGraphsError
from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.learned_optimizers.inner_training import InnerTraining
from nn_graphs.learned_optimizers.learned_optimizer import LearnedOptimizer
from nn_graphs.learned_optimizers.registry import UPDATES, make_update
from nn_graphs.learned_optimizers.update_files import load_update, save_update
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.spec import ConvSpec, NetworkSpec

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = LabelledData.from_dataset(load_images("digits"))
CNN = NetworkSpec.cnn(
    (1, 4, 4), convs=ConvSpec.square(3, padding=1), activations="relu", num_outputs=10
)
EXAMPLE = torch.zeros(2, 1, 8, 8)


@pytest.fixture
def path_of(tmp_path):
    """A function that writes an untrained update of a name, and gives its path."""

    def write(name):
        update = make_update(name)
        weights = update.initial_weights(0)
        return save_update(update, weights, tmp_path / f"{name}.safetensors")

    return write


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(DATA.num_train, (16,), generator=generator)
    return DATA.take(places), DATA.labels[places]


def backward(module, seed=0):
    module.zero_grad()
    inputs, labels = batch(seed)
    nn.functional.cross_entropy(module(inputs), labels).backward()


def train(module, optimizer, num_steps, first=0):
    for seed in range(first, first + num_steps):
        backward(module, seed)
        optimizer.step()


def make_module(seed=0):
    torch.manual_seed(seed)
    return CNN.make_module()


@pytest.mark.parametrize("name", UPDATES)
def test_it_moves_a_module_as_the_stacked_form(name, path_of):
    task = InnerTask("cnn", CNN, DATA, batch_size=16)
    training = InnerTraining(task, make_update(name))
    keys = torch.tensor([3], dtype=torch.int32)
    weights = load_update(path_of(name))[1].unsqueeze(0)
    state = training.start(keys)
    module = CNN.make_module()
    module.load_state_dict(CNN.parameters.unflatten(state[0][0]))
    optimizer = LearnedOptimizer(module, path_of(name), example_inputs=EXAMPLE)
    for number in range(5):
        steps = torch.full_like(keys, number)
        params = CNN.parameters.flatten(module).unsqueeze(0)
        _, gradients = task.losses_and_gradients(params, keys, steps)
        for key, value in CNN.parameters.unflatten(gradients[0]).items():
            module.get_parameter(key).grad = value.clone()
        optimizer.step()
        _, state = training.step(weights, state, keys, steps)
    found = CNN.parameters.flatten(module)
    assert (found - training.start(keys)[0][0]).abs().max() > 1e-5
    torch.testing.assert_close(found, state[0][0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["factored_mlp", "hybrid_ng_gnn"])
def test_training_goes_on_from_a_state_dict(name, path_of, tmp_path):
    whole, parts = make_module(), make_module()
    optimizer = LearnedOptimizer(whole, path_of(name), example_inputs=EXAMPLE)
    train(whole, optimizer, 4)
    first = LearnedOptimizer(parts, path_of(name), example_inputs=EXAMPLE)
    train(parts, first, 2)
    torch.save({"module": parts.state_dict(), "optimizer": first.state_dict()}, tmp_path / "last")
    saved = torch.load(tmp_path / "last", weights_only=True)
    again = make_module(seed=1)
    again.load_state_dict(saved["module"])
    second = LearnedOptimizer(again, path_of(name), example_inputs=EXAMPLE)
    second.load_state_dict(saved["optimizer"])
    train(again, second, 2, first=2)
    assert all(map(torch.equal, whole.parameters(), again.parameters()))
    forgetful = LearnedOptimizer(parts, path_of(name), example_inputs=EXAMPLE)
    train(parts, forgetful, 2, first=2)
    assert not all(map(torch.equal, whole.parameters(), parts.parameters()))


def test_groups_have_rates_of_their_own_and_schedules_move_them(path_of):
    module, other = make_module(), make_module()
    start = [p.detach().clone() for p in module.parameters()]
    weights = [p for p in module.parameters() if p.ndim > 1]
    biases = [p for p in module.parameters() if p.ndim == 1]
    groups = [{"params": weights}, {"params": biases, "lr": 0.0}]
    optimizer = LearnedOptimizer(module, path_of("mlp"), param_groups=groups, lr=0.5)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    plain = LearnedOptimizer(other, path_of("mlp"))
    for one, by in ((module, optimizer), (other, plain)):
        train(one, by, 1)
    for p, q, before in zip(module.parameters(), other.parameters(), start, strict=True):
        expected = before + (0.5 if p.ndim > 1 else 0.0) * (q.detach() - before)
        torch.testing.assert_close(p.detach(), expected, rtol=0, atol=1e-7)
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.05), 0.0]


def test_weight_decay_is_taken_off_as_in_adamw(path_of):
    decayed, plain = make_module(), make_module()
    before = [p.detach().clone() for p in plain.parameters()]
    train(decayed, LearnedOptimizer(decayed, path_of("mlp"), lr=0.5, weight_decay=0.2), 1)
    train(plain, LearnedOptimizer(plain, path_of("mlp"), lr=0.5), 1)
    for p, q, old in zip(decayed.parameters(), plain.parameters(), before, strict=True):
        torch.testing.assert_close(p, q - 0.1 * old, rtol=0, atol=1e-7)


def test_closures_are_evaluated(path_of):
    module = make_module()
    optimizer = LearnedOptimizer(module, path_of("mlp"))

    def closure():
        backward(module)
        return torch.tensor(3.0)

    assert optimizer.step(closure) == 3
    assert optimizer.state[next(module.parameters())]["step"] == 1


class PartlyUnknown(nn.Module):
    """A table that no output of the traced forward pass reads, beside a network."""

    def __init__(self):
        super().__init__()
        self.network = make_module()
        self.unseen = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def forward(self, inputs):
        return self.network(inputs)


def test_adam_moves_what_the_graph_does_not_show(path_of, caplog):
    module = PartlyUnknown()
    with caplog.at_level(logging.WARNING):
        optimizer = LearnedOptimizer(
            module, path_of("ng_gnn"), example_inputs=EXAMPLE, adam_lr=0.01, lr=0.5
        )
    (said,) = caplog.messages
    assert said == "1 of 7 tensors are not in the module's graph, and are moved by Adam: unseen."
    twin = nn.Parameter(module.unseen.detach().clone())
    adam = torch.optim.Adam([twin], lr=0.005)
    before = [p.detach().clone() for p in module.network.parameters()]
    for number in range(4):
        backward(module, number)
        module.unseen.grad = twin.grad = torch.tensor([1.0, -0.3, 0.2 * number])
        optimizer.step()
        adam.step()
    torch.testing.assert_close(module.unseen, twin, rtol=0, atol=1e-7)
    assert torch.equal(module.frozen, torch.ones(2))
    assert not any(map(torch.equal, before, module.network.parameters()))
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("name", ["mlp", "ng_gnn"])
def test_tensors_without_a_gradient_stay(name, path_of):
    module = make_module()
    optimizer = LearnedOptimizer(module, path_of(name), example_inputs=EXAMPLE)
    first, *others = module.parameters()
    before = [p.detach().clone() for p in module.parameters()]
    backward(module)
    first.grad = None
    optimizer.step()
    assert torch.equal(first, before[0])
    assert not any(map(torch.equal, others, before[1:]))
    assert first not in optimizer.state or "step" not in optimizer.state[first]


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_steps_with_gradients_that_are_not_finite_are_skipped(wrong, path_of, caplog):
    module, other = make_module(), make_module()
    optimizer = LearnedOptimizer(module, path_of("mlp"))
    with caplog.at_level(logging.WARNING):
        for number in range(4):
            backward(module, number // 2)
            if number % 2:
                next(module.parameters()).grad[0] = wrong
            optimizer.step()
    assert optimizer.num_skipped == 2
    assert len(caplog.messages) == 1
    train(other, LearnedOptimizer(other, path_of("mlp")), 2)
    assert all(map(torch.equal, module.parameters(), other.parameters()))


def test_parameters_that_are_not_finite_end_the_training(path_of, raises_saying):
    module = make_module()
    optimizer = LearnedOptimizer(module, path_of("mlp"))
    module.get_parameter("layers.1.bias").data[0] = torch.nan
    backward(module)
    with raises_saying(asked="go on", found="layers.1.bias", do="finite parameters"):
        optimizer.step()


def test_graph_optimizers_need_to_know_the_inputs(path_of, raises_saying):
    with raises_saying(asked="neural graph", found="called with", do="example_inputs"):
        LearnedOptimizer(make_module(), path_of("ng_gnn"))


def test_operations_that_the_tracer_does_not_know_are_named(path_of):
    class Unknown(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, inputs):
            return torch.linalg.det(self.linear(inputs))

    inputs = torch.zeros(2, 3, 3)
    with pytest.raises(NNGraphsError, match="det"):
        LearnedOptimizer(Unknown(), path_of("ng_gnn"), example_inputs=inputs)
    module = Unknown()
    optimizer = LearnedOptimizer(module, path_of("mlp"))  # which needs no graph
    module(torch.randn(2, 3, 3)).sum().backward()
    optimizer.step()


def test_foreign_parameters_and_negative_rates_are_refused(path_of, raises_saying):
    module = make_module()
    groups = [{"params": [nn.Parameter(torch.ones(3, 2))]}]
    with raises_saying(asked="group", found="[3, 2] are not of", do="of the module"):
        LearnedOptimizer(module, path_of("mlp"), param_groups=groups)
    with raises_saying(asked="group", found="'lr': -1.0", do="at least 0"):
        LearnedOptimizer(module, path_of("mlp"), lr=-1.0)


def test_norms_and_halves_are_trained(path_of):
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    )
    for name in ("mlp", "hybrid_ng_gnn"):
        one = copy.deepcopy(module)
        optimizer = LearnedOptimizer(one, path_of(name), example_inputs=EXAMPLE)
        before = [p.detach().clone() for p in one.parameters()]
        train(one, optimizer, 2)
        assert not any(map(torch.equal, before, one.parameters()))
    half = copy.deepcopy(module).bfloat16()
    optimizer = LearnedOptimizer(half, path_of("mlp"), lr=100.0)
    before = [p.detach().clone() for p in half.parameters()]
    inputs, labels = batch()
    nn.functional.cross_entropy(half(inputs.bfloat16()), labels).backward()
    optimizer.step()
    assert not all(map(torch.equal, before, half.parameters()))
    assert all(p.dtype == torch.bfloat16 for p in half.parameters())


def test_it_is_a_torch_optimizer_by_the_package():
    assert nn_graphs.LearnedOptimizer is LearnedOptimizer
    assert issubclass(LearnedOptimizer, torch.optim.Optimizer)
    assert pickle.loads(pickle.dumps(LearnedOptimizer)) is LearnedOptimizer
