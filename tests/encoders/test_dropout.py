"""Dropout drops as often as asked, from the key that it is given, in any thread."""

import pytest
import torch
from torch.nn import functional as F

from nn_graphs.encoders.dropout import Dropout, draws_generator, dropout_draws, normal_noise
from nn_graphs.threads import side_by_side
from tests.processes import assert_runs_in_own_process

VALUES = torch.ones(64, 1000)


def key(number: int) -> torch.Tensor:
    return torch.tensor(number, dtype=torch.int32)


def dropped(number: int, *, rate: float = 0.3, values: torch.Tensor = VALUES) -> torch.Tensor:
    with dropout_draws(key(number)):
        return Dropout(rate)(values)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.93])
def test_share_and_scale(rate):
    values = dropped(1, rate=rate)
    share = (values == 0).double().mean().item()
    deviation = (rate * (1 - rate) / VALUES.numel()) ** 0.5
    assert abs(share - rate) < 5 * deviation
    kept = values[values != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)), rtol=1e-3, atol=0)


def test_places_are_independent():
    is_kept = (dropped(1, rate=0.5) != 0).double() - 0.5
    for shift in (1, 2, 3, 4, 8, 1000):  # four draws come with one number
        flat = is_kept.flatten()
        correlation = 4 * (flat[shift:] * flat[:-shift]).mean()
        assert abs(correlation) < 5 / len(flat) ** 0.5


def test_draws_depend_on_key_and_call_alone():
    assert torch.equal(dropped(1), dropped(1))
    assert not torch.equal(dropped(1), dropped(2))
    with dropout_draws(key(1)):
        first, second = Dropout(0.3)(VALUES), Dropout(0.3)(VALUES)
    assert torch.equal(first, dropped(1))
    assert not torch.equal(first, second)
    together = list(side_by_side(dropped, range(8), num_workers=4))
    assert all(torch.equal(values, dropped(number)) for number, values in enumerate(together))


def test_sizes_that_four_do_not_divide():
    values = dropped(1, values=torch.ones(3, 7, dtype=torch.float64))
    assert values.shape == (3, 7)
    assert values.dtype == torch.float64


def test_ends_of_the_range():
    assert dropped(1, rate=0.0) is VALUES
    assert torch.equal(dropped(1, rate=1.0), torch.zeros_like(VALUES))
    with dropout_draws(key(1)):
        assert Dropout(0.5).eval()(VALUES) is VALUES


def test_without_a_key_it_is_torchs():
    torch.manual_seed(3)
    expected = F.dropout(VALUES, 0.3)
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.3)(VALUES), expected)


def test_gradients_pass_where_values_do():
    values = VALUES.clone().requires_grad_()
    out = dropped(1, values=values)
    out.sum().backward()
    assert torch.equal(values.grad, out)


def noise(number: int) -> torch.Tensor:
    with dropout_draws(key(number)):
        Dropout(0.3)(VALUES)
        return normal_noise(VALUES)


def test_noise_follows_the_key_too():
    found = noise(1)
    assert torch.equal(found, noise(1))
    assert not torch.equal(found, noise(2))
    together = list(side_by_side(noise, range(8), num_workers=4))
    assert all(torch.equal(values, noise(number)) for number, values in enumerate(together))
    assert abs(found.mean()) < 5 / found.numel() ** 0.5
    assert abs(found.square().mean() - 1) < 5 * (2 / found.numel()) ** 0.5
    with dropout_draws(key(1)):
        assert not torch.equal(normal_noise(VALUES), normal_noise(VALUES))
        assert normal_noise(VALUES.double()).dtype == torch.float64


def test_without_a_key_noise_follows_torchs_seed():
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([normal_noise(VALUES), normal_noise(VALUES)])

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
    assert not torch.equal(*drawn(3).chunk(2))
    assert draws_generator(VALUES.device).device == VALUES.device


def test_compiled():
    assert_runs_in_own_process(compile_dropout)


def compile_dropout() -> None:
    """Compiled once, its draws still follow the key."""
    module = torch.compile(Dropout(0.3), backend="aot_eager", fullgraph=True, dynamic=False)

    def compiled(number: int) -> torch.Tensor:
        with dropout_draws(key(number)):
            return module(VALUES)

    assert torch.equal(compiled(1), compiled(1))
    assert not torch.equal(compiled(1), compiled(2))
    assert abs((compiled(3) == 0).double().mean() - 0.3) < 0.01
    together = list(side_by_side(compiled, range(4), num_workers=2))
    assert all(torch.equal(values, compiled(number)) for number, values in enumerate(together))
