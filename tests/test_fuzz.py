"""Damaged files of every format: read or refused, in time, and nothing else is opened."""

import numpy as np
import pytest

from tests.fuzz import FORMATS, fuzz, mutate

QUICK = ("torch", "zip of checkpoints", "zoo", "encoder")  # a process each
NEVER = {"raw", "hang"}
READ_ALL_THE_SAME = ("torch", "safetensors", "npz", "labels", "zip of checkpoints")
"""Of a zoo's files, one that is damaged is left out and reported."""


def check(found: dict, count: int) -> None:
    assert not NEVER & set(found["outcomes"]), found
    assert sum(found["outcomes"].values()) == count
    assert found["outcomes"].get("refused") or found["format"] in READ_ALL_THE_SAME, found
    assert all(path.startswith("/tmp") for path in found["opened"]), found["opened"]


@pytest.mark.parametrize("name", QUICK)
def test_two_hundred_mutations_together(name):
    check(fuzz(name, 50), 50)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_thousands_of_mutations(name):
    check(fuzz(name, 5000, seed=1), 5000)


def test_a_mutation_is_another_content_and_the_same_again():
    content = bytes(range(256))
    made = [mutate(content, np.random.default_rng([0, number])) for number in range(60)]
    assert all(one != content for one in made)
    assert len(set(made)) == 60
    again = [mutate(content, np.random.default_rng([0, number])) for number in range(60)]
    assert again == made
