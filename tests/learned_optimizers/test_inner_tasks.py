"""Inner tasks: stacks equal their members, gradients are autograd's, rescaling changes no loss."""

from dataclasses import replace

import pytest
import torch

from nn_graphs.datasets import load_images
from nn_graphs.errors import NNGraphsError
from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.spec import NetworkSpec

DATA = LabelledData.from_dataset(load_images("digits"), dtype=torch.float64)
MLP = InnerTask(
    "mlp", NetworkSpec.mlp([64, 8, 10], activation="relu"), DATA.flattened(), batch_size=16
)
CNN = InnerTask("cnn", small_cnn_zoo_spec(padding=1), DATA, batch_size=16)
KEYS = torch.tensor([3, 7, 7], dtype=torch.int32)
STEPS = torch.tensor([0, 4, 4], dtype=torch.int32)


@pytest.mark.parametrize("task", [MLP, CNN], ids=lambda task: task.name)
def test_stack_equals_its_members_and_their_autograd(task):
    params = task.initial_params(KEYS)
    losses, gradients = task.losses_and_gradients(params, KEYS, STEPS)
    for row in range(3):
        leaf = params[row : row + 1].clone().requires_grad_()
        alone = task.losses(leaf, KEYS[row : row + 1], STEPS[row : row + 1])
        (gradient,) = torch.autograd.grad(alone.sum(), leaf)
        torch.testing.assert_close(losses[row], alone[0].detach(), rtol=0, atol=1e-12)
        torch.testing.assert_close(gradients[row], gradient[0], rtol=0, atol=1e-12)
    assert losses[1] == losses[2] != losses[0]


def test_rescaled_networks_compute_the_same_with_gradients_scaled():
    scaled = replace(MLP, scale_range=(1e-2, 1e2))
    scales = scaled.scales(KEYS)
    plain, rescaled = MLP.initial_params(KEYS), scaled.initial_params(KEYS)
    assert not torch.allclose(plain, rescaled)
    losses, gradients = MLP.losses_and_gradients(plain, KEYS, STEPS)
    others, other_gradients = scaled.losses_and_gradients(rescaled, KEYS, STEPS)
    torch.testing.assert_close(losses, others, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients * scales, other_gradients, rtol=1e-9, atol=1e-12)


def test_training_never_sees_validation_inputs():
    spoiled = replace(MLP.data, inputs=MLP.data.inputs.clone())
    spoiled.inputs[MLP.num_seen :] = 0
    params = MLP.initial_params(KEYS)
    other = replace(MLP, data=spoiled)
    assert torch.equal(MLP.losses(params, KEYS, STEPS), other.losses(params, KEYS, STEPS))
    assert not torch.equal(MLP.val_losses(params, KEYS), other.val_losses(params, KEYS))


@pytest.mark.parametrize(
    "change", [{"num_val": 0}, {"num_val": 1437}, {"batch_size": 0}, {"scale_range": (0.0, 1.0)}]
)
def test_impossible_tasks_are_refused(change):
    with pytest.raises(NNGraphsError, match="make the inner task 'mlp'"):
        replace(MLP, **change)


def test_scores_are_those_of_the_modules():
    params = CNN.initial_params(KEYS)
    losses, accuracies = CNN.test_scores(params, KEYS)
    inputs = DATA.take(torch.arange(DATA.num_train, DATA.num_all))
    labels = DATA.labels[DATA.num_train :]
    for row in range(3):
        module = CNN.spec.make_module().double()
        module.load_state_dict(CNN.spec.parameters.unflatten(params[row]))
        outputs = module(inputs).detach()
        loss = torch.nn.functional.cross_entropy(outputs, labels)
        torch.testing.assert_close(losses[row], loss, rtol=0, atol=1e-10)
        accuracy = (outputs.argmax(1) == labels).double().mean()
        torch.testing.assert_close(accuracies[row], accuracy, rtol=0, atol=1e-10)
    assert CNN.guessing_loss == pytest.approx(2.302585)


def test_autoencoders_are_compared_with_their_inputs():
    spec = NetworkSpec.mlp([64, 8, 64], activation="relu")
    task = InnerTask("autoencoder", spec, MLP.data, batch_size=16, is_autoencoder=True)
    params = task.initial_params(KEYS)
    losses, gradients = task.losses_and_gradients(params, KEYS, STEPS)
    assert losses.shape == (3,)
    assert (gradients.abs().sum(1) > 0).all()
    places = torch.arange(DATA.num_train, DATA.num_all)
    inputs = MLP.data.take(places)
    module = spec.make_module().double()
    module.load_state_dict(spec.parameters.unflatten(params[0]))
    expected = (module(inputs) - inputs).square().mean().detach()
    found, quality = task.test_scores(params, KEYS)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-10)
    spread = inputs.var(0, correction=0).mean()
    torch.testing.assert_close(quality[0], 1 - expected / spread, rtol=0, atol=1e-10)
    assert task.guessing_loss == 1
