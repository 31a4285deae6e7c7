"""Families of tasks: the first is the base, others vary; every kind can be trained."""

from dataclasses import replace

import pytest
import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.learned_optimizers.inner_curves import steps_to_reach, train_networks
from nn_graphs.learned_optimizers.inner_training import InnerTraining
from nn_graphs.learned_optimizers.registry import make_update
from nn_graphs.learned_optimizers.task_families import TaskFamily
from nn_graphs.zoos.makers.labelled_images import LabelledImages

pytestmark = pytest.mark.usefixtures("one_thread")
DIGITS = LabelledImages("digits", scale="standard")
FAMILY = TaskFamily(
    DIGITS,
    widths=(32, 8, 16),
    depths=(1, 2),
    activations=("relu", "tanh"),
    batch_sizes=(64, 16),
    scale_range=(0.1, 10.0),
    num_tasks=20,
)
KEYS = torch.tensor([3, 7], dtype=torch.int32)


def test_tasks_of_a_family_vary_by_the_seed_alone():
    tasks, again, others = (one.tasks() for one in (FAMILY, FAMILY, replace(FAMILY, seed=1)))
    assert tasks[0].name == others[0].name == "digits 8x8, mlp 64-32-10 relu"
    assert [task.name for task in tasks] == [task.name for task in again]
    assert [task.name for task in tasks] != [task.name for task in others]
    layouts = {task.spec.layer_layout[1:-1] for task in tasks}
    assert layouts == {(w,) * d for w in (32, 8, 16) for d in (1, 2)}
    assert {str(task.spec.layers[0].activation) for task in tasks} == {"relu", "tanh"}
    assert {task.batch_size for task in tasks} == {64, 16}
    assert all(task.scale_range == (0.1, 10.0) and task.data is tasks[0].data for task in tasks)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "autoencoder"])
def test_every_kind_is_trained(kind):
    (task,) = TaskFamily(DIGITS, kind=kind, widths=(4,), depths=(2,), batch_sizes=(8,)).tasks()
    training = InnerTraining(task, make_update("hybrid_mlp"))
    weights = training.update.initial_weights(0).unsqueeze(0)
    curves = train_networks(training, weights, KEYS, num_steps=5, val_every=2)
    assert curves.train_losses.shape == (2, 5)
    assert curves.val_steps == [2, 4, 5]
    assert curves.val_losses.shape == (2, 3)
    assert curves.val_losses[:, -1].mean() < curves.val_losses[:, 0].mean()
    assert (curves.test_qualities <= 1).all()
    assert not curves.has_diverged.any()
    assert task.spec.layers[-1].width == (64 if kind == "autoencoder" else 10)


def test_published_cnns():
    """The numbers of parameters of the two published optimizees, at their image sizes."""
    family = TaskFamily(DIGITS, kind="cnn", widths=(16,), depths=(3,))
    assert family.tasks()[0].spec.layer_layout == (1, 16, 32, 32, 10)
    assert family.tasks()[0].spec.num_params == 14_378
    wide = replace(family, widths=(32,)).tasks()[0].spec
    assert wide.num_params + 2 * 32 * 9 == 56_970  # three colours


def test_impossible_families_are_refused():
    for change in ({"num_tasks": 0}, {"widths": ()}, {"activations": ()}):
        with pytest.raises(NNGraphsError, match="inner tasks"):
            replace(FAMILY, **change).tasks()


def test_nothing_to_train_is_refused(raises_saying):
    training = InnerTraining(FAMILY.tasks()[0], make_update("mlp"))
    weights = training.update.initial_weights(0).unsqueeze(0)
    for keys, num_steps in ((KEYS[:0], 3), (KEYS, 0)):
        with raises_saying(asked="train", found="nothing", do="at least one step"):
            train_networks(training, weights, keys, num_steps=num_steps)


def test_steps_to_reach():
    curve = torch.tensor([2.0, 1.0, 1.5, 0.5])
    assert steps_to_reach(curve, [10, 20, 30, 40], 1.2) == 20
    assert steps_to_reach(curve, [10, 20, 30, 40], 0.5) == 40
    assert steps_to_reach(curve, [10, 20, 30, 40], 0.4) is None
