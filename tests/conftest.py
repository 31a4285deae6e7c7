"""Fixtures of the whole suite: a tiny zoo, one thread, and a check of what an error says."""

from contextlib import contextmanager

import pytest
import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.makers.inr_zoos import INRRecipe, make_inr_zoo
from nn_graphs.zoos.zoo import Zoo

TINY_RECIPE = INRRecipe(
    dataset="digits",
    preset="dws",
    hidden_widths=(8, 8),
    num_steps=40,
    learning_rate=5e-3,
    num_train=24,
    num_val=8,
    num_test=8,
    num_inits=2,
)


@pytest.fixture(scope="session", autouse=True)
def no_progress_bars():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NN_GRAPHS_PROGRESS", "0")
        yield


@pytest.fixture
def one_thread():
    """One torch thread: small tensors gain nothing from more, and sums keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_zoo_path(tmp_path_factory):
    """The file of `tiny_zoo`; to be read only."""
    path = tmp_path_factory.mktemp("tiny_zoo") / "tiny_zoo.h5"
    make_inr_zoo(TINY_RECIPE, path, is_compiled=False)
    return path


@pytest.fixture
def tiny_zoo(tiny_zoo_path) -> Zoo:
    """64 INRs `(2, 8, 8, 1)` of digits: 24 training images twice, 8 for validation, 8 for tests.

    Opened anew for each test, so that writing to `params` (copy-on-write) stays in that test.
    """
    return Zoo.open(tiny_zoo_path)


@pytest.fixture
def raises_saying():
    """`with raises_saying(asked=..., found=..., do=...):` expects an error that says all three."""

    @contextmanager
    def check(*, asked: str, found: str, do: str):
        with pytest.raises(NNGraphsError) as caught:
            yield
        error = caught.value
        assert asked in error.asked
        assert found in error.found
        assert do in error.do
        assert str(error) == f"Cannot {error.asked}: {error.found} {error.do}"

    return check
