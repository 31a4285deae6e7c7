"""Every learned update: equivariant, the same alone and in a stack, at home on any architecture."""

import dataclasses

import pytest
import torch

from nn_graphs.datasets import load_images
from nn_graphs.graphs.symmetry import apply_symmetries, sample_symmetries
from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.learned_optimizers.inner_training import InnerTraining
from nn_graphs.learned_optimizers.learned_update import LearnedUpdate
from nn_graphs.learned_optimizers.log_features import LogFeatures
from nn_graphs.learned_optimizers.optimizee import Optimizee
from nn_graphs.learned_optimizers.registry import (
    UPDATES,
    describe_update,
    make_update,
    update_from_description,
)
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.spec import ConvSpec, NetworkSpec

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = LabelledData.from_dataset(load_images("digits"), dtype=torch.float64)
SPECS = {
    "mlp": NetworkSpec.mlp([64, 6, 5, 10], activation="relu"),
    "cnn": NetworkSpec.cnn(
        (1, 4, 4), convs=ConvSpec.square(3, padding=1), activations="relu", num_outputs=10
    ),
}
TASKS = {
    name: InnerTask(name, spec, DATA if spec.is_convolutional else DATA.flattened(), batch_size=16)
    for name, spec in SPECS.items()
}
KEYS = torch.tensor([3, 7], dtype=torch.int32)


def run(training, theta, keys, params, num_steps=4):
    """Parameters after some steps from these."""
    state = (params, *training.start(keys)[1:])
    for step in range(num_steps):
        _, state = training.step(theta, state, keys, torch.full_like(keys, step))
    return state[0]


def theta_of(update, seed=0):
    return update.initial_weights(seed).double().unsqueeze(0)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", UPDATES)
def test_permuted_neurons_have_permuted_trajectories(name, kind):
    update, task = make_update(name), TASKS[kind]
    training, theta = InnerTraining(task, update), theta_of(update)
    template = Optimizee.of_spec(task.spec).template
    generator = torch.Generator().manual_seed(0)
    element = sample_symmetries(
        template, 2, kinds=["permutation"], generator=generator, dtype=torch.float64
    )
    params = task.initial_params(KEYS)
    permuted = apply_symmetries(template, params, element)
    assert not torch.equal(params, permuted)
    moved = run(training, theta, KEYS, params)
    assert (moved - params).abs().max() > 1e-5
    found = run(training, theta, KEYS, permuted)
    torch.testing.assert_close(found, apply_symmetries(template, moved, element), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["ng_gnn", "hybrid_ng_gnn"])
def test_graph_updates_see_which_neurons_are_joined(name):
    """The control: gradients that are permuted in one layer alone give other updates."""
    update, task = make_update(name), TASKS["mlp"]
    optimizee, theta = Optimizee.of_spec(task.spec), theta_of(update)
    steps = torch.zeros_like(KEYS)
    params = task.initial_params(KEYS)
    _, gradients = task.losses_and_gradients(params, KEYS, steps)
    first, *others = [values for _, values in optimizee.tensors(gradients)]
    uncoupled = torch.cat([part.flatten(1) for part in (first[:, [1, 0, 2, 3, 4, 5]], *others)], 1)
    moved, other = (
        update.step(theta, optimizee, params, given, update.start(optimizee, params), steps)[0]
        for given in (gradients, uncoupled)
    )
    behind = slice(task.spec.parameters.slots[2].offset, None)
    assert (moved - other)[:, behind].abs().max() > 1e-8


@pytest.mark.parametrize("name", UPDATES)
def test_stack_equals_its_members_by_shared_or_own_weights(name):
    update, task = make_update(name), TASKS["mlp"]
    training, params = InnerTraining(task, update), task.initial_params(KEYS)
    theta = torch.cat([theta_of(update, seed) for seed in (0, 1)])
    shared, own = (run(training, rows, KEYS, params) for rows in (theta[:1], theta))
    for row in (0, 1):
        at = slice(row, row + 1)
        for weights, together in ((theta[:1], shared), (theta[at], own)):
            alone = run(training, weights, KEYS[at], params[at])
            torch.testing.assert_close(together[at], alone, rtol=0, atol=1e-12)
    assert (shared[1] - own[1]).abs().max() > 1e-8  # a correction is a thousandth of a step


@pytest.mark.parametrize("name", UPDATES)
def test_one_update_runs_on_other_widths_depths_and_kernels(name):
    update = make_update(name)
    theta = theta_of(update)
    specs = [
        NetworkSpec.mlp([64, 9, 10], activation="tanh"),
        NetworkSpec.mlp([64, 3, 4, 5, 10], activation="relu"),
        small_cnn_zoo_spec(padding=1),
        NetworkSpec.cnn(
            (1, 3), convs=ConvSpec.square(5), activations="relu", num_outputs=10, num_places=16
        ),
    ]
    for spec in specs:
        data = DATA if spec.is_convolutional else DATA.flattened()
        task = InnerTask("other", spec, data, batch_size=8)
        params = task.initial_params(KEYS)
        moved = run(InnerTraining(task, update), theta, KEYS, params, num_steps=2)
        assert moved.isfinite().all()
        assert ((moved - params).abs() > 0).double().mean() > 0.9


def test_messages_over_blocks_equal_those_over_a_list_of_edges():
    update, task = make_update("ng_gnn"), TASKS["mlp"]
    blocks = Optimizee.of_spec(task.spec)
    listed = Optimizee(blocks.layout, dataclasses.replace(blocks.template))
    object.__setattr__(listed.template, "has_regular_blocks", False)
    features = torch.randn(2, task.spec.num_params, update.features.num_features).double()
    theta = theta_of(update)
    found, again = (update.function(theta, one, features) for one in (blocks, listed))
    torch.testing.assert_close(found, again, rtol=0, atol=1e-10)


def test_hybrid_without_a_correction_is_adam():
    update, task = make_update("hybrid_mlp"), TASKS["mlp"]
    theta = theta_of(update)
    theta[0, -1] = -torch.inf  # share 0
    params = task.initial_params(KEYS)
    leaf = torch.nn.Parameter(params.clone())
    adam = torch.optim.Adam([leaf], lr=1e-3)
    for step in range(4):
        leaf.grad = task.losses_and_gradients(leaf.data, KEYS, torch.full_like(KEYS, step))[1]
        adam.step()
    found = run(InnerTraining(task, update), theta, KEYS, params)
    torch.testing.assert_close(found, leaf.data, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", UPDATES)
def test_descriptions_make_the_same_update(name):
    update = make_update(name)
    again = update_from_description(describe_update(update))
    assert again == update
    assert torch.equal(again.initial_weights(5), update.initial_weights(5))
    assert not torch.equal(update.initial_weights(5), update.initial_weights(6))


def test_parts_that_are_not_known_are_told(raises_saying):
    described = describe_update(make_update("mlp"))
    with raises_saying(asked="make the features", found="'fourier'", do="momentum_features"):
        update_from_description({**described, "features": {"kind": "fourier"}})
    with raises_saying(asked="make the model", found="other settings", do="version"):
        update_from_description({**described, "model": {"kind": "parameter_mlp", "depth": 3}})
    with raises_saying(asked="make the learned update 'lion'", found="no 'lion'", do="hybrid_mlp"):
        make_update("lion")

    class Own(LogFeatures):
        pass

    update = dataclasses.replace(make_update("mlp"), features=Own())
    with raises_saying(asked="describe", found="Own", do="PARTS"):
        describe_update(update)


def test_weights_of_another_update_are_refused(raises_saying):
    update, task = make_update("mlp"), TASKS["mlp"]
    training = InnerTraining(task, update)
    with raises_saying(asked="1762 learned weights", found="1764 are", do="same features"):
        training.step(theta_of(make_update("hybrid_mlp")), training.start(KEYS), KEYS, KEYS)


def test_graph_updates_need_a_graph(raises_saying):
    update, task = make_update("ng_gnn"), TASKS["mlp"]
    optimizee, params = Optimizee(task.spec.parameters), task.initial_params(KEYS)
    state = update.start(optimizee, params)
    with raises_saying(asked="neural graphs", found="not how", do="example_inputs"):
        update.step(theta_of(update), optimizee, params, params, state, KEYS)


@pytest.mark.parametrize("name", ["mlp", "hybrid_ng_gnn"])
def test_diverging_networks_stay_finite_and_are_counted(name):
    update, task = make_update(name), TASKS["mlp"]
    training = InnerTraining(task, update)
    params, *rest = training.start(KEYS)
    state = (torch.stack([params[0], params[1] * 1e150]), *rest)
    for step in range(3):
        losses, state = training.step(theta_of(update), state, KEYS, torch.full_like(KEYS, step))
        assert losses[1] == training.loss_limit > losses[0]
        assert all(tensor.isfinite().all() for tensor in state)
    assert training.num_diverged(state) == 1
    assert torch.equal(state[1], torch.tensor([False, True]))
    alone = run(training, theta_of(update), KEYS[:1], params[:1], num_steps=3)
    torch.testing.assert_close(state[0][:1], alone, rtol=0, atol=1e-12)


def test_lstm_reads_tensors_in_order_and_remembers_no_step():
    update, optimizee = make_update("published_lstm"), Optimizee.of_spec(SPECS["mlp"])
    features = torch.randn(1, optimizee.layout.num_params, update.features.num_features).double()
    changed = features.clone()
    middle = optimizee.layout.slots[2]
    changed[:, middle.offset : middle.stop] += 1
    theta = theta_of(update)
    before, after = (update.function(theta, optimizee, one) for one in (features, changed))
    assert torch.equal(before[:, : middle.offset], after[:, : middle.offset])
    assert ((before - after)[:, middle.offset :].abs().amax(2) > 0).all()
    assert torch.equal(before, update.function(theta, optimizee, features))


def test_evolved_weights_may_be_those_of_any_model():
    update = LearnedUpdate(
        make_update("mlp").features, make_update("ng_gnn").model, make_update("mlp").form
    )
    assert update == make_update("ng_gnn")
