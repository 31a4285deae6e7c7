"""The MLP per parameter: equivariant, each network by weights of its own, and meta-trainable."""

import torch

from nn_graphs.datasets import load_images
from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.learned_optimizers.parameter_mlp import ParameterMLP, TrainedByMLP
from nn_graphs.learned_optimizers.persistent_evolution import Pairs, PersistentEvolution
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.initializers import torch_initial_params
from nn_graphs.networks.spec import NetworkSpec

DATA = LabelledData.from_dataset(load_images("digits"), dtype=torch.float64).flattened()
TASK = InnerTask("mlp", NetworkSpec.mlp([64, 6, 10], activation="relu"), DATA, batch_size=16)
OPTIMIZER = ParameterMLP((8,))
RUNS = TrainedByMLP(TASK, OPTIMIZER)
KEYS = torch.tensor([3, 7], dtype=torch.int32)
THETA = torch_initial_params(OPTIMIZER.spec, KEYS).double()


def run(task, theta, keys, params, num_steps=5):
    state = params, OPTIMIZER.start(params)
    for step in range(num_steps):
        steps = torch.full_like(keys, step)
        _, state = TrainedByMLP(task, OPTIMIZER).step(theta, state, keys, steps)
    return state[0]


def permuted(params, order):
    tensors = TASK.spec.parameters.unflatten(params)
    parts = [
        tensors["layers.0.weight"][:, order],
        tensors["layers.0.bias"][:, order],
        tensors["layers.1.weight"][:, :, order],
        tensors["layers.1.bias"],
    ]
    return torch.cat([part.flatten(1) for part in parts], 1)


def test_published_size():
    assert ParameterMLP().spec.num_params == 1762


def test_permuted_neurons_have_permuted_trajectories():
    params, order = TASK.initial_params(KEYS), torch.tensor([2, 0, 1, 5, 4, 3])
    moved = run(TASK, THETA, KEYS, params)
    assert (moved - params).abs().max() > 1e-4
    found = run(TASK, THETA, KEYS, permuted(params, order))
    torch.testing.assert_close(found, permuted(moved, order), rtol=0, atol=1e-9)


def test_each_network_goes_by_its_own_weights_whoever_is_beside_it():
    params = TASK.initial_params(KEYS)
    together = run(TASK, THETA, KEYS, params)
    for row in (slice(0, 1), slice(1, 2)):
        alone = run(TASK, THETA[row], KEYS[row], params[row])
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-12)
    exchanged = run(TASK, THETA.flip(0), KEYS, params)
    assert not torch.allclose(together, exchanged, atol=1e-6)


def test_runs_of_one_key_and_equal_weights_stay_bit_equal():
    keys = KEYS.repeat_interleave(2)
    (params, _) = RUNS.start(keys)
    moved = run(TASK, THETA.repeat_interleave(2, 0), keys, params)
    assert torch.equal(moved[::2], moved[1::2])
    assert not torch.equal(moved[0], moved[2])


def test_meta_training_goes_on_from_a_file_bit_for_bit(tmp_path):
    method, theta = PersistentEvolution(2, 3, sigma=0.01), THETA[0]
    generator = torch.Generator().manual_seed(0)
    pairs = method.start(RUNS, theta, KEYS)
    _, _, pairs = method.gradient(RUNS, theta, pairs, generator=generator)
    torch.save({"pairs": vars(pairs), "random": generator.get_state()}, tmp_path / "last.ckpt")
    found, loss, after = method.gradient(RUNS, theta, pairs, generator=generator)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    generator = torch.Generator().set_state(saved["random"])
    again = method.gradient(RUNS, theta, Pairs(**saved["pairs"]), generator=generator)
    assert torch.equal(found, again[0])
    assert torch.equal(loss, again[1])
    assert torch.equal(after.accumulated, again[2].accumulated)
    assert torch.equal(after.state[0], again[2].state[0])
    assert found.abs().max() > 0
