"""Persistent evolution strategies against exact meta-gradients of a quadratic."""

from dataclasses import replace

import pytest
import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.learned_optimizers.persistent_evolution import PersistentEvolution

CURVATURES = torch.tensor([1.0, 0.3], dtype=torch.float64)
THETA = torch.tensor([0.4, 0.7], dtype=torch.float64)


class Quadratic:
    """Gradient descent on sum_j a_j w_j^2 / 2 from (1, 1), with a rate for each axis."""

    def start(self, keys):
        return (torch.ones(len(keys), 2, dtype=torch.float64),)

    def step(self, theta, state, keys, steps):
        (w,) = state
        return (CURVATURES * w**2).sum(1) / 2, (w - theta * CURVATURES * w,)


def exact_gradient(horizon):
    """Of the sum of the losses of one run."""
    theta, runs, total = THETA.clone().requires_grad_(), Quadratic(), 0.0
    state = runs.start(torch.zeros(1, dtype=torch.int32))
    for _ in range(horizon):
        losses, state = runs.step(theta, state, None, None)
        total = total + losses.sum()
    return torch.autograd.grad(total, theta)[0]


def estimate(truncation, horizon, num_truncations, *, num_pairs=100_000, forgets=False):
    """The sum of the estimates of all truncations, times their steps, and where pairs then are."""
    method, runs = PersistentEvolution(truncation, horizon, sigma=1e-3), Quadratic()
    generator = torch.Generator().manual_seed(0)
    pairs = method.start(runs, THETA, torch.arange(num_pairs, dtype=torch.int32))
    total = torch.zeros(2, dtype=torch.float64)
    for _ in range(num_truncations):
        gradient, _, pairs = method.gradient(runs, THETA, pairs, generator=generator)
        total += gradient * truncation
        if forgets:
            pairs = replace(pairs, accumulated=torch.zeros_like(pairs.accumulated))
    return total, pairs


@pytest.mark.parametrize(
    ("truncation", "horizon", "num_truncations", "num_runs"),
    [(8, 8, 1, 1), (2, 8, 4, 1), (1, 8, 8, 1), (3, 4, 4, 3)],
)
def test_sum_over_truncations_is_the_exact_gradient(truncation, horizon, num_truncations, num_runs):
    found, pairs = estimate(truncation, horizon, num_truncations)
    torch.testing.assert_close(found, num_runs * exact_gradient(horizon), rtol=0.03, atol=0.01)
    assert (pairs.steps == 0).all()
    assert (pairs.accumulated == 0).all()


def test_what_pairs_have_had_adds_up():
    method, runs = PersistentEvolution(1, 8, sigma=1e-3), Quadratic()
    pairs = method.start(runs, THETA, torch.arange(1000, dtype=torch.int32))
    generator = torch.Generator().manual_seed(0)
    _, _, pairs = method.gradient(runs, THETA, pairs, generator=generator)
    assert pairs.accumulated.std() == pytest.approx(1e-3, rel=0.1)
    _, _, pairs = method.gradient(runs, THETA, pairs, generator=generator)
    assert pairs.accumulated.std() == pytest.approx(2**0.5 * 1e-3, rel=0.1)


def test_without_accumulation_truncations_would_be_biased():
    """The control: credited to the last eps alone, truncations of one step see no gradient."""
    found, _ = estimate(1, 8, 8, forgets=True)
    assert (found.abs() < 0.1 * exact_gradient(8).abs()).all()


def test_loss_that_is_not_finite_leaves_the_other_pairs():
    class Diverging(Quadratic):
        def step(self, theta, state, keys, steps):
            losses, state = super().step(theta, state, keys, steps)
            return torch.where(keys == 0, torch.nan, losses), state

    method = PersistentEvolution(2, 4, sigma=1e-3)
    pairs = method.start(Diverging(), THETA, torch.arange(3, dtype=torch.int32))
    generator = torch.Generator().manual_seed(0)
    gradient, loss, _ = method.gradient(Diverging(), THETA, pairs, generator=generator)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ((9, 8, 0.1), "inner runs have 8 steps"),
        ((0, 8, 0.1), "truncation: 0 is not at least 1"),
        ((2, 8, 0.0), "sigma: 0.0 is not more than 0"),
    ],
)
def test_impossible_settings_are_refused(settings, found):
    with pytest.raises(NNGraphsError, match=found):
        PersistentEvolution(*settings)


def test_no_pairs_are_refused():
    with pytest.raises(NNGraphsError, match="no key is given"):
        PersistentEvolution().start(Quadratic(), THETA, torch.zeros(0, dtype=torch.int32))
