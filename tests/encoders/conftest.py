"""One thread for all tests of the encoders: their tensors are small."""

import pytest


@pytest.fixture(autouse=True)
def small_tensors(one_thread):
    return one_thread
