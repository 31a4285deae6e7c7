"""Random numbers that depend on keys alone: the same for a network whoever is trained beside it.

A draw is a hash of a key and a counter (Salmon et al., SC 2011: counter-based generators), by the
32-bit finalizer "lowbias32" of C. Wellons. There is no state: training goes on after an
interruption as if there had been none.
"""

import torch
from jaxtyping import Float, Int32
from torch import Tensor

FACTORS = (0x7FEB352D, 0x846CA68B - (1 << 32))  # as signed 32-bit numbers
STRIDE = 0x9E3779B9 - (1 << 32)  # between keys
NUM_BITS = 24  # of a draw


def scrambled(values: Int32[Tensor, "*shape"]) -> Int32[Tensor, "*shape"]:
    """A bijection of 32-bit numbers whose outputs look random."""
    values = (values ^ _shifted(values, 16)) * FACTORS[0]
    values = (values ^ _shifted(values, 15)) * FACTORS[1]
    return values ^ _shifted(values, 16)


def joined(
    key: Int32[Tensor, "*shape"], *parts: Int32[Tensor, "..."] | int
) -> Int32[Tensor, "..."]:
    """A new key of a key and more numbers; shapes broadcast."""
    for part in parts:
        key = scrambled(key * STRIDE + part + 1)
    return key


def uniforms(
    key: Int32[Tensor, "*keys"], shape: tuple[int, ...]
) -> Float[Tensor, "*keys_and_shape"]:
    """Numbers in [0, 1), evenly distributed, of `shape` for every key."""
    count = torch.arange(torch.Size(shape).numel(), dtype=torch.int32, device=key.device)
    key = key.reshape(*key.shape, *[1] * len(shape))
    bits = scrambled(key + scrambled(count).reshape(shape))
    return (bits & ((1 << NUM_BITS) - 1)).to(torch.float32) * 2.0**-NUM_BITS


def _shifted(values: Tensor, bits: int) -> Tensor:
    """To the right, zeros coming in."""
    return (values >> bits) & ((1 << (32 - bits)) - 1)
