"""The MLP per parameter: each network by weights of its own, and meta-trainable by a file."""

import torch

from nn_graphs.datasets import load_images
from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.learned_optimizers.inner_training import InnerTraining
from nn_graphs.learned_optimizers.learned_update import LearnedUpdate
from nn_graphs.learned_optimizers.momentum_features import MomentumFeatures
from nn_graphs.learned_optimizers.parameter_mlp import ParameterMLP
from nn_graphs.learned_optimizers.persistent_evolution import Pairs, PersistentEvolution
from nn_graphs.learned_optimizers.registry import make_update
from nn_graphs.learned_optimizers.update_forms import DirectionTimesExponent
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.spec import NetworkSpec

DATA = LabelledData.from_dataset(load_images("digits"), dtype=torch.float64).flattened()
TASK = InnerTask("mlp", NetworkSpec.mlp([64, 6, 10], activation="relu"), DATA, batch_size=16)
UPDATE = LearnedUpdate(MomentumFeatures(), ParameterMLP((8,)), DirectionTimesExponent())
RUNS = InnerTraining(TASK, UPDATE)
KEYS = torch.tensor([3, 7], dtype=torch.int32)
THETA = torch.stack([UPDATE.initial_weights(seed) for seed in (3, 7)]).double()


def run(theta, keys, params, num_steps=5):
    state = (params, *RUNS.start(keys)[1:])
    for step in range(num_steps):
        _, state = RUNS.step(theta, state, keys, torch.full_like(keys, step))
    return state[0]


def test_published_sizes():
    assert make_update("mlp").num_weights == 1762
    assert make_update("factored_mlp").num_weights == 190
    wide = LearnedUpdate(
        make_update("factored_mlp").features, ParameterMLP(), DirectionTimesExponent()
    )
    assert wide.num_weights == 2402
    assert make_update("published_ff").num_weights == 15 * 64 + 65 * 64 + 65 * 2


def test_each_network_goes_by_its_own_weights_whoever_is_beside_it():
    params = TASK.initial_params(KEYS)
    together = run(THETA, KEYS, params)
    for row in (slice(0, 1), slice(1, 2)):
        alone = run(THETA[row], KEYS[row], params[row])
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-12)
    exchanged = run(THETA.flip(0), KEYS, params)
    assert not torch.allclose(together, exchanged, atol=1e-6)


def test_runs_of_one_key_and_equal_weights_stay_bit_equal():
    keys = KEYS.repeat_interleave(2)
    params = RUNS.start(keys)[0]
    moved = run(THETA.repeat_interleave(2, 0), keys, params)
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
