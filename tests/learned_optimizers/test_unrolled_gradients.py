"""Meta-gradients by back-propagation against plain autograd and differences."""

import pytest
import torch

from nn_graphs.datasets import load_images
from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.learned_optimizers.inner_training import InnerTraining
from nn_graphs.learned_optimizers.optimizee import Optimizee
from nn_graphs.learned_optimizers.registry import make_update
from nn_graphs.learned_optimizers.unrolled_gradients import OneStepGradients, UnrolledGradients
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.spec import NetworkSpec

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = LabelledData.from_dataset(load_images("digits"), dtype=torch.float64).flattened()
TASK = InnerTask("mlp", NetworkSpec.mlp([64, 5, 10], activation="tanh"), DATA, batch_size=8)
UPDATE = make_update("hybrid_mlp")
KEYS = torch.tensor([3, 7], dtype=torch.int32)
WEIGHTS = UPDATE.initial_weights(0).double()
WEIGHTS[-2:] += torch.tensor([0.3, 0.6])  # larger steps and corrections, to be seen


def plain_loss(weights, num_steps, *, sees_gradients, same_batch=False):
    """The mean of the losses after each step, by a plain loop whose inner gradients are kept."""
    optimizee = Optimizee.of_spec(TASK.spec)
    params = TASK.initial_params(KEYS).requires_grad_()
    state, losses = UPDATE.start(optimizee, params), []
    for number in range(num_steps):
        steps = torch.full_like(KEYS, number)
        before = TASK.losses(params, KEYS, steps)
        (gradients,) = torch.autograd.grad(before.sum(), params, create_graph=sees_gradients)
        params, state = UPDATE.step(
            weights.unsqueeze(0), optimizee, params, gradients, state, steps
        )
        losses.append(TASK.losses(params, KEYS, steps + (0 if same_batch else 1)).mean())
        if same_batch:
            params = params.detach().requires_grad_()
            state = tuple(tensor.detach() for tensor in state)
    return sum(losses) / num_steps


def found_gradient(method, order="first", runs=None):
    runs = runs or InnerTraining(TASK, UPDATE, order)
    running = method.start(runs, WEIGHTS, KEYS)
    return method.gradient(runs, WEIGHTS, running, generator=torch.Generator())


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("checkpoint_every", [None, 1, 2, 7])
def test_unrolled_gradients_are_those_of_a_plain_loop(order, checkpoint_every):
    leaf = WEIGHTS.clone().requires_grad_()
    loss = plain_loss(leaf, 4, sees_gradients=order == "second")
    (expected,) = torch.autograd.grad(loss, leaf)
    assert expected.abs().max() > 1e-4
    method = UnrolledGradients(4, 4, checkpoint_every)
    gradient, _, running = found_gradient(method, order)
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-12)
    assert running.steps.tolist() == [4, 4]
    assert not any(tensor.requires_grad for tensor in running.state)


def test_the_second_order_is_what_differences_say():
    direction = torch.randn(len(WEIGHTS), generator=torch.Generator().manual_seed(1)).double()
    ends = [plain_loss(WEIGHTS + s * 1e-5 * direction, 4, sees_gradients=False) for s in (1, -1)]
    expected = (ends[0] - ends[1]).item() / 2e-5
    second, first = (
        found_gradient(UnrolledGradients(4, 4), order)[0] @ direction
        for order in ("second", "first")
    )
    assert second.item() == pytest.approx(expected, rel=1e-4)
    assert abs(first.item() - expected) > abs(second.item() - expected)


def test_one_step_gradients_add_up():
    leaf = WEIGHTS.clone().requires_grad_()
    loss = plain_loss(leaf, 3, sees_gradients=False, same_batch=True)
    (expected,) = torch.autograd.grad(loss, leaf)
    gradient, found, _ = found_gradient(OneStepGradients(3, 3))
    torch.testing.assert_close(gradient, 3 * expected, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found, loss.detach(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("method", [UnrolledGradients(2, 3), OneStepGradients(2, 3)])
def test_runs_go_on_and_begin_anew(method):
    runs = InnerTraining(TASK, UPDATE)
    running = method.start(runs, WEIGHTS, KEYS)
    for steps in (2, 1, 3, 2):  # of the present run, after 2, 4, 6, 8 in all
        _, _, running = method.gradient(runs, WEIGHTS, running, generator=torch.Generator())
        assert running.steps.tolist() == [steps, steps]
    assert (running.keys != KEYS).all()


def test_diverging_runs_leave_meta_gradients_finite():
    class Wild(InnerTask):
        def initial_params(self, keys):
            return super().initial_params(keys) * torch.tensor(
                [[1.0], [1e160]], dtype=torch.float64
            )

    task = Wild("wild", TASK.spec, DATA, batch_size=8)
    runs = InnerTraining(task, UPDATE)
    for method in (UnrolledGradients(3, 3), OneStepGradients(3, 3)):
        gradient, loss, running = found_gradient(method, runs=runs)
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0
        assert loss < runs.loss_limit
        assert runs.num_diverged(running.state) == 1


@pytest.mark.parametrize("kind", [UnrolledGradients, OneStepGradients])
def test_impossible_lengths_are_refused(kind, raises_saying):
    with raises_saying(asked="5 steps", found="have 4", do="1 to the horizon"):
        kind(5, 4)
    with raises_saying(asked=kind.__name__, found="truncation: 0 is not", do="Correct"):
        kind(0, 4)
    with raises_saying(asked="start", found="no key", do="one per run"):
        kind(1, 4).start(InnerTraining(TASK, UPDATE), WEIGHTS, KEYS[:0])


def test_no_steps_between_checkpoints(raises_saying):
    with raises_saying(asked="UnrolledGradients", found="checkpoint_every: 0 is not", do="Correct"):
        UnrolledGradients(2, 4, checkpoint_every=0)
