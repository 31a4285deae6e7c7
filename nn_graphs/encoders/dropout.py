"""Dropout whose draws depend on a key, not on what was drawn before, nor in which thread.

Chunks of a batch are computed side by side (`nn_graphs.training.chunks`); each draws from a key of
its own, so that a training is the same whatever the number of threads. Masks are compared with 16
random bits, of which four come with each number that is drawn: a quarter of the time of torch's.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.networks.classifiers.draws import joined, uniforms

LEVELS = 1 << 16  # probabilities are multiples of one over this
DRAWS_PER_NUMBER = 4  # 16 bits each of 64


class _Draws(threading.local):
    """What this thread draws from."""

    key: Int32[Tensor, ""] | None = None
    generator: torch.Generator | None = None
    count: int = 0


_draws = _Draws()


@contextmanager
def dropout_draws(key: Int32[Tensor, ""]) -> Iterator[None]:
    """Within it, in this thread, `Dropout` draws from this key, on the CPU."""
    before = _draws.key, _draws.generator, _draws.count
    _draws.key, _draws.generator, _draws.count = key, None, 0
    try:
        yield
    finally:
        _draws.key, _draws.generator, _draws.count = before


class Dropout(nn.Module):
    """Sets values to zero with a probability, in training, and scales up the others.

    Outside of `dropout_draws` it is torch's.

    Args:
        rate: the probability, from 0 to 1; within `dropout_draws` rounded to a multiple of 2^-16.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if not self.training or not self.rate:
            return values
        if _draws.key is None:
            return F.dropout(values, self.rate)
        num_kept = round((1 - self.rate) * LEVELS)
        if num_kept == 0:
            return values * 0
        return values * (_mask(values, num_kept).to(values.dtype) * (LEVELS / num_kept))

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def draws_generator(device: torch.device) -> torch.Generator:
    """What else is drawn in training (noise, signs, pairs) is drawn from this, eagerly.

    Within `dropout_draws` it follows its key, in this thread; outside, torch's global generator.
    """
    if _draws.key is None:
        seed = int(torch.randint(1 << 62, ()))
        return torch.Generator(device).manual_seed(seed)
    if _draws.generator is None or _draws.generator.device != device:
        _draws.generator = torch.Generator(device)
        _draws.generator.manual_seed(int(_draws.key))
    return _draws.generator


def normal_noise(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Standard normal numbers in the shape of `values`, see `draws_generator`."""
    generator = draws_generator(values.device)
    return torch.randn(values.shape, dtype=values.dtype, device=values.device, generator=generator)


def _mask(values: Tensor, num_kept: int) -> Bool[Tensor, "*shape"]:
    """Which values stay, each with the probability `num_kept / LEVELS`."""
    _draws.count += 1
    if torch.compiler.is_compiling():
        key = joined(_draws.key.to(values.device), _draws.count)
        return uniforms(key, tuple(values.shape)) < num_kept / LEVELS
    numbers = values.new_empty(-(-values.numel() // DRAWS_PER_NUMBER), dtype=torch.int64)
    numbers.random_(-(1 << 63), None, generator=draws_generator(values.device))
    draws = numbers.view(torch.int16)[: values.numel()].view(values.shape)
    return draws < num_kept - LEVELS // 2
