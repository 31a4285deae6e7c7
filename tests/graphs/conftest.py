"""Small tensors: one thread for every test of this folder."""

import pytest


@pytest.fixture(autouse=True)
def small_tensors(one_thread):
    """See `one_thread`."""
