"""Settings: the published defaults, and what is refused."""

import math

import pytest

from nn_graphs.errors import NNGraphsError
from nn_graphs.training import TrainingSettings
from tests.processes import assert_runs_in_own_process
from tests.training.runs import change, train


def test_scaled_gradients_are_refused(raises_saying):
    with raises_saying(asked="precision=16-mixed", found="chunks", do="bf16-mixed"):
        change(precision="16-mixed")


@pytest.mark.parametrize("changes", [{"num_epochs": 0}, {"batch_size": 0}])
def test_settings_that_train_nothing(raises_saying, changes):
    ((name, value),) = changes.items()
    found = f"{name}: {value} is not at least 1"
    with raises_saying(asked="make TrainingSettings", found=found, do="Correct"):
        change(**changes)


@pytest.mark.parametrize("changes", [{"accelerator": "abacus"}, {"precision": "3-bit"}])
def test_hardware_that_is_not_there(raises_saying, tmp_path, changes):
    ((name, value),) = changes.items()
    with raises_saying(asked=f"{name}={value}", found=value, do="Change"):
        train(tmp_path, change(**changes))


def test_defaults_are_the_published_ones():
    published = TrainingSettings()
    assert (published.num_epochs, published.batch_size, published.learning_rate) == (200, 128, 1e-3)
    assert (published.weight_decay, published.warmup_steps) == (5e-4, 1000)
    assert (published.gradient_clip, published.devices) == (10.0, 1)


def test_averages_that_are_none(raises_saying):
    found = "ema_decay: 1.0 is not at least 0 and less than 1"
    with raises_saying(asked="make TrainingSettings", found=found, do="Correct"):
        change(ema_decay=1.0)


def test_an_unknown_schedule():
    assert_runs_in_own_process(choose_unknown_schedule)


def choose_unknown_schedule() -> None:
    with pytest.raises(NNGraphsError, match="Choose one of constant, cosine"):
        change(schedule="linear")


def test_the_learning_rate_follows_its_schedule():
    constant, cosine = (
        TrainingSettings(warmup_steps=4, schedule=name) for name in ("constant", "cosine")
    )
    steps = (0, 3, 10, 20)
    found = [constant.rate_factor(step, num_steps=20) for step in steps]
    assert found == [0.25, 1.0, 1.0, 1.0]
    found = [cosine.rate_factor(step, num_steps=20) for step in steps]
    assert found[2:] == pytest.approx([0.5, 0.0])
    assert found[0] == 0.25
    assert found[1] == pytest.approx((1 + math.cos(0.15 * math.pi)) / 2)
