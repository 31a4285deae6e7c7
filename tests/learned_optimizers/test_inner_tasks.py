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
