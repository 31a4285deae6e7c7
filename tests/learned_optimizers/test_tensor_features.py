"""Features against plain formulas, tensor by tensor."""

import math

import numpy as np
import pytest
import torch

from nn_graphs.learned_optimizers.factored_features import FactoredFeatures, largest_axes
from nn_graphs.learned_optimizers.log_features import LogFeatures, log_and_sign
from nn_graphs.learned_optimizers.momentum_features import MomentumFeatures

SHAPES = [(64, 64), (32, 784), (16, 3, 3, 3), (7,), ()]
STEPS = torch.tensor([0, 4], dtype=torch.int32)


def drawn(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *shape, generator=generator, dtype=torch.float64)


def twice(features, shape):
    """Features at a second step, the values and both gradients."""
    values, first, second = (drawn(shape, seed) for seed in range(3))
    _, state = features.step(values, first, features.start(values), STEPS)
    found, _ = features.step(values, second, state, STEPS)
    return found, values, first, second


def plain_factored(value, gradients, step):
    """The published formulas for one tensor of arrays [*kernel, in, out], by numpy."""
    decays = (0.9, 0.99, 0.999)
    axes = np.argsort(value.shape, kind="stable")
    v = 0.0
    m, rows, columns = [0.0] * 3, [0.0] * 3, [0.0] * 3
    for g in gradients:
        v = 0.999 * v + 0.001 * g**2
        m = [d * x + (1 - d) * g for d, x in zip(decays, m, strict=True)]
        square = g**2 + 1e-30
        over = (None, None) if g.ndim < 2 else (int(axes[-1]), int(axes[-2]))
        means = [square if one is None else square.mean(one, keepdims=True) for one in over]
        rows = [d * x + (1 - d) * means[0] for d, x in zip(decays, rows, strict=True)]
        columns = [d * x + (1 - d) * means[1] for d, x in zip(decays, columns, strict=True)]
    if g.ndim < 2:
        of_g = [np.maximum(r + 1e-9, 1e-9) ** -0.5 for r in rows]
        of_m = [(r + 1e-6) ** -0.5 for r in rows]
    else:
        of_g = [
            np.maximum(r / (r.mean(int(axes[-2]), keepdims=True) + 1e-9), 1e-9) ** -0.5
            * np.maximum(c, 1e-9) ** -0.5
            for r, c in zip(rows, columns, strict=True)
        ]
        of_m = of_g
    root = (v + 1e-6) ** -0.5
    parts = [g, value, *m, v, *(x * root for x in m), root, *(g * x for x in of_g)]
    parts += [*rows, *columns, *((x + 1e-8) ** -0.5 for x in (*rows, *columns))]
    parts += [x * y for x, y in zip(m, of_m, strict=True)]
    full = [np.broadcast_to(x, value.shape) for x in parts]
    normed = [x / np.sqrt((x**2).mean() + 1e-5) for x in full]
    times = [10**k * s for k in range(6) for s in (1, 3)][:11]
    return [*normed, *(np.full(value.shape, math.tanh(step / s - 1)) for s in times)]


@pytest.mark.parametrize("shape", SHAPES)
def test_factored_features_are_the_published_ones(shape):
    features = FactoredFeatures()
    found, values, first, second = twice(features, shape)
    assert found.shape == (2, math.prod(shape), 39)
    # from torch's [out, in, *kernel] to [*kernel, in, out], and back
    there = (*range(2, len(shape)), 1, 0) if len(shape) > 1 else tuple(range(len(shape)))
    for row in range(2):
        value, *gradients = (x[row].numpy().transpose(there) for x in (values, first, second))
        expected = plain_factored(value, gradients, int(STEPS[row]))
        back = np.argsort(there)
        flat = np.stack([np.transpose(x, back).reshape(-1) for x in expected], 1)
        np.testing.assert_allclose(found[row].numpy(), flat, rtol=1e-9, atol=1e-9)


def test_largest_axes_break_ties_as_published():
    assert largest_axes((64, 64)) == (0, 1)
    assert largest_axes((32, 784)) == (1, 0)
    assert largest_axes((3, 3, 3, 3)) == (0, 1)
    assert largest_axes((16, 3, 3, 3)) == (0, 1)
    assert largest_axes((2, 2, 5, 5)) == (3, 2)
    assert largest_axes((7,)) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_momentum_features(shape):
    found, values, first, second = twice(MomentumFeatures(), shape)
    assert found.shape == (2, math.prod(shape), 19)
    parts = [values, second]
    for decay in (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999):
        parts.append((1 - decay) * (decay * first + second))
    flat = torch.stack([part.reshape(2, -1) for part in parts], 2)
    expected = flat / (flat.square().mean(1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(found[:, :, :8], expected, rtol=1e-9, atol=1e-9)
    assert found[1, 0, 8].item() == pytest.approx(math.tanh(3))
    assert found[0, :, 8:].unique().item() == pytest.approx(math.tanh(-1))


def test_log_features():
    found, _, first, second = twice(LogFeatures(), (3, 2))
    assert found.shape == (2, 6, 14)
    momentum = 0.9 * first + second  # a sum, not an average
    assert found[0, 0, 3].item() == pytest.approx(momentum[0, 0, 0].abs().log().item() / 10)
    assert found[0, 0, 7 + 1].item() == second[0, 0, 0].sign().item()
    tiny = math.exp(-10)
    numbers = torch.tensor([1.0, -math.e, 0.0, tiny / 2], dtype=torch.float64)
    expected = [0.0, 0.1, -1, -1, 1, -1, 0, 0.5]
    assert log_and_sign(numbers).tolist() == pytest.approx(expected)
