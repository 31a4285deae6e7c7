"""Settings: the published defaults, and what is refused."""

import pytest

from nn_graphs.training import TrainingSettings
from tests.training.runs import change, train


def test_scaled_gradients_are_refused(raises_saying):
    with raises_saying(asked="precision=16-mixed", found="chunks", do="bf16-mixed"):
        change(precision="16-mixed")


@pytest.mark.parametrize("changes", [{"num_epochs": 0}, {"batch_size": 0}])
def test_settings_that_train_nothing(raises_saying, changes):
    ((name, value),) = changes.items()
    with raises_saying(asked="train", found=f"{name} is {value}", do="at least 1"):
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
