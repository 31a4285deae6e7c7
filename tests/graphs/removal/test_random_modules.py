"""Property: random modules without their redundant neurons put out the same, to 1e-9."""

import pytest
import torch

from nn_graphs.graphs.removal import remove_redundant_neurons
from tests.graphs.removal.random_modules import random_module

TOLERANCE = 1e-9


def check(seed: int) -> tuple[int, int]:
    """How many dead neurons and duplicates were removed from the module of a seed."""
    module, inputs = random_module(seed)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():
        before = module(inputs)
        found = remove_redundant_neurons(module, inputs)
        after = found.module(inputs)
    scale = before.abs().max().clamp_min(1)
    assert ((after - before).abs().max() / scale).item() < TOLERANCE, f"seed {seed}"
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    is_smaller = found.num_params < found.num_params_before
    assert is_smaller == (found.num_dead + found.num_duplicates > 0)
    assert found.module.state_dict().keys() == state.keys()
    return found.num_dead, found.num_duplicates


def test_random_modules():
    dead, duplicates = (sum(numbers) for numbers in zip(*map(check, range(25)), strict=True))
    assert dead > 25
    assert duplicates > 8


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_thousand_random_modules():
    dead, duplicates = (sum(numbers) for numbers in zip(*map(check, range(60, 1060)), strict=True))
    assert dead > 1000
    assert duplicates > 300
