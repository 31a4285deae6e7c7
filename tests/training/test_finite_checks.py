"""Training and scores that are no numbers end with an error, and leave no result."""

import pytest
import torch
from torch import nn

from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.tasks.regression import Regression
from nn_graphs.training import train_and_test
from nn_graphs.training.finite_checks import check_outputs
from tests.toy_zoos import separable_zoo
from tests.training.runs import STEPS, change, make_model, make_task, train


def test_a_training_that_diverges_stops_at_the_step_and_has_no_outcome(raises_saying, tmp_path):
    settings = change(learning_rate=1e30, gradient_clip=0.0, warmup_steps=0)
    with raises_saying(asked="go on with the training", found="the loss is", do="rate (1e+30)"):
        train(tmp_path, settings)
    assert not (tmp_path / "outcome.json").exists()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_the_error_names_step_epoch_and_loss(raises_saying, tmp_path, value):
    class Broken(INRClassification):
        num_left = STEPS + 2

        def loss(self, outputs, labels):
            self.num_left -= 1
            return super().loss(outputs, labels) + (value if self.num_left == 0 else 0)

    said = f"in step {STEPS + 2} (epoch 2) the loss is {value}."
    with raises_saying(asked="the training", found=said, do="Zoo.select"):
        train(tmp_path, task=Broken(separable_zoo()))
    assert not (tmp_path / "outcome.json").exists()


@pytest.mark.parametrize("split", ["val", "test"])
def test_networks_without_finite_predictions_are_counted_and_named(raises_saying, tmp_path, split):
    """Finite weights, of which an encoder makes infinite values, and metrics NaN."""
    zoo = separable_zoo()
    bad = zoo.indices(split)[[2, 5]]
    zoo.params[0][bad] = 3e38
    said = f"2 of 16 networks are NaN or infinite; in the zoo's table: {bad[0]}, {bad[1]}."
    asked = f"score inr_classification on the split {split}"
    with raises_saying(asked=asked, found=said, do="drop them"):
        train(tmp_path, change(num_epochs=1), INRClassification(zoo))
    assert not (tmp_path / "outcome.json").exists()


def test_other_tasks_are_checked_too(raises_saying, tmp_path):
    zoo = separable_zoo()
    zoo.params[0][zoo.indices("test")[0]] = 3e38
    task = Regression(zoo, column="run")
    model = nn.Sequential(make_model(task), nn.Linear(2, 1))
    with raises_saying(asked="score regression", found="1 of 16 networks", do="drop them"):
        train_and_test(model, task, change(num_epochs=1), tmp_path)


def test_where_no_prediction_is_finite_training_has_diverged(raises_saying):
    outputs = torch.full((3, 2), torch.nan)
    with raises_saying(asked="score", found="3 of 3", do="diverged"):
        check_outputs(outputs, make_task().zoo.indices("val")[:3], asked="score it")
