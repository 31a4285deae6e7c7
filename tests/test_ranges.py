"""Numbers out of their range are refused where they are given, all of them together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from nn_graphs.errors import NNGraphsError
from nn_graphs.ranges import (
    Count,
    NonNegative,
    PositiveFloat,
    PositiveInt,
    Probability,
    Seed,
    Share,
    in_ranges,
    range_faults,
)


@pytest.mark.parametrize(
    ("hint", "good", "bad", "expected"),
    [
        (PositiveInt, [1, 10**9, np.int64(1)], [0, -1], "at least 1"),
        (Count, [0, 1], [-1], "at least 0"),
        (Seed, [0, 2**32 - 1], [-1, 2**32], "at least 0 and at most 4294967295"),
        (
            PositiveFloat,
            [1e-300, 2, 1e300],
            [0, -1.0, math.nan, math.inf],
            "more than 0 and finite",
        ),
        (NonNegative, [0, 0.0, 1e300], [-1e-9, math.nan, math.inf], "at least 0 and finite"),
        (Share, [0, 1, 0.5], [-0.1, 1.1, math.nan], "at least 0 and at most 1"),
        (Probability, [0, 0.99], [1, 2, math.nan], "at least 0 and less than 1"),
        (PositiveInt | None, [1, None], [0], "at least 1"),
        (Sequence[PositiveInt], [[], [1, 2], (3,)], [[1, 0]], "at least 1"),
        (Mapping[str, Sequence[PositiveInt]], [{"a": [1]}], [{"a": [0]}], "at least 1"),
        (PositiveInt | Sequence[PositiveInt], [1, [1]], [0, [0]], "at least 1"),
        (int, [-5], [], ""),
        (PositiveInt | str, ["auto", 1, True], [0], "at least 1"),
    ],
)
def test_ranges(hint, good, bad, expected):
    for value in good:
        assert range_faults(hint, value) == []
    for value in bad:
        (fault,) = range_faults(hint, value)
        assert fault.endswith(f"is not {expected}")


@in_ranges
@dataclass(frozen=True)
class Settings:
    num_epochs: PositiveInt = 1
    dropout: Probability = 0.0
    seeds: Sequence[Seed] = (0,)


@in_ranges
def make(width: PositiveInt, *, rate: PositiveFloat = 1.0) -> tuple:
    """Makes it."""
    return width, rate


def test_all_faults_of_a_call_are_told_together(raises_saying):
    found = "num_epochs: 0 is not at least 1; dropout: 2.0 is not at least 0 and less than 1."
    with raises_saying(asked="make Settings of these values", found=found, do="Correct"):
        Settings(0, dropout=2.0)
    with raises_saying(asked="make make", found="width: -1 is", do="Correct"):
        make(-1)
    with pytest.raises(NNGraphsError, match="seeds: -1"):
        Settings(seeds=(0, -1))
    assert Settings(2, seeds=(1, 2)).seeds == (1, 2)
    assert make(3, rate=0.5) == (3, 0.5)


def test_what_is_checked_stays_what_it_was():
    assert make.__doc__ == "Makes it."
    assert Settings(1) == Settings(num_epochs=1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'width'"):
        make()
